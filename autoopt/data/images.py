"""Image files, read on demand."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from autoopt.errors import BadInput, one_line

DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""The modes with more than 8 bits in a channel; a conversion to 8 bits would clip the values."""
EIGHT_TO_SIXTEEN = 257
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # SyntaxError: a broken PNG
MAX_NAMED = 5


class ImageInside(Protocol):
    """An image inside another file; its `str` says where."""

    def open(self) -> Image.Image: ...


File = Path | ImageInside


class Images:
    """Image files as `(N, C, H, W)`, decoded at each access, turned upright, with white behind transparent pixels.

    They are uint8. If some files have more than 8 bits, all are float32 in the range of these; 8 bits are scaled up to 16.

    Args:
        size: the height and the width to which images are resized, in pixels.
        grey: one channel instead of red, green and blue.

    Raises:
        BadInput: a file is not an image, or files of floating-point numbers and of integers are mixed.
    """

    def __init__(self, files: Sequence[File], size: tuple[int, int], grey: bool):
        self.files, self.grey = files, grey
        self.shape = (len(files), 1 if grey else 3, *size)
        modes = all_of(mode_of, files)
        self.deep = any(mode in DEEP for mode in modes)
        self.dtype = torch.float32 if self.deep else torch.uint8
        if "F" in modes and set(modes) != {"F"}:
            other = files[next(i for i, mode in enumerate(modes) if mode != "F")]
            raise BadInput(f"data: {files[modes.index('F')]} holds floating-point numbers and {other} does not; give images of one kind")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, numbers: Tensor) -> Tensor:
        return torch.stack(all_of(self.image, [self.files[number] for number in numbers.tolist()]))

    def image(self, file: File) -> Tensor:
        with open_image(file) as image:
            return pixels(image, *self.shape[2:], self.grey, self.deep)


def open_image(file: File) -> Image.Image:
    return Image.open(file) if isinstance(file, Path) else file.open()


def all_of(read: Callable[[Any], Any], files: Sequence[Any], where: str = "data: ") -> list[Any]:
    """What `read` returns for each file.

    Raises:
        BadInput: some files cannot be read; the message names them.
    """
    results, broken = [], []
    for file in files:
        try:
            results.append(read(file))
        except BROKEN as error:
            broken.append(f"{file} cannot be read as an image: {one_line(error)}")
    if broken:
        more = f" (and {len(broken) - MAX_NAMED} more)" if len(broken) > MAX_NAMED else ""
        raise BadInput(f"{where}{'; '.join(broken[:MAX_NAMED])}{more}")
    return results


def mode_of(file: File) -> str:
    with open_image(file) as image:
        return image.mode


def pixels(image: Image.Image, height: int, width: int, grey: bool, deep: bool) -> Tensor:
    """An image as `(C, height, width)`: uint8, or if `deep` float32 in a range of more than 8 bits."""
    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP:
        plane = Image.fromarray(np.asarray(image).astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(plane))[None].expand(1 if grey else 3, -1, -1).clone()
    flat = on_white(image).convert("L" if grey else "RGB").resize((width, height), Image.Resampling.BILINEAR)
    values = torch.from_numpy(np.array(flat).reshape(height, width, -1).transpose(2, 0, 1).copy())
    return values.float() * EIGHT_TO_SIXTEEN if deep else values


def on_white(image: Image.Image) -> Image.Image:
    """The image with white behind its transparent pixels."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
