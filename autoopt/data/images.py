"""Images in files, read as they are asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from autoopt.errors import BadInput


class Images:
    """Image files as uint8 `(N, C, size, size)`, decoded each time that they are asked for.

    Args:
        grey: one channel instead of red, green and blue.
    """

    dtype = torch.uint8

    def __init__(self, files: Sequence[Path], size: int, grey: bool):
        self.files, self.size, self.mode = files, size, "L" if grey else "RGB"
        self.shape = (len(files), 1 if grey else 3, size, size)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, numbers: Tensor) -> Tensor:
        return torch.stack([self.image(self.files[number]) for number in numbers.tolist()])

    def image(self, file: Path) -> Tensor:
        """One image.

        Raises:
            BadInput: it cannot be read.
        """
        try:
            with Image.open(file) as image:
                pixels = np.asarray(image.convert(self.mode).resize((self.size, self.size), Image.Resampling.BILINEAR))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: a broken PNG
            raise BadInput(f"data: {file} cannot be read as an image: {' '.join(str(error).split())}") from error
        return torch.from_numpy(pixels.reshape(self.size, self.size, -1).transpose(2, 0, 1).copy())
