"""Where the inputs, the targets and the masks are in a batch of a user's data module, and masks that move with images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

IMAGES = ("image", "images", "img", "pixel_values")
TARGET_KEYS = ("label", "labels", "target", "targets", "mask", "masks", "y")


@dataclass(frozen=True)
class Layout:
    """The keys of the tensors in a batch.

    Args:
        inputs: of the inputs.
        targets: of the targets.
        masks: of the tensors with the height and width of the images, which move with them.
        misfits: of the tensors with another height and width, such as a depth map at half the size, which cannot move with them.
    """

    inputs: Any
    targets: Any
    masks: tuple[Any, ...] = ()
    misfits: tuple[Any, ...] = ()


def batch_layout(batch: Any) -> Layout | None:
    """The layout of a sequence (inputs, targets, …), or of a mapping with images under a usual name; None for other batches."""
    keys = keys_of(batch)
    if keys is None or not all(isinstance(batch[key], Tensor) for key in keys):
        return None
    inputs, targets = keys
    if batch[inputs].ndim != 4:
        return Layout(inputs, targets)
    others = [(key, value) for key, value in items(batch) if key != inputs and isinstance(value, Tensor) and value.ndim > 2]
    size = batch[inputs].shape
    masks = [key for key, value in others if value.shape[0] == size[0] and value.shape[-2:] == size[-2:]]
    return Layout(inputs, targets, tuple(masks), tuple(key for key, _ in others if key not in masks))


def keys_of(batch: Any) -> tuple[Any, Any] | None:
    if isinstance(batch, list | tuple):
        return (0, 1) if len(batch) >= 2 else None
    if not isinstance(batch, Mapping):
        return None
    inputs, targets = (next((key for key in names if key in batch), None) for names in (IMAGES, TARGET_KEYS))
    is_image = inputs is not None and isinstance(batch[inputs], Tensor) and batch[inputs].ndim == 4
    return (inputs, targets) if is_image and targets is not None else None


def as_pair(batch: Any) -> Any:
    """A mapping as (inputs, targets), where its layout is known; other batches as they are."""
    layout = batch_layout(batch) if isinstance(batch, Mapping) else None
    return batch if layout is None else (batch[layout.inputs], batch[layout.targets])


def items(batch: Any) -> Iterator[tuple[Any, Any]]:
    return iter(batch.items() if isinstance(batch, Mapping) else enumerate(batch))


def replaced(batch: Any, values: Mapping[Any, Tensor]) -> Any:
    """A batch of the same kind with some of its values replaced; a sequence becomes a list."""
    new = {key: values.get(key, value) for key, value in items(batch)}
    return new if isinstance(batch, Mapping) else list(new.values())


def pixel_positions(images: Tensor) -> Tensor:
    """Row, column and 1 for each pixel, float32 `(N, 3, H, W)`; moved with the images, they tell where each pixel comes from."""
    height, width = images.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = torch.stack([rows, columns, torch.ones_like(rows)]).to(images.device, torch.float32)
    return planes.expand(len(images), -1, -1, -1)


def moved(mask: Tensor, positions: Tensor) -> Tensor:
    """A mask that is moved like the images: each pixel takes the value of the nearest source pixel, or 0 from outside the image.

    Args:
        mask: `(N, …, H, W)` of any type.
        positions: `pixel_positions` after they were moved with the images, `(N, 3, H, W)`.
    """
    rows, columns, inside = positions.unbind(1)
    height, width = mask.shape[-2:]
    share = inside.clamp(min=1e-3)
    row, column = ((axis / share).round().long().clamp(0, size - 1) for axis, size in ((rows, height), (columns, width)))
    planes = mask.reshape(len(mask), -1, height * width)
    taken = planes.gather(2, (row * width + column).flatten(1)[:, None].expand_as(planes))
    return torch.where(inside.flatten(1)[:, None] > 0.5, taken, torch.zeros_like(taken)).view_as(mask)
