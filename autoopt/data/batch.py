"""What stands where in a batch of a user's data module: the inputs, the targets, and all that lies on the pixels of the images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

IMAGES = ("image", "images", "img", "pixel_values")
TARGET_KEYS = ("label", "labels", "target", "targets", "mask", "masks", "y")


@dataclass(frozen=True)
class Layout:
    """The keys of a batch: of its inputs, its targets, and those of its tensors that are masks, moved as the images are."""

    inputs: Any
    targets: Any
    masks: tuple[Any, ...] = ()
    misfits: tuple[Any, ...] = ()
    """Tensors that have places of their own, which are not those of the images."""


def batch_layout(batch: Any) -> Layout | None:
    """The layout of a sequence (inputs, targets, …), or of a mapping with images by their usual names; nothing of other batches."""
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
    found = [next((key for key in names if key in batch), None) for names in (IMAGES, TARGET_KEYS)]
    is_image = found[0] is not None and isinstance(batch[found[0]], Tensor) and batch[found[0]].ndim == 4
    return (found[0], found[1]) if is_image and found[1] is not None else None


def items(batch: Any) -> Iterator[tuple[Any, Any]]:
    return iter(batch.items() if isinstance(batch, Mapping) else enumerate(batch))


def replaced(batch: Any, values: Mapping[Any, Tensor]) -> Any:
    """A batch of the same kind with some of its values replaced; a sequence becomes a list."""
    found = {key: values.get(key, value) for key, value in items(batch)}
    return found if isinstance(batch, Mapping) else list(found.values())


def pixel_positions(images: Tensor) -> Tensor:
    """Row, column and 1 for each pixel, float32 `(N, 3, H, W)`; moved with the images, they say where each pixel has come from."""
    height, width = images.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = torch.stack([rows, columns, torch.ones_like(rows)]).to(images.device, torch.float32)
    return planes.expand(len(images), -1, -1, -1)


def moved(mask: Tensor, found: Tensor) -> Tensor:
    """A mask as the images were moved: each pixel has the value of the nearest pixel that it came from, 0 where it came from outside.

    Args:
        mask: `(N, …, H, W)` of any type.
        found: what became of `places`.
    """
    rows, columns, inside = found.unbind(1)
    height, width = mask.shape[-2:]
    share = inside.clamp(min=1e-3)
    row, column = ((each / share).round().long().clamp(0, size - 1) for each, size in ((rows, height), (columns, width)))
    planes = mask.reshape(len(mask), -1, height * width)
    taken = planes.gather(2, (row * width + column).flatten(1)[:, None].expand_as(planes))
    return torch.where(inside.flatten(1)[:, None] > 0.5, taken, torch.zeros_like(taken)).view_as(mask)
