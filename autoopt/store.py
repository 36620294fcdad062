"""Where the files of a study's trials are stored."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from autoopt.errors import StoreFault

LOG_NAME = "log.txt"
RECIPE_NAME = "recipe.yaml"
SUMS = "SHA256SUMS"
"""The digests of a trial's weights, beside them, as `sha256sum --check` reads them."""
RESUME = "resume"
"""The folder of a trial's checkpoints, in that of the trial."""
CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints that Lightning's callbacks write, in that of the trial; those of the best epoch are part of ours."""
OURS = (LOG_NAME, RECIPE_NAME, SUMS, RESUME, CHECKPOINTS)
"""What we write into the folder of a trial, beside its weights."""
KEPT_CHECKPOINTS = 2
"""So many of a trial's checkpoints are kept: if the last one is damaged, the trial goes on from the one before."""
POSITION = re.compile("[0-9]+-[0-9]+-[0-9]+")
"""The name of a checkpoint."""


class Reached(NamedTuple):
    """How far a trial has come: the fold of the data that it trains on, from 1, the whole epochs, and the batches of the epoch after."""

    fold: int
    epoch: int
    batch: int

    def __str__(self) -> str:
        return f"{self.fold}-{self.epoch:06d}-{self.batch:09d}"

    @classmethod
    def read(cls, name: str) -> "Reached":
        """The position that `str` wrote.

        Raises:
            ValueError: it is something else.
        """
        fold, epoch, batch = map(int, name.split("-"))
        return cls(fold, epoch, batch)


class Store:
    """The logs, weights and checkpoints of trials by their keys, in a folder that the trials can reach.

    Where trials run elsewhere, `executor.files` carries the folders that a trial needs and writes there and back.

    Args:
        root: the study's folder.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root).resolve()

    def folder(self, name: str) -> Path:
        """A folder of the study (`best`)."""
        return self.root / name

    def log(self, key: str) -> Path:
        """The file for what a trial prints."""
        return self._trial(key) / LOG_NAME

    def recipe(self, key: str) -> Path:
        """The file for the recipe of a trial."""
        return self._trial(key) / RECIPE_NAME

    def weights(self, key: str, fold: int = 1) -> Path:
        """The file for the weights of a trial; with cross-validation, of one fold, counted from 1."""
        return self.root / "trials" / key / ("model.safetensors" if fold == 1 else f"model.fold{fold}.safetensors")

    @contextmanager
    def writing(self, key: str, fold: int = 1) -> Iterator[Path]:
        """The file to write the weights of a trial to; they are stored if the block raises nothing."""
        folder, name = self._trial(key), self.weights(key, fold).name
        path = folder / f".{name}"
        try:
            yield path
            sums = {**(self._sums(folder) or {}), name: digest(path)}
            (folder / SUMS).write_text("".join(f"{known}  {file}\n" for file, known in sums.items()), encoding="utf-8")
            path.replace(folder / name)
        finally:
            path.unlink(missing_ok=True)

    def intact_weights(self, key: str, fold: int = 1) -> Path:
        """The weights of a trial, ready to be read.

        Raises:
            StoreFault: they are gone, or are not as they were written.
        """
        path = self.weights(key, fold)
        if not path.exists():
            raise StoreFault(f"the weights of trial {key} are gone: {path}")
        if not self._as_written(path):
            raise StoreFault(f"the weights of trial {key} are damaged: {path} is not as it was written")
        return path

    def has_weights(self, key: str) -> bool:
        """Whether the weights of a trial, of all its folds, are there as they were written."""
        folder = self.weights(key).parent
        paths = {self.weights(key), *(folder / name for name in self._sums(folder) or ())}
        return all(path.exists() and self._as_written(path) for path in paths)

    def forget(self, key: str) -> None:
        """Delete the weights of a trial, of all its folds."""
        folder = self.weights(key).parent
        for path in (*folder.glob("*.safetensors"), folder / SUMS):  # also of a trial that was killed while it wrote
            path.unlink(missing_ok=True)

    def clear(self, key: str) -> None:
        """Delete what a user's code has written into the folder of a trial before: some code refuses to write there again."""
        for path in self._trial(key).iterdir():
            if path.name not in OURS and path.suffix != ".safetensors" and not path.name.startswith("."):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def checkpoints(self, key: str) -> list[Reached]:
        """The positions at which a trial has checkpoints, the last first; whether these are intact is seen when they are read."""
        names = [path.name for path in self._checkpoint_folder(key).glob("[0-9]*")]
        return sorted((Reached.read(name) for name in names if POSITION.fullmatch(name)), reverse=True)

    @contextmanager
    def writing_checkpoint(self, key: str, at: Reached) -> Iterator[Path]:
        """A folder to write a checkpoint to; it is stored as a whole, if the block raises nothing, and older ones are deleted."""
        folder = self._checkpoint_folder(key)
        path = folder / f".{at}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        try:
            yield path
            files = sorted(path.iterdir())
            (path / SUMS).write_text("".join(f"{digest(file)}  {file.name}\n" for file in files), encoding="utf-8")
            for written in (*files, path / SUMS):
                flush_to_disk(written)
            shutil.rmtree(folder / str(at), ignore_errors=True)
            path.replace(folder / str(at))
            flush_to_disk(folder)
        finally:
            shutil.rmtree(path, ignore_errors=True)
        self.forget_checkpoints(key, self.checkpoints(key)[KEPT_CHECKPOINTS:])

    def intact_checkpoint(self, key: str, at: Reached) -> Path:
        """The folder of a checkpoint, ready to be read.

        Raises:
            StoreFault: it is gone, cannot be read, or is not as it was written.
        """
        folder = self._checkpoint_folder(key) / str(at)
        try:
            sums = read_sums(folder)
            intact = bool(sums) and all((folder / name).is_file() and digest(folder / name) == known for name, known in sums.items())
        except OSError as error:
            raise StoreFault(f"the checkpoint {folder} cannot be read: {error}") from error
        if not intact:
            raise StoreFault(f"the checkpoint {folder} is damaged: it is not as it was written")
        return folder

    def forget_checkpoints(self, key: str, positions: Iterable[Reached] | None = None) -> None:
        """Delete these checkpoints of a trial; by default all, and what a trial that was killed has left of one."""
        folder = self._checkpoint_folder(key)
        for path in [folder] if positions is None else [folder / str(at) for at in positions]:
            shutil.rmtree(path, ignore_errors=True)

    def _checkpoint_folder(self, key: str) -> Path:
        return self.root / "trials" / key / RESUME

    def _as_written(self, path: Path) -> bool:
        """Whether weights have the digest that was stored with them; those of a study begun before digests were stored pass."""
        sums = self._sums(path.parent)
        return sums is None or digest(path) == sums.get(path.name)

    def _sums(self, folder: Path) -> dict[str, str] | None:
        """The digests of a trial's weights by the names of their files; `None` where none were stored."""
        path = folder / SUMS
        if not path.exists():
            return None
        return {name: known for name, known in read_sums(folder).items() if name.endswith(".safetensors")}

    def _trial(self, key: str) -> Path:
        path = self.root / "trials" / key
        path.mkdir(parents=True, exist_ok=True)
        return path


def read_sums(folder: Path) -> dict[str, str]:
    """The digests that a folder's files had when they were written, by their names."""
    lines = (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    return {name: known for line in lines for known, _, name in [line.partition("  ")] if name}


def flush_to_disk(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
