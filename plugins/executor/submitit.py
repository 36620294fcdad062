import math
from typing import Annotated, Any

from autoopt.domain import Bounds
from autoopt.errors import BadInput
from autoopt.executor import Executor
from autoopt.executor.on_queue import OnQueue, find_queue
from autoopt.executor.remote import sent
from autoopt.executor.resources import Limits
from autoopt.store import Store

MODES = ("workers", "trials")


def submitit(
    setup: dict[str, Any],
    store: Store,
    limits: Limits,
    *,
    mode: str = "workers",
    cluster: str | None = None,
    timeout_min: Annotated[int, Bounds(1)] = 60,
    partition: str | None = None,
    account: str | None = None,
    qos: str | None = None,
    constraint: str | None = None,
    array_parallelism: Annotated[int | None, Bounds(1)] = None,
    cpus_per_task: Annotated[int | None, Bounds(1)] = None,
    gpus_per_node: Annotated[int | None, Bounds(0)] = None,
    mem_gb: Annotated[float | None, Bounds(above=0)] = None,
    signal_delay_s: Annotated[int | None, Bounds(0)] = None,
    additional_parameters: dict | None = None,
) -> Executor:
    """Slurm, by submitit: an array of `executor.workers` jobs that train one trial after the other, or with mode=trials a job a trial.

    The study's folder has to be on a file system that the nodes share. The other settings are submitit's. Without
    Slurm, or with cluster=local, the jobs are processes of this machine.

    Source: github.com/facebookincubator/submitit, 2018.
    """
    if mode not in MODES:
        raise BadInput(f"executor.submitit.mode={mode}: expected one of {', '.join(MODES)}")
    gpus = math.ceil(limits.gpu_share) if limits.gpus else None
    everywhere = {
        "timeout_min": timeout_min,
        "cpus_per_task": cpus_per_task or limits.processors,
        "gpus_per_node": gpus if gpus_per_node is None else gpus_per_node,
        "mem_gb": mem_gb,
    }
    of_slurm = {
        "partition": partition,
        "account": account,
        "qos": qos,
        "constraint": constraint,
        "array_parallelism": array_parallelism,
        "signal_delay_s": signal_delay_s,
        "additional_parameters": additional_parameters,
    }
    parameters = {**everywhere, **{f"slurm_{name}": value for name, value in of_slurm.items()}}
    given = {name: value for name, value in parameters.items() if value is not None}
    cluster, told = find_queue(cluster, {name: value for name, value in of_slurm.items() if value is not None})
    return OnQueue(sent(setup), store, limits, cluster, mode == "trials", given, told)
