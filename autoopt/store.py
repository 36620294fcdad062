"""Where the files of a study's trials are stored."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoopt.errors import StoreFault

SUMS = "SHA256SUMS"
"""The digests of a trial's weights, beside them, as `sha256sum --check` reads them."""


class Store:
    """The logs and weights of trials by their keys, in a folder that the trials can reach.

    An executor whose trials run elsewhere brings a subclass that fetches files to read and sends written files.

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
        return self._trial(key) / "log.txt"

    def recipe(self, key: str) -> Path:
        """The file for the recipe of a trial."""
        return self._trial(key) / "recipe.yaml"

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
            (folder / SUMS).write_text("".join(f"{known}  {file}\n" for file, known in sums.items()))
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

    def _as_written(self, path: Path) -> bool:
        """Whether weights have the digest that was stored with them; those of a study begun before digests were stored pass."""
        sums = self._sums(path.parent)
        return sums is None or digest(path) == sums.get(path.name)

    def _sums(self, folder: Path) -> dict[str, str] | None:
        """The digests of a trial's weights by the names of their files; `None` where none were stored."""
        path = folder / SUMS
        if not path.exists():
            return None
        lines = path.read_text(errors="replace").splitlines()
        return {name: known for line in lines for known, _, name in [line.partition("  ")] if name.endswith(".safetensors")}

    def _trial(self, key: str) -> Path:
        path = self.root / "trials" / key
        path.mkdir(parents=True, exist_ok=True)
        return path


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
