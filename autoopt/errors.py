"""What may go wrong because of what was asked, said in the user's words."""

import difflib
import errno
import re
from collections.abc import Iterable

DEVICE_FULL = re.compile(r"\b(CUDA|HIP|MPS|XPU)\b.*out of memory|CU[A-Z]+_STATUS_ALLOC_FAILED")
HOST_FULL = re.compile(r"(can't|cannot|failed to) allocate memory", re.IGNORECASE)


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
