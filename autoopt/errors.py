"""The errors that autoopt raises, and the faults of the machine that it recognises in others."""

import difflib
import errno
import os
import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

DEVICE_FULL = re.compile(r"\b(CUDA|HIP|MPS|XPU)\b.*out of memory|CU[A-Z]+_STATUS_ALLOC_FAILED")
HOST_FULL = re.compile(r"(can't|cannot|failed to) allocate memory", re.IGNORECASE)
MACHINE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE, errno.EROFS), "disk"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.EAGAIN), "system"),
}
"""Errors of the operating system for which no recipe is to blame: their reason by `errno`."""
MACHINE_TEXTS = {
    **{os.strerror(number): reason for number, reason in MACHINE.items()},  # of libraries that pass on no errno
    "basic_ios::clear: iostream error": "disk",  # of torch.save, which then says `unexpected pos`
    "can't start new thread": "system",
    "out of shared memory": "system",  # of a DataLoader's workers
    "uncorrectable ECC error": "system",
    "devices are busy or unavailable": "system",
}
EXIT_CODES = {
    "0": "done",
    "1": "a bug in autoopt, or a check that failed (doctor, reproduce, plugins check)",
    "2": "bad input; nothing was started",
    "3": "done, but a technique failed and was left out (search --strict)",
    "4": "not concluded: a trial that the verdict depends on failed",
    "75": "a file or a store cannot be written; nothing that was written is lost",
    "130, 143": "interrupted by Ctrl-C or SIGTERM; the same command resumes",
    "141": "whoever reads the output has closed it",
}


class BadInput(Exception):
    """Input that cannot be used: a line for each problem; the command prints them and exits with 2."""

    def __init__(self, *problems: str):
        super().__init__("\n".join(problems))
        self.problems = problems


def one_line(error: BaseException) -> str:
    """The text of an exception in one line, as others' may have several."""
    return " ".join(str(error).split())


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, where others tell at length: of a compiler or an exporter."""
    return next(iter(str(error).strip().splitlines()), "")


def last_line(error: BaseException) -> str:
    """The last line of an exception's text, where others name the fault last: torch's list of the weights that do not fit."""
    return next((line.strip() for line in reversed(str(error).strip().splitlines())), type(error).__name__)


def summary(error: BaseException) -> str:
    """The type and the text of an exception in one line; one without a text, such as of an assertion, is told by its line of code."""
    text = one_line(error)
    if not text and (frames := traceback.extract_tb(error.__traceback__)):
        text = f"{frames[-1].line} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    return f"{type(error).__name__}: {text}"


LONGEST = 10_000
"""Characters of a message: it may quote the text of another's error."""


def printable(text: str, most: int | None = None) -> str:
    """A text without the control characters that a terminal would obey, cut after so many characters."""
    return "".join(c if c.isprintable() or c in "\t\n" else "\N{REPLACEMENT CHARACTER}" for c in text[:most])


def nearest(word: str, known: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """A hint with the nearest known name, or with two that are one letter away, and all known names: `Did you mean 'adamw'? Known: …`.

    Args:
        listed: what stands there instead of all known names.
    """
    names = sorted(known)
    close = difflib.get_close_matches(word.lower(), {name.lower() for name in names}, n=5, cutoff=0.6)
    misspelt = [] if word.lower() in close else [name for name in close if one_letter_apart(word.lower(), name)]
    near = misspelt[:2] or close[:1]
    alike = ([name for name in names if name.lower() == each] for each in near)  # some may differ in case alone
    said = " or ".join(f"'{difflib.get_close_matches(word, same, n=1, cutoff=0)[0]}'" for same in alike)
    return f"{f'Did you mean {said}? ' if said else ''}Known: {', '.join(names if listed is None else sorted(listed)) or 'none'}."


def one_letter_apart(one: str, other: str) -> bool:
    """Whether one letter is missing, too many, or another."""
    at = next((i for i, pair in enumerate(zip(one, other, strict=False)) if len({*pair}) > 1), min(len(one), len(other)))
    return one != other and any(one[at + i :] == other[at + j :] for i, j in ((0, 1), (1, 0), (1, 1)))


def no_file(path: str | Path) -> str:
    """That there is no such file, and the nearest name beside it."""
    path = Path(path)
    beside: list[str] = []
    with suppress(OSError):  # no folder, or one that may not be listed
        beside = os.listdir(path.parent)
    close = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.6)
    return f"there is no file {path}" + (f"; did you mean {close[0]}?" if close else "")


def line_in(file: str, error: BaseException) -> str:
    """Where an exception left a file: `my_opt.py, line 9`; empty where it did not go through it."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    return f"{Path(file).name}, line {lines[-1]}" if lines else ""


def check_place() -> None:
    """Raise BadInput on a system that cannot fork processes, as trials are, without assertions, or in a deleted working directory."""
    if not hasattr(os, "fork"):
        raise BadInput("autoopt forks a process for each trial, which Windows cannot do; use Linux, or WSL 2 on Windows")
    if not __debug__:
        raise BadInput("Python's -O and PYTHONOPTIMIZE leave out the assertions, which Hydra's parser needs; run autoopt without them")
    try:
        os.getcwd()
    except OSError as error:  # torch and others fail there, too
        raise BadInput("the working directory was deleted; change to another") from error


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


class Preempted(Exception):
    """The machine announced that it will end a trial, which ends by itself; it goes on elsewhere, or later."""

    reason = "preempted"


class NotConcluded(Exception):
    """The study ran, but there is nothing to conclude from; the command exits with 4."""

    exit_code = 4


def out_of_memory(error: BaseException) -> str:
    """Which memory is full, "device" or "host", as far as an error says so; else an empty text."""
    text = str(error)
    if type(error).__name__ == "OutOfMemoryError" or DEVICE_FULL.search(text):
        return "device"
    full = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM) or HOST_FULL.search(text)
    return "host" if full else ""


def machine_fault(error: BaseException) -> tuple[str, BaseException] | None:
    """The reason `disk` or `system` and the exception that shows it, if a cause of the error is a fault of the machine."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in MACHINE:
            return MACHINE[cause.errno], cause
        if reason := next((reason for text, reason in MACHINE_TEXTS.items() if text in str(cause)), None):
            return reason, cause
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those during whose handling it was raised."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
