"""Where the files of a study's trials are stored."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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

    def weights(self, key: str, fold: int = 1) -> Path:
        """The file with the weights of a trial, ready to be read; with cross-validation, of one fold, counted from 1."""
        return self.root / "trials" / key / ("model.safetensors" if fold == 1 else f"model.fold{fold}.safetensors")

    @contextmanager
    def writing(self, key: str, fold: int = 1) -> Iterator[Path]:
        """The file to write the weights of a trial to; they are stored if the block raises nothing."""
        path = self._trial(key) / f".{self.weights(key, fold).name}"
        try:
            yield path
            path.replace(self.weights(key, fold))
        finally:
            path.unlink(missing_ok=True)

    def has_weights(self, key: str) -> bool:
        return self.weights(key).exists()

    def forget(self, key: str) -> None:
        """Delete the weights of a trial, of all its folds."""
        for path in self.weights(key).parent.glob("*.safetensors"):  # also of a trial that was killed while it wrote
            path.unlink()

    def _trial(self, key: str) -> Path:
        path = self.root / "trials" / key
        path.mkdir(parents=True, exist_ok=True)
        return path
