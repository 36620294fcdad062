"""Images in files, read as they are asked for."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from autoopt.errors import BadInput

DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""The modes with more than 8 bits a pixel; to convert them to 8 bits would clip them."""
EIGHT_TO_SIXTEEN = 257
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # SyntaxError: a broken PNG
MAX_NAMED = 5


class Held(Protocol):
    """An image that is no file of its own; its text says where it is."""

    def open(self) -> BytesIO | Path: ...


File = Path | Held


class Images:
    """Image files as `(N, C, size, size)`, decoded each time that they are asked for: upright, and on white where they are transparent.

    They are uint8. Where some files have more bits, all are float32 with the values of these; files of 8 bits among them count
    as 16.

    Args:
        grey: one channel instead of red, green and blue.

    Raises:
        BadInput: a file is no image.
    """

    def __init__(self, files: Sequence[File], size: int, grey: bool):
        self.files, self.size, self.grey = files, size, grey
        self.shape = (len(files), 1 if grey else 3, size, size)
        modes = all_of(mode_of, files)
        self.deep = any(mode in DEEP for mode in modes)
        self.dtype = torch.float32 if self.deep else torch.uint8
        if "F" in modes and set(modes) != {"F"}:
            other = files[next(i for i, mode in enumerate(modes) if mode != "F")]
            raise BadInput(f"data: {files[modes.index('F')]} holds floating numbers and {other} does not; give images of one kind")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, numbers: Tensor) -> Tensor:
        return torch.stack(all_of(self.image, [self.files[number] for number in numbers.tolist()]))

    def image(self, file: File) -> Tensor:
        with open_image(file) as image:
            return pixels(image, self.size, self.size, self.grey, self.deep)


def open_image(file: File) -> Image.Image:
    return Image.open(file if isinstance(file, Path) else file.open())


def all_of(read: Any, files: Sequence[File]) -> list[Any]:
    """What is read of each file.

    Raises:
        BadInput: some cannot be read; it names them.
    """
    found, broken = [], []
    for file in files:
        try:
            found.append(read(file))
        except BROKEN as error:
            broken.append(f"{file} cannot be read as an image: {' '.join(str(error).split())}")
    if broken:
        more = f" (and {len(broken) - MAX_NAMED} more)" if len(broken) > MAX_NAMED else ""
        raise BadInput(f"data: {'; '.join(broken[:MAX_NAMED])}{more}")
    return found


def mode_of(file: File) -> str:
    with open_image(file) as image:
        return image.mode


def pixels(image: Image.Image, height: int, width: int, grey: bool, deep: bool) -> Tensor:
    """An image `(C, height, width)`: uint8, or float32 with the values of more than 8 bits where it is to be deep."""
    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP:
        plane = Image.fromarray(np.asarray(image).astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(plane))[None].expand(1 if grey else 3, -1, -1).clone()
    flat = on_white(image).convert("L" if grey else "RGB").resize((width, height), Image.Resampling.BILINEAR)
    found = torch.from_numpy(np.array(flat).reshape(height, width, -1).transpose(2, 0, 1).copy())
    return found.float() * EIGHT_TO_SIXTEEN if deep else found


def on_white(image: Image.Image) -> Image.Image:
    """What is transparent stands before white."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
