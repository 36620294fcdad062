"""The files of a trial as they are carried between the study's machine and the machine of a worker."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from autoopt.orders import Order
from autoopt.process.log import added, shorten
from autoopt.store import CHECKPOINTS, LOG_NAME


@dataclass(frozen=True)
class TrialFile:
    """A file, by its path below the store's root.

    Args:
        data: its content; `None`: it was deleted.
        more: the content is added to its end, as a log grows.
    """

    path: str
    data: bytes | None
    more: bool = False


def read_folders(order: Order) -> list[str]:
    """The folders of the store that an order reads: those that it writes to, and that of the trial whose weights it reads."""
    weights = getattr(order, "weights", None)
    return [*dict.fromkeys([*written_folders(order), *([f"trials/{weights}"] if weights else [])])]


def written_folders(order: Order) -> list[str]:
    """The folders of the store that an order changes: the trial's own, that of the trial that it continues, and an exported one."""
    continued, exported = getattr(order, "continues", None), getattr(order, "folder", None)
    return [f"trials/{order.key}", *([f"trials/{continued}"] if continued else []), *([exported] if exported else [])]


def read_files(root: Path, folders: Iterable[str]) -> list[TrialFile]:
    """The files of folders, without logs and without what is still being written, in the order in which they were written."""
    return [TrialFile(name, (root / name).read_bytes()) for name in present(root, folders) if not is_log(name)]


def present(root: Path, folders: Iterable[str]) -> dict[str, tuple[int, int]]:
    """The files of folders with their time of change and their size; the oldest comes first, so that a manifest follows what it lists.

    What is being written is left out, and what only Lightning's callbacks read.
    """
    found: dict[str, tuple[int, int]] = {}
    for folder in folders:
        for path in (root / folder).rglob("*"):
            name = path.relative_to(root)
            with suppress(FileNotFoundError):  # it vanishes meanwhile
                if not any(part.startswith(".") or part == CHECKPOINTS for part in name.parts) and path.is_file():
                    status = path.stat()
                    found[name.as_posix()] = status.st_mtime_ns, status.st_size
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def write_files(files: Iterable[TrialFile], root: Path) -> None:
    """Write files where they belong; each is there whole or not at all, except a log, which grows.

    Raises:
        OSError: a file cannot be written.
        ValueError: a path leads out of the folder.
    """
    for file in files:
        if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts:
            raise ValueError(f"its worker sent the file {file.path!r}, which lies outside of the study's folder")
        path = root / file.path
        if file.data is None:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # there is more in it
                path.parent.rmdir()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.more:
            with path.open("ab") as log:
                log.write(file.data)
            shorten(path)
        else:
            partial = path.with_name(f".{path.name}")
            partial.write_bytes(file.data)
            os.replace(partial, path)


@dataclass
class FolderChanges:
    """What has changed in folders since it was last asked.

    Args:
        known: the files that the other side has, as `present` found them.
        printed: how much of each log was told; what it grows by while it is read comes the next time.
    """

    root: Path
    folders: list[str]
    known: dict[str, tuple[int, int]] = field(default_factory=dict)
    printed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = present(self.root, self.folders)
        for name in filter(is_log, self.known):
            self._read(name)

    def take(self) -> list[TrialFile]:
        """The files that are new, changed or deleted; a file that vanishes meanwhile comes the next time."""
        now, files = present(self.root, self.folders), []
        for name, state in now.items():
            if self.known.get(name) != state and (file := self._read(name)):
                files.append(file)
                self.known[name] = state
        gone = [name for name in self.known if name not in now]
        for name in gone:
            del self.known[name]
            self.printed.pop(name, None)
        return [*files, *(TrialFile(name, None) for name in gone)]

    def _read(self, name: str) -> TrialFile | None:
        try:
            with (self.root / name).open("rb") as file:
                if not is_log(name):
                    return TrialFile(name, file.read())
                data, self.printed[name] = added(file, self.printed.get(name, 0))
                return TrialFile(name, data, more=True)
        except FileNotFoundError:
            return None


def is_log(name: str) -> bool:
    return PurePosixPath(name).name == LOG_NAME
