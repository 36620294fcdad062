"""Which devices each of the trials that run at once has to itself."""

from collections.abc import Sequence

from autoopt.errors import BadInput


def gpu_places(workers: int, gpus: Sequence[str] = (), per_trial: float = 1) -> list[str]:
    """What each trial is to see as CUDA_VISIBLE_DEVICES ("" leaves it as it is), for as many as run at once.

    Raises:
        BadInput: there would be room for none.
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
        raise BadInput(f"executor.gpus_per_trial={per_trial:g}, but the GPUs there are: {', '.join(gpus)}")
    return (sets * max(1, int(1 / per_trial + 1e-9)))[:workers]
