"""A user's images as inputs of a trained model; images whose layout or range is in doubt are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from autoopt.data.image_values import full_scale
from autoopt.data.images import DEEP, all_of, pixels
from autoopt.data.rows import EIGHT_BITS, as_tensor
from autoopt.data.task import Task
from autoopt.errors import BadInput


def encode_images(examples: Any, task: Task) -> Tensor:
    """Images as inputs of a model of the task, float32 `(N, C, H, W)`.

    Args:
        examples: an image file or a PIL image, or a list of them, which are resized; or an array or tensor (N, C, H, W),
            (N, H, W, C) or, with one channel, (N, H, W). Its values are in the range of the training data, or uint8 for a model of
            images in [0, 1].

    Raises:
        BadInput: a file cannot be read, the images have another size or range than those of the training data, or their layout is in
            doubt.
    """
    examples = [examples] if isinstance(examples, Image.Image | str | Path) else examples
    if isinstance(examples, list | tuple) and not len(examples):
        return torch.empty(0, *task.input_shape)
    if isinstance(examples, list | tuple) and all(isinstance(e, Image.Image | str | Path) for e in examples):
        return torch.stack(all_of(lambda image: of_picture(opened(image), task), examples, where=""))
    images = as_nchw(examples, task.input_shape)
    low, high = task.encoding["values"]
    if low < 0:
        if not images.is_floating_point():
            raise BadInput(f"{images.dtype} images, but the model was trained on values from {low:g} to {high:g}; give values like these")
        return images.float()
    if task.inputs is None and high > 1:
        return images.float()  # the model was trained without scaling
    top = full_scale(high)
    if not len(images):
        return images.float()
    if images.dtype == torch.uint8 and top == 1:
        return images.float() / EIGHT_BITS
    return in_range(images, top)


def opened(image: Image.Image | str | Path) -> Image.Image:
    """An image, read where a file is named."""
    if isinstance(image, Image.Image):
        return image
    with Image.open(image) as file:
        file.load()
        return file


def in_range(images: Tensor, top: float) -> Tensor:
    """The images as floats, if their values can be in 0 to `top`.

    Raises:
        BadInput: the type or the values show another range.
    """
    least, greatest = float(images.min()), float(images.max())
    if images.dtype == torch.uint8 and top > EIGHT_BITS:
        raise BadInput(f"uint8 images, but the model was trained on values up to {top:g}; give them in that range")
    if not images.is_floating_point() and images.dtype != torch.uint8 and top == 1:
        raise BadInput(f"{images.dtype} images, but the model was trained on values in [0, 1]; give these, or uint8")
    if least < 0 or greatest > top * (1 + 1e-6):
        raise BadInput(f"the images have values from {least:g} to {greatest:g}, but the model was trained on 0 to {top:g}")
    if images.is_floating_point() and top >= EIGHT_BITS and 0 < greatest <= 1:
        raise BadInput(f"the images have values in [0, 1], but the model was trained on 0 to {top:g}; give them in that range")
    return images.float()


def of_picture(image: Image.Image, task: Task) -> Tensor:
    """A PIL image as an input `(C, H, W)`, decoded as `autoopt.data.images` decodes a file.

    Raises:
        BadInput: its mode does not fit the images of the training data.
    """
    channels, height, width = task.input_shape
    low, high = task.encoding["values"]
    if channels not in (1, 3):
        raise BadInput(f"a PIL image, but the model was trained on images with {channels} channels; give arrays")
    if low < 0 or (task.inputs is None and high > 1):
        raise BadInput(f"a PIL image, but the model was trained on values from {low:g} to {high:g}; give arrays of such values")
    top = full_scale(high)
    deep = image.mode in DEEP
    if deep and not (image.mode == "F" or top > EIGHT_BITS):
        raise BadInput(f"a PIL image of mode {image.mode}, but the model was trained on values up to {top:g}")
    values = pixels(image, height, width, channels == 1, deep)
    return in_range(values, top) if deep else values.float() * (top / EIGHT_BITS)


def as_nchw(examples: Any, shape: tuple[int, ...]) -> Tensor:
    """An array or tensor as a tensor `(N, C, H, W)`; a tensor has its channels first if it may have them first or last.

    Raises:
        BadInput: the shape is not that of the training images; an array may have its channels first or last.
    """
    images = examples if isinstance(examples, Tensor) else as_tensor(computable(array_of(examples)))
    channels, height, width = shape
    first, last = tuple(images.shape[1:]) == shape, tuple(images.shape[1:]) == (height, width, channels)
    if first and last and not isinstance(examples, Tensor):
        raise BadInput(f"an array {tuple(images.shape)} may have its channels first or last; give a tensor (N, C, H, W)")
    if first:
        return images
    if last:
        return images.permute(0, 3, 1, 2)
    if channels == 1 and tuple(images.shape[1:]) == (height, width):
        return images[:, None]
    grey = f", or (N, {height}, {width})" if channels == 1 else ""
    expected = f"(N, {channels}, {height}, {width}) or (N, {height}, {width}, {channels}){grey}"
    raise BadInput(f"images of the shape {tuple(images.shape)}; the model was trained on {expected}")


def array_of(examples: Any) -> np.ndarray:
    """Examples as one array.

    Raises:
        BadInput: their shapes differ.
    """
    try:
        return np.asarray(examples)
    except ValueError as error:
        raise BadInput(
            "the examples are of different shapes; give them in one shape, or call `.model` with what its forward takes"
        ) from error


def computable(array: np.ndarray) -> np.ndarray:
    """An array of numbers of a type with which torch can compute.

    Raises:
        BadInput: the array does not hold numbers.
    """
    if array.dtype.kind not in "uifb":
        raise BadInput(f"an array of {array.dtype}; expected numbers, or PIL images of one size")
    whole = array.dtype.kind == "u" and array.dtype.itemsize > 1  # torch can compute little with these types
    return array.astype("float32" if array.dtype == bool else "int64" if whole else array.dtype, copy=False)
