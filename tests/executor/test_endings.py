import errno
import signal

import pytest

from autoopt.executor import REASONS
from autoopt.executor.endings import classify, ended, oom_kills


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


class SIGTERMException(SystemExit):
    """As Lightning's is called."""


class Told(Exception):
    def __init__(self, reason):
        super().__init__("text")
        self.reason = reason


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
        (SystemExit(3), "error"),
        (KeyboardInterrupt(), "user"),
        (interrupted_by_lightning(), "user"),
        (SIGTERMException(), "preempted"),
    ],
    ids=repr,
)
def test_an_exception_has_a_reason(error, reason):
    assert classify(error)[0] == reason
    assert reason in REASONS


def test_the_detail_is_one_short_line():
    assert classify(ValueError("\nbad value\nsecond line"))[1] == "ValueError: bad value"
    assert classify(KeyboardInterrupt())[1] == "KeyboardInterrupt"
    assert len(classify(ValueError("x" * 1000))[1]) == 300


def test_a_wait_status_has_a_reason():
    def status(code=0, signal=0):
        return code << 8 | signal

    assert ended(status(3), out_of_memory=False) == ("lost", "exited with code 3 before it had a result")
    assert ended(status(signal=signal.SIGTERM), out_of_memory=False)[0] == "preempted"
    assert ended(status(signal=signal.SIGSEGV), out_of_memory=True) == ("lost", "killed by signal 11 (SIGSEGV)")
    assert ended(status(signal=40), out_of_memory=False) == ("lost", "killed by signal 40 (a real-time signal)")
    killed = status(signal=signal.SIGKILL)
    assert ended(killed, out_of_memory=False) == ("lost", "killed by signal 9 (SIGKILL), perhaps for lack of memory")
    assert ended(killed, out_of_memory=True) == ("oom_host", "killed by the kernel for lack of memory")


def test_the_kernels_kills_can_be_read():
    assert oom_kills() >= 0
