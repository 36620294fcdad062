"""Distributes the GPUs among the trials that run at once."""

from collections.abc import Sequence

from autoopt.errors import BadInput


def gpu_places(workers: int, gpus: Sequence[str] = (), per_trial: float = 1) -> list[str]:
    """CUDA_VISIBLE_DEVICES for each trial that runs at once; "" leaves the variable as it is.

    Raises:
        BadInput: there is no room for a trial.
    """
    if workers < 1:
        raise BadInput(f"executor.workers={workers}: at least 1 is needed")
    if not gpus:
        return [""] * workers
    if per_trial <= 0 or (per_trial > 1 and per_trial % 1):
        raise BadInput(f"executor.gpus_per_trial={per_trial:g} is neither a share of a GPU nor a whole number of them")
    size = max(1, int(per_trial))
    sets = [",".join(gpus[i : i + size]) for i in range(0, len(gpus) - size + 1, size)]
    if not sets:
        raise BadInput(f"executor.gpus_per_trial={per_trial:g}, but there are only the GPUs {', '.join(gpus)}")
    return (sets * max(1, int(1 / per_trial + 1e-9)))[:workers]
