"""Batches after the augmentations of a recipe."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from autoopt.data.batch_layout import batch_layout, moved, pixel_positions, replaced
from autoopt.data.scale import Scale
from autoopt.errors import TechniqueError
from autoopt.module.chosen import Chosen, call


def augment(chosen: Chosen, inputs: Tensor, targets: Tensor, classes: int = -1, pixels: Scale | None = None) -> tuple[Tensor, Tensor]:
    """A batch after every augmentation of the recipe.

    A technique asks for `planes` if it moves all channels alike, those of masks too; for `pixels` (in [0, 1]) if it changes
    values and leaves each pixel in its place; for `images` (in [0, 1]) if it does both; else for `inputs`.

    Args:
        classes: the number of classes, for probabilities.
        pixels: the scale of images, which are in [0, 1] without it.

    Returns:
        the inputs, and the targets: class probabilities `(N, K)` in place of indices, if a technique asks for `targets`.
    """
    return augmented(chosen, inputs, targets, None, classes, pixels)[:2]


def augmented(
    chosen: Chosen, inputs: Tensor, targets: Tensor, where: Tensor | None, classes: int = -1, pixels: Scale | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same, and the positions of the pixels after the augmentations, if positions `where` are given."""
    techniques = chosen.of("augmentation")
    if techniques and pixels is not None:
        inputs = pixels.invert(inputs).float().clamp(0, 1)
    for technique, values in techniques:
        if "targets" in technique.asks and not targets.is_floating_point():
            targets = one_hot(targets.long(), classes).to(inputs.dtype)
        planes = inputs if where is None else torch.cat([inputs.float(), where], 1)
        offered = {"planes": planes, "images": inputs, "pixels": inputs, "inputs": inputs, "targets": targets}
        with torch.autocast(inputs.device.type, enabled=False):  # in bfloat16, positions would be some pixels off
            returned = call(technique, offered, values)
        tensors = returned if isinstance(returned, tuple) else (returned,)
        if len(tensors) != len(technique.asks):
            problem = f"returned {len(tensors)} instead of {len(technique.asks)} tensors: {', '.join(technique.asks)}"
            raise TechniqueError(technique.slot, technique.name, problem)
        new = dict(zip(technique.asks, tensors, strict=True))
        if where is not None and "planes" in new:
            new["planes"], where = new["planes"][:, :-3].to(inputs.dtype), new["planes"][:, -3:]
        inputs = next((new[name] for name in ("planes", "images", "pixels", "inputs") if name in new), inputs)
        targets = new.get("targets", targets)
    return pixels.apply(inputs) if techniques and pixels is not None else inputs, targets, where


def augmented_batch(chosen: Chosen, batch: Any, pixels: Scale | None = None) -> Any:
    """A batch of a user's data module after every augmentation, with its masks moved too; unchanged if its layout is not known.

    A mixture of classes becomes a class that is drawn from it: the gradient is the same on average, and every module takes indices.
    """
    layout = batch_layout(batch) if chosen.of("augmentation") else None
    if layout is None:
        return batch
    images, labels = batch[layout.inputs], batch[layout.targets]
    inputs, targets, where = augmented(chosen, images, labels, pixel_positions(images) if layout.masks else None, pixels=pixels)
    if targets.is_floating_point() and not labels.is_floating_point():
        targets = torch.multinomial(targets, 1).squeeze(1).to(labels.dtype)
    masks = {} if where is None else {key: moved(batch[key], where) for key in layout.masks}
    return replaced(batch, {layout.inputs: inputs, layout.targets: targets, **masks})
