import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import pytest

from autoopt.errors import StoreFault, TechniqueError
from autoopt.orders import REASONS, Problem
from autoopt.process.endings import classify, oom_kills, problem_of_exit


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


class SIGTERMException(SystemExit):
    """As Lightning's is called."""


class Told(Exception):
    def __init__(self, reason):
        super().__init__("text")
        self.reason = reason


def wrapped(error, cause):
    """An error as it is raised from another."""
    error.__cause__ = cause
    return error


def interrupted_by_lightning():
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904
    except SystemExit as error:
        return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("x"), "error"),
        (Told("nonfinite"), "nonfinite"),
        (Told("plugin"), "plugin"),
        (Told("whatever"), "error"),
        (Told(["data"]), "error"),
        (MemoryError(), "oom_host"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "oom_host"),
        (OSError(errno.ENOENT, "no such file"), "error"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "oom_host"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate"), "oom_device"),
        (RuntimeError("CUDA error: out of memory"), "oom_device"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "oom_device"),
        (RuntimeError("unable to mmap 4096 bytes from file <x>: Cannot allocate memory (12)"), "oom_host"),
        (Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"), "oom_host"),
        (RuntimeError("unsupported memory format option"), "error"),
        (RuntimeError("MPS backend out of memory"), "oom_device"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
        (OSError(errno.EFBIG, "File too large"), "disk"),
        (RuntimeError("Error while serializing: I/O error: File too large (os error 27)"), "disk"),
        (OSError(errno.EIO, "Input/output error"), "disk"),
        (OSError(errno.ESTALE, "Stale file handle"), "disk"),
        (StoreFault("the weights of trial 3 cannot be read"), "disk"),
        (RuntimeError("unable to write to file </torch_12>: No space left on device (28)"), "disk"),
        (wrapped(ValueError("cannot be cached"), OSError(errno.ENOSPC, "No space left on device")), "disk"),
        (wrapped(Told("plugin"), OSError(errno.EIO, "Input/output error")), "disk"),
        (OSError(errno.EMFILE, "Too many open files"), "system"),
        (OSError(errno.ENFILE, "Too many open files in system"), "system"),
        (RuntimeError("received 0 items of ancdata: Too many open files"), "system"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "system"),
        (RuntimeError("can't start new thread"), "system"),
        (
            RuntimeError(
                "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are "
                "out of shared memory."
            ),
            "system",
        ),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "system"),
        (RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable"), "system"),
        (RuntimeError("CUDA error: device-side assert triggered"), "error"),
        (SystemExit(3), "error"),
        (KeyboardInterrupt(), "user"),
        (wrapped(KeyboardInterrupt(), BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")), "user"),
        (interrupted_by_lightning(), "user"),
        (SIGTERMException(), "preempted"),
    ],
    ids=repr,
)
def test_an_exception_has_a_reason(error, reason):
    assert classify(error).reason == reason
    assert reason in REASONS


def test_the_detail_is_one_short_line():
    assert classify(ValueError("\nbad value\nsecond line")) == Problem("error", "ValueError: bad value")
    assert classify(KeyboardInterrupt()) == Problem("user", "KeyboardInterrupt")
    assert classify(Told("nonfinite")) == Problem("nonfinite", "text")
    assert len(classify(ValueError("x" * 1000)).detail) == 300


def test_a_technique_is_named_unless_the_machine_is_to_blame():
    refused = TechniqueError("optimizer", "absent", "no such machine\nhere", unavailable=True)
    assert classify(refused) == Problem("plugin", "no such machine", "optimizer", "absent", unavailable=True)
    assert classify(TechniqueError("data", "csv", "torn")) == Problem("data", "torn", "data", "csv")
    full = wrapped(refused, OSError(errno.ENOSPC, "No space left on device"))
    assert classify(full) == Problem("disk", "OSError: [Errno 28] No space left on device")


def test_what_was_classified_elsewhere_stays():
    error = ValueError("of a rank")
    error.problem = Problem("plugin", "rank 1: of glass", "model", "Fragile")
    assert classify(error) is error.problem


@pytest.mark.slow
def test_a_torn_write_of_torch_is_the_disks(tmp_path):
    code = """
import resource, signal, sys, torch
from autoopt.process.endings import classify
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    torch.save(torch.ones(100_000), sys.argv[1])
except RuntimeError as error:
    print(classify(error).reason)
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "w")], capture_output=True, text=True, check=True)
    assert run.stdout == "disk\n"


def test_a_wait_status_has_a_reason():
    def status(code=0, signal=0):
        return code << 8 | signal

    assert problem_of_exit(status(3), out_of_memory=False) == Problem("lost", "exited with code 3 before it had a result")
    assert problem_of_exit(status(signal=signal.SIGTERM), out_of_memory=False).reason == "preempted"
    assert problem_of_exit(status(signal=signal.SIGSEGV), out_of_memory=True) == Problem("lost", "killed by signal 11 (SIGSEGV)")
    assert problem_of_exit(status(signal=40), out_of_memory=False) == Problem("lost", "killed by signal 40 (a real-time signal)")
    killed = status(signal=signal.SIGKILL)
    assert problem_of_exit(killed, out_of_memory=False) == Problem("lost", "killed by signal 9 (SIGKILL), perhaps for lack of memory")
    assert problem_of_exit(killed, out_of_memory=True) == Problem("lost", "killed by the kernel for lack of memory")


def test_the_kernels_kills_can_be_read():
    assert oom_kills() >= 0


def test_what_an_allocator_says_is_told_in_words():
    text = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 256000000000 bytes."
    assert classify(RuntimeError(text)) == Problem("oom_host", "not enough memory: 256 GB were asked for at once")


@pytest.mark.slow
def test_a_text_of_megabytes_with_escape_codes_is_a_short_line():
    detail = classify(ValueError("\x1b[2Jgone\x07 " + "x" * 5_000_000 + "\nmore")).detail
    assert detail.startswith("ValueError: \N{REPLACEMENT CHARACTER}[2Jgone\N{REPLACEMENT CHARACTER} xx") and len(detail) == 300


def test_where_no_room_is_left_is_told(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    assert classify(full).detail == "OSError: [Errno 28] No space left on device"
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/small")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4096 if folder == "/small" else 2**30))
    assert classify(full).detail == "OSError: [Errno 28] No space left on device (no room is left in /small)"
    monkeypatch.setattr(shutil, "disk_usage", os.stat)  # of a folder that is gone
    assert classify(full).detail == "OSError: [Errno 28] No space left on device"
