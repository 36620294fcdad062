from typing import Any

from autoopt.config import is_live
from autoopt.executor import Executor
from autoopt.executor.local import Local
from autoopt.executor.resources import Limits, Machine, allow_files, room
from autoopt.store import Store


def local(setup: dict[str, Any], store: Store, limits: Limits) -> Executor:
    """This machine: each trial is a process of its own, forked from a process that has loaded the data and imported torch.

    As many trials run at once as its processors have room for, and its GPUs if the device needs them.

    Source: the authors of autoopt, 2026.
    """
    allowed = room(limits, Machine.here())
    allow_files(allowed.workers)
    return Local(
        setup,
        store,
        workers=allowed.workers,
        trial_time=limits.trial_time,
        gpus=allowed.gpus,
        gpus_per_trial=allowed.gpus_per_trial,
        cpus_per_trial=limits.cpus_per_trial,
        fork=is_live(setup["tree"]),
    )
