from pathlib import Path

import torch

from autoopt.data.images import Images
from autoopt.data.splits import in_a_row
from autoopt.data.task import Examples
from autoopt.errors import BadInput

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def image_folder(*, path: str, size: int = 32, grey: bool = False) -> Examples:
    """Images in a folder for each class, resized to `size` by `size`; folders train, val and test around these fix the parts.

    Deng et al. 2009, DOI 10.1109/CVPR.2009.5206848.

    Raises:
        BadInput: there are no such folders, or fewer than two with images.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise BadInput(f"data.image_folder.path: there is no folder {path}")
    if size < 1:
        raise BadInput(f"data.image_folder.size={size}: expected 1 or more")
    parts = {PARTS[folder.name]: folder for folder in folders(root) if folder.name in PARTS}
    around = parts if "train" in parts else {"train": root}
    classes = sorted({folder.name for part in around.values() for folder in folders(part)})
    found = {part: images(folder, classes) for part, folder in around.items()}
    labels = [label for rows in found.values() for _, label in rows]
    if len(set(labels)) < 2:
        raise BadInput(f"data.image_folder.path: {path} has {len(set(labels))} folders with images in them; expected one for each class")
    files = [file for rows in found.values() for file, _ in rows]
    splits = in_a_row({part: len(rows) for part, rows in found.items()})
    return Examples(Images(files, size, grey), torch.tensor(labels), "classification", tuple(classes), splits)


def folders(root: Path) -> list[Path]:
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def images(root: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """The image files of each class, in the order of their names, with its number."""
    return [
        (file, classes.index(folder.name))
        for folder in folders(root)
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
