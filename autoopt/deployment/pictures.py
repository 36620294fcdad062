"""Images as people have them as the inputs of a trained model; what cannot be told apart is refused."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from autoopt.data.images import DEEP, pixels
from autoopt.data.task import Task
from autoopt.errors import BadInput

EIGHT_BITS = 255


def encode_images(examples: Any, task: Task) -> Tensor:
    """Images as what a model of the task is given.

    Args:
        examples: a PIL image or some of them, which are resized; or an array or tensor (N, C, H, W), (N, H, W, C) or, of one
            channel, (N, H, W), with values as the training data had them, or of uint8 for a model of images in [0, 1].

    Raises:
        BadInput: they are of another size, or of other values than the model was trained on.
    """
    examples = [examples] if isinstance(examples, Image.Image) else examples
    if isinstance(examples, list | tuple) and all(isinstance(e, Image.Image) for e in examples):
        return torch.stack([of_picture(image, task) for image in examples])
    images = as_nchw(examples, task.input_shape)
    low, high = task.encoding["values"]
    if low < 0:
        if not images.is_floating_point():
            raise BadInput(f"{images.dtype} images, but the model was trained on values from {low:g} to {high:g}; give them as these are")
        return images.float()
    top = 1.0 if task.inputs is None else float(task.inputs.deviation)
    if task.inputs is None and high > 1:
        return images.float()  # as they are
    if images.dtype == torch.uint8 and top == 1:
        return images.float() / EIGHT_BITS
    return in_range(images, top)


def in_range(images: Tensor, top: float) -> Tensor:
    """Images whose values have to be those of 0 to `top`."""
    seen, least = float(images.max()), float(images.min())
    if images.dtype == torch.uint8 and top > EIGHT_BITS:
        raise BadInput(f"images of uint8, but the model was trained on values up to {top:g}; give them in that range")
    if not images.is_floating_point() and images.dtype != torch.uint8 and top == 1:
        raise BadInput(f"{images.dtype} images, but the model was trained on values in [0, 1]; give these, or uint8")
    if least < 0 or seen > top * (1 + 1e-6):
        raise BadInput(f"the images have values from {least:g} to {seen:g}, but the model was trained on 0 to {top:g}")
    if images.is_floating_point() and top >= EIGHT_BITS and 0 < seen <= 1:
        raise BadInput(f"the images have values in [0, 1], but the model was trained on 0 to {top:g}; give them in that range")
    return images.float()


def of_picture(image: Image.Image, task: Task) -> Tensor:
    """A PIL image, read as `autoopt.data.images` reads a file."""
    channels, height, width = task.input_shape
    low, high = task.encoding["values"]
    if channels not in (1, 3):
        raise BadInput(f"a PIL image, but the model was trained on images of {channels} channels; give arrays")
    if low < 0 or (task.inputs is None and high > 1):
        raise BadInput(f"a PIL image, but the model was trained on values from {low:g} to {high:g}; give arrays like these")
    top = 1.0 if task.inputs is None else float(task.inputs.deviation)
    deep = image.mode in DEEP
    if deep and not (image.mode == "F" or top > EIGHT_BITS):
        raise BadInput(f"a PIL image of mode {image.mode}, but the model was trained on values up to {top:g}")
    found = pixels(image, height, width, channels == 1, deep)
    return in_range(found, top) if deep else found.float() * (top / EIGHT_BITS)


def as_nchw(examples: Any, shape: tuple[int, ...]) -> Tensor:
    """An array or tensor as `(N, C, H, W)`; a tensor that may be that is that.

    Raises:
        BadInput: it has another shape, or may be (N, C, H, W) and (N, H, W, C).
    """
    found = examples if isinstance(examples, Tensor) else torch.from_numpy(native_byte_order(np.asarray(examples)))
    channels, height, width = shape
    first, last = tuple(found.shape[1:]) == shape, tuple(found.shape[1:]) == (height, width, channels)
    if first and last and not isinstance(examples, Tensor):
        raise BadInput(f"an array {tuple(found.shape)} may have its channels first or last; give a tensor (N, C, H, W)")
    if first:
        return found
    if last:
        return found.permute(0, 3, 1, 2)
    if channels == 1 and tuple(found.shape[1:]) == (height, width):
        return found[:, None]
    grey = f", or (N, {height}, {width})" if channels == 1 else ""
    said = f"(N, {channels}, {height}, {width}) or (N, {height}, {width}, {channels}){grey}"
    raise BadInput(f"images of the shape {tuple(found.shape)}; the model was trained on {said}")


def native_byte_order(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "uifb":
        raise BadInput(f"images of {array.dtype}; expected numbers, or PIL images of one size")
    whole = array.dtype.kind == "u" and array.dtype.itemsize > 1  # torch computes with few of these
    return array.astype("float32" if array.dtype == bool else "int64" if whole else array.dtype.newbyteorder("="), copy=False)
