import pytest

from autoopt.errors import BadInput
from autoopt.executor.places import gpu_places


@pytest.mark.parametrize(
    ("workers", "gpus", "per_trial", "expected"),
    [
        (3, [], 1, ["", "", ""]),
        (2, ["0", "1", "2"], 1, ["0", "1"]),
        (9, ["0", "1"], 1, ["0", "1"]),
        (9, ["0", "1"], 0.5, ["0", "1", "0", "1"]),
        (3, ["0", "1"], 0.3, ["0", "1", "0"]),
        (9, ["0", "1", "2", "3", "4"], 2, ["0,1", "2,3"]),
    ],
)
def test_devices_are_shared_out(workers, gpus, per_trial, expected):
    assert gpu_places(workers, gpus, per_trial) == expected


@pytest.mark.parametrize(
    ("workers", "per_trial", "problem"),
    [(0, 1, "workers=0: at least 1"), (1, 0, "neither a share"), (1, 1.5, "neither a share"), (1, 2, "only the GPUs 0")],
)
def test_what_leaves_no_room_is_refused(workers, per_trial, problem):
    with pytest.raises(BadInput, match=problem):
        gpu_places(workers, ["0"], per_trial)
