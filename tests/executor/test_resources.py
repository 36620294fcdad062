"""How many trials a machine has room for: arithmetic over what a config asks for and what there is."""

import os
import subprocess
import sys

import pytest

from autoopt.config import compose
from autoopt.errors import BadInput
from autoopt.executor.resources import Limits, Machine, Room, room, visible_gpus, within_quota

CPUS, GPUS = Machine(8.0), Machine(16.0, ("0", "1", "2", "3"))
DDP = ("device.cpu.devices=2", "device.cpu.strategy=ddp")
TWO = ("device=cuda", "device.cuda.devices=2", "device.cuda.strategy=ddp")


def limits(*overrides):
    return Limits.of(compose(["data=digits", *overrides]))


def test_the_limits_of_a_config():
    assert limits() == Limits(workers=None, gpus_per_trial=1.0, cpus_per_trial=1, trial_time=3600, gpus=1, processors=1)
    said = ("device=cpu", "executor.workers=3", "executor.gpus_per_trial=0.5", "executor.cpus_per_trial=2", "executor.trial_time=null")
    assert limits(*said) == Limits(workers=3, gpus_per_trial=0.5, cpus_per_trial=2, trial_time=None, gpus=0, processors=2)


@pytest.mark.parametrize(
    ("overrides", "gpus", "processors"),
    [
        (["device=cpu"], 0, 1),
        (["device=cpu", *DDP], 0, 2),
        (["device=cpu", *DDP, "executor.cpus_per_trial=3"], 0, 6),
        (["device=cpu", *DDP, "device.cpu.threads=4", "executor.cpus_per_trial=3"], 0, 8),
        (["device=cpu", "device.cpu.threads=1", "executor.cpus_per_trial=3"], 0, 1),
        (["device=cpu", "device.cpu.threads=2,8"], 0, 8),
        (["device=cpu", "device.cpu.threads=null,2", "executor.cpus_per_trial=3"], 0, 3),
        (["device=cpu", "device.cpu.devices=range(1,4,1)", "device.cpu.threads=interval(1,5)"], 0, 15),
        (["device=auto"], 1, 1),
        ([*TWO, "executor.cpus_per_trial=4"], 2, 8),
        ([*TWO, "device=cpu,cuda", "device.cpu.threads=6"], 2, 6),
        (["device=cuda,cpu", "device.cpu.devices=4"], 1, 4),
        (["device=mps,tpu"], 0, 1),
    ],
)
def test_what_the_devices_need(overrides, gpus, processors):
    found = limits(*overrides)
    assert (found.gpus, found.processors) == (gpus, processors)


OWN = '''
from typing import Annotated, Any

from autoopt import Acts


def mine(*, devices: int = 3) -> Annotated[dict[str, Any], Acts(gpu=True)]:
    """GPUs of my own."""
    return {}


def named(*, devices: str = "auto") -> dict[str, Any]:
    """As many as Lightning finds."""
    return {}
'''


def test_a_device_of_ones_own_says_what_it_needs(tmp_path, monkeypatch):
    (tmp_path / "own_device.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = limits("device=own_device:mine", "executor.cpus_per_trial=2")
    assert (found.gpus, found.processors) == (3, 6)
    assert limits("device=own_device:named") == limits("device=cpu")


@pytest.mark.parametrize(
    ("overrides", "machine", "expected"),
    [
        (["device=cpu"], CPUS, Room(8, (), 1)),
        (["device=cpu"], GPUS, Room(16, (), 1)),
        (["device=cpu", *DDP], CPUS, Room(4, (), 1)),
        (["device=cpu", "device.cpu.threads=128"], Machine(16.0), Room(1, (), 1)),
        (["device=cpu", "device.cpu.threads=128", "executor.workers=3"], Machine(16.0), Room(3, (), 1)),
        (["device=auto"], CPUS, Room(8, (), 1)),
        (["device=auto"], Machine(0.5), Room(1, (), 1)),
        (["device=auto"], GPUS, Room(4, GPUS.gpus, 1)),
        (["device=cuda", "executor.gpus_per_trial=0.1"], GPUS, Room(16, GPUS.gpus, 0.1)),
        (["device=cuda", "executor.gpus_per_trial=0.1"], Machine(99.0, ("0", "1", "2")), Room(30, ("0", "1", "2"), 0.1)),
        (["device=cuda", "executor.cpus_per_trial=8"], GPUS, Room(2, GPUS.gpus, 1)),
        (TWO, GPUS, Room(2, GPUS.gpus, 2)),
        ([*TWO, "executor.gpus_per_trial=4"], GPUS, Room(1, GPUS.gpus, 4)),
        ([*TWO, "executor.cpus_per_trial=8"], GPUS, Room(1, GPUS.gpus, 2)),
    ],
)
def test_the_room_of_a_machine(overrides, machine, expected):
    assert room(limits(*overrides), machine) == expected


def test_more_devices_than_there_are():
    with pytest.raises(BadInput, match="devices=2, but there are only the GPUs 0"):
        room(limits(*TWO), Machine(8.0, ("0",)))


@pytest.mark.parametrize(
    ("build", "visible", "found"),
    [
        ("2.9.0+cpu", None, ()),
        ("2.9.0+cpu", "0,1", ()),
        ("2.9.0", "0,1", ("0", "1")),
        ("2.9.0+cu128", "GPU-5c1,MIG-77", ("GPU-5c1", "MIG-77")),
        ("2.9.0", "", ()),
        ("2.9.0", "-1", ()),
        ("2.9.0", "0,-1,1", ("0",)),
        ("2.9.0", "NoDevFiles", ()),
        ("2.9.0", "1, 0,none,2", ("1", " 0")),
        ("2.9.0", None, ("0", "1")),
    ],
)
def test_the_gpus_that_cuda_sees(tmp_path, build, visible, found):
    """As CUDA reads its variable: what stands after one that is not there is hidden too."""
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus(build, visible, tmp_path) == found


def test_wsl_has_a_driver_instead_of_device_files(tmp_path):
    assert visible_gpus("2.13.0", None, tmp_path, tmp_path / "libcuda.so.1") == ()
    (tmp_path / "libcuda.so.1").touch()
    assert visible_gpus("2.13.0", None, tmp_path, tmp_path / "libcuda.so.1") == ("0",)
    assert visible_gpus("2.13.0+cpu", None, tmp_path, tmp_path / "libcuda.so.1") == ()


@pytest.mark.parametrize(("text", "cores"), [("150000 100000", 1.5), ("max 100000", 4), ("900000 100000", 4), (None, 4), ("nonsense", 4)])
def test_the_processors_within_a_quota(tmp_path, text, cores):
    path = tmp_path / "cpu.max"
    if text is not None:
        path.write_text(text)
    assert within_quota(4, path) == cores


def test_this_machine():
    here = Machine.here()
    assert 0 < here.cores <= (os.cpu_count() or 1) and here.gpus == (), "tests see no GPU"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("executor.workers=1000000000000", "executor.workers=1000000000000: expected 4096 or less"),
        ("device.cpu.devices=0", "device.cpu.devices=0: expected 1 or more"),
        ("device.cpu.threads=0", "device.cpu.threads=0: expected 1 or more"),
    ],
)
def test_what_leaves_no_room_for_a_trial_is_refused(override, said):
    with pytest.raises(BadInput, match=f"^{said}$"):
        limits("device=cpu", override)


def test_open_files_for_so_many_trials():
    """In a process of its own, whose limits these are."""
    code = """if True:
        import resource, sys
        from autoopt.errors import BadInput
        from autoopt.executor.resources import FILES, FILES_PER_TRIAL, allow_files
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200))
        allow_files((64 - FILES) // FILES_PER_TRIAL)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (64, 200)
        allow_files(60)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (FILES + FILES_PER_TRIAL * 60, 200)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        try:
            allow_files(64)
        except BadInput as error:
            print(error)
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "executor.workers=64 needs 176 open files, but the limit is 64 (ulimit -n): set fewer workers\n"
