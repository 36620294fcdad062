"""What may go wrong because of what was asked, said in the user's words."""

import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator

DEVICE_FULL = re.compile(r"\b(CUDA|HIP|MPS|XPU)\b.*out of memory|CU[A-Z]+_STATUS_ALLOC_FAILED")
HOST_FULL = re.compile(r"(can't|cannot|failed to) allocate memory", re.IGNORECASE)
MACHINE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS), "disk"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.EAGAIN), "system"),
}
"""What the operating system refuses through no fault of a recipe's, by `errno`."""
MACHINE_TEXTS = {
    **{os.strerror(number): reason for number, reason in MACHINE.items()},  # of libraries that pass on no errno
    "basic_ios::clear: iostream error": "disk",  # of torch.save, which then says `unexpected pos`
    "can't start new thread": "system",
    "out of shared memory": "system",  # of a DataLoader's workers
    "uncorrectable ECC error": "system",
    "devices are busy or unavailable": "system",
}


class BadInput(Exception):
    """Input that cannot be used: one line a problem; the command prints them and exits with 2."""

    def __init__(self, *problems: str):
        super().__init__("\n".join(problems))
        self.problems = problems


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known name was meant, and which there are: `Did you mean 'adamw'? Known: …`."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return f"{hint}Known: {', '.join(names) or 'none'}."


class TechniqueError(Exception):
    """A technique raised or returned the wrong thing; ends its trial with the reason `plugin` (or `data`), never the search."""

    def __init__(self, slot: str, name: str, detail: str, unavailable: bool = False):
        super().__init__(f"{slot}/{name}: {detail}")
        self.slot, self.name, self.detail, self.unavailable = slot, name, detail, unavailable
        self.reason = "data" if slot == "data" else "plugin"


class NonFinite(Exception):
    """A loss or a score that is NaN or infinite; ends its trial."""

    reason = "nonfinite"


class StoreFault(Exception):
    """Weights or a log that cannot be read or written; ends its trial, through no fault of its recipe."""

    reason = "disk"


class NotConcluded(Exception):
    """It ran, but there is nothing to conclude from; the command ends with exit code 4."""

    exit_code = 4


def out_of_memory(error: BaseException) -> str:
    """What has no memory left, "device" or "host", where an error says so: that is nobody's fault."""
    text = str(error)
    if type(error).__name__ == "OutOfMemoryError" or DEVICE_FULL.search(text):
        return "device"
    full = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM) or HOST_FULL.search(text)
    return "host" if full else ""


def machine_fault(error: BaseException) -> tuple[str, BaseException] | None:
    """The reason `disk` or `system`, and the exception in the chain of causes that tells it, where the machine is to blame."""
    for each in causes(error):
        if isinstance(each, OSError) and each.errno in MACHINE:
            return MACHINE[each.errno], each
        if reason := next((reason for text, reason in MACHINE_TEXTS.items() if text in str(each)), None):
            return reason, each
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those during whose handling it was raised."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
