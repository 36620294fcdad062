from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch

from autoopt.data.examples import Examples
from autoopt.data.images import Images
from autoopt.data.splits import PART_NAMES, contiguous_parts
from autoopt.domain import Acts, Bounds
from autoopt.errors import BadInput

WHERE = "data.image_folder.path"
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".bmp", ".dib", ".gif", ".webp", ".avif", ".tif", ".tiff", ".tga", ".ppm", ".pgm",
    ".pbm", ".pnm",
)  # fmt: skip


def image_folder(*, path: str, size: Annotated[int, Bounds(1)] = 32, grey: bool = False) -> Annotated[Examples, Acts(preset="images")]:
    """Images in a folder for each class, resized to `size` by `size`; folders such as train, valid and Test above these fix the parts.

    Images are turned upright by their EXIF data, and get white behind transparent pixels. Images of 16 bits or floating-point
    numbers keep their range. Notes name the folders and files that are not read.

    Deng et al. 2009, DOI 10.1109/CVPR.2009.5206848.

    Raises:
        BadInput: the folder is missing, fewer than two classes have images, training has no images, or files cannot be read.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise BadInput(f"{WHERE}: there is no folder {path}")
    parts = parts_in(root)
    files_of = {part: dict(images(folder)) for part, folder in (parts or {"train": root}).items()}
    classes = sorted({name for folders in files_of.values() for name, files in folders.items() if files})
    if len(classes) < 2:
        raise BadInput(f"{WHERE}: {path} has {len(classes)} folders with images in them; expected one for each class")
    if not any(files_of["train"].values()):
        raise BadInput(f"{WHERE}: {parts['train']} has no folders with images in them")
    rows = {part: [(f, classes.index(name)) for name, files in folders.items() for f in files] for part, folders in files_of.items()}
    files, labels = zip(*(row for part in rows.values() for row in part), strict=True)
    splits = contiguous_parts({part: len(examples) for part, examples in rows.items() if examples})
    notes = tuple(skipped(root, list(parts.values()), {name for folders in files_of.values() for name in folders} - {*classes}))
    return Examples(Images(files, (size, size), grey), torch.tensor(labels), "classification", tuple(classes), splits, notes=notes)


def parts_in(root: Path) -> dict[str, Path]:
    """The folder of each part; empty if the folders in the root are classes: these hold images, and those of parts hold folders.

    Raises:
        BadInput: no folder is the training part, or two folders are the same part.
    """
    parts: dict[str, Path] = {}
    named = [folder for folder in folders(root) if folder.name.strip().lower() in PART_NAMES]
    if any(is_image_file(file) for folder in named for file in folder.iterdir()) or not any(folders(folder) for folder in named):
        return {}
    for folder in named:
        part = PART_NAMES[folder.name.strip().lower()]
        if part in parts:
            raise BadInput(f"{WHERE}: {parts[part]} and {folder} are both the {part} part; remove one of them")
        parts[part] = folder
    if "train" not in parts:
        raise BadInput(f"{WHERE}: {root} has folders for {' and '.join(parts)}, but none for train")
    return parts


def folders(root: Path) -> list[Path]:
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not is_hidden(Path(folder.name)))


def images(root: Path) -> Iterator[tuple[str, list[Path]]]:
    """The name and the image files of each folder in the root, in alphabetical order."""
    for folder in folders(root):
        found = (file for file in sorted(folder.rglob("*")) if not is_hidden(file.parent.relative_to(folder)))  # by Jupyter, copies
        yield folder.name, [file for file in found if is_image_file(file)]


def is_image_file(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def skipped(root: Path, parts: list[Path], empty: set[str]) -> Iterator[str]:
    """Notes on the folders and files that are not read."""
    if beside := [folder.name for folder in folders(root) if parts and folder not in parts]:
        yield f"folders beside the parts were not read: {', '.join(beside)}"
    if empty:
        yield f"folders without images are no classes: {', '.join(sorted(empty))}"
    files = [f for part in parts or [root] for f in sorted(part.rglob("*")) if f.is_file() and not is_hidden(f.relative_to(part))]
    others = Counter(f.suffix.lower() or f.name for f in files if not is_image_file(f) or (f.parent in (root, *parts)))
    if others:
        yield f"{sum(others.values())} files were not read: {', '.join(f'{count} {suffix}' for suffix, count in others.most_common(5))}"


def is_hidden(path: Path) -> bool:
    return any(name.startswith((".", "__")) for name in path.parts)
