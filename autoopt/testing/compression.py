"""What a compression must do: return a smaller model that predicts nearly the same, and leave the given one alone."""

import zlib

import torch
from torch import Tensor, nn

from autoopt.technique import Technique
from autoopt.testing.worlds import WORLDS, differing, situations


def makes_it_smaller(technique: Technique) -> None:
    for world, smaller in situations(technique):
        if packed(smaller):
            sizes = packed(world["model"]), packed(smaller)
            assert sizes[1] < sizes[0], f"the weights, packed, took {sizes[0]} bytes and now take {sizes[1]}"


def packed(model: nn.Module) -> int:
    """Bytes of the weights after general compression, which sees zeros, shared values and shorter types alike."""
    tensors = [t.detach().cpu().contiguous() for t in model.state_dict().values() if isinstance(t, Tensor)]
    return sum(len(zlib.compress(t.reshape(-1).view(torch.uint8).numpy().tobytes())) for t in tensors)


def stays_close(technique: Technique) -> None:
    for world, smaller in situations(technique):
        inputs = torch.cat([batch for batch, _ in world["batches"]])
        with torch.no_grad():
            before, after = world["model"].eval()(inputs), smaller.eval()(inputs)
        assert after.shape == before.shape, f"outputs {tuple(before.shape)} became {tuple(after.shape)}"
        assert after.dtype == before.dtype, f"outputs of {before.dtype} became {after.dtype}"
        same = (before.argmax(1) == after.argmax(1)).float().mean().item()
        assert same >= 0.8, f"only {same:.0%} of the predictions are what they were"


def leaves_the_given_model_alone(technique: Technique) -> None:
    for (world, _), untouched in zip(situations(technique), WORLDS["compression"](), strict=True):
        old, new = untouched["model"].state_dict(), world["model"].state_dict()
        assert not differing(old, new), f"it changed the given model's {differing(old, new)}"


CHECKS = (makes_it_smaller, stays_close, leaves_the_given_model_alone)
