"""What a regularizer must do: take part in a training, keep the parameters finite, and change a model once, even if called again."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from autoopt.technique import Technique
from autoopt.testing.toys import TASKS, ResidualBlock, Tiny, examples_of, fit_toy
from autoopt.testing.worlds import SEEDS, differing_tensors, situations


def trains_two_finite_steps(technique: Technique) -> None:
    for world, callback in situations(technique):
        module = Tiny(world["model"])
        trainer = fit_toy(module, [] if callback is None else [callback], accelerator="cpu", devices=1)
        assert trainer.global_step <= 2, f"two batches made {trainer.global_step} steps"
        bad = [name for name, p in module.named_parameters() if not torch.isfinite(p).all()]
        assert not bad, f"after two steps these are not finite: {', '.join(bad)}"


def changes_a_model_only_once(technique: Technique) -> None:
    """A model that is trained further is given to the regularizer again."""
    first, second = situations(technique), situations(technique)
    situations(technique, worlds=[world for world, _ in second])
    for (once, _), (twice, _) in zip(first, second, strict=True):
        changed = differing_tensors(once["model"].state_dict(), twice["model"].state_dict())
        assert not changed, f"called a second time it changed the model's {changed}"
        for mode in ("eval", "train"):
            seen = [answer(world["model"], mode) for world in (once, twice)]
            assert torch.equal(*seen), f"called a second time it changed what the model answers in {mode} mode"


def leaves_the_residual_trunk_alone(technique: Technique) -> None:
    """What is dropped there reaches all later layers: a block adds its branch to its inputs, and changes these no further."""
    for model in trained_residual_networks(technique):
        blocks = [module for module in model.modules() if isinstance(module, ResidualBlock)]
        added, passed = noted(model, [block.branch for block in blocks]), noted(model, blocks)
        images = examples_of(TASKS[1])[0].flatten(1)
        trunk = linear(images, model.get_parameter("1.weight"), model.get_parameter("1.bias")).relu()
        for branch, outputs in [*zip(added, passed, strict=True)][:-1]:  # the head alone reads the last one's
            expected = (trunk + branch).relu()
            assert torch.allclose(outputs, expected, atol=1e-5), "it changes the trunk of a residual network, not the branches alone"
            trunk = outputs


def noted(model: nn.Module, parts: Sequence[nn.Module]) -> list[Tensor]:
    """The outputs of some parts of a model in training."""
    outputs: dict[nn.Module, Tensor] = {}
    hooks = [part.register_forward_hook(lambda part, _, result: outputs.update({part: result})) for part in parts]
    answer(model, "train")
    for hook in hooks:
        hook.remove()
    return [outputs[part] for part in parts]


def acts_anew_under_each_seed(technique: Technique) -> None:
    """Several ranks have seeds of their own, which torch's generator follows, and one that a technique makes does not."""
    for model in trained_residual_networks(technique):
        still, *drawn = answer(model, "eval"), *(answer(model, "train", seed) for seed in SEEDS)
        acts = any(not torch.equal(outputs, still) for outputs in drawn)
        assert not acts or any(not torch.equal(outputs, drawn[0]) for outputs in drawn), "under five seeds it changes the outputs alike"


def trained_residual_networks(technique: Technique) -> Iterator[nn.Module]:
    """The residual network of the situations, trained with the regularizer, which may find its places in the first step."""
    for world, callback in situations(technique):
        if any(isinstance(module, ResidualBlock) for module in world["model"].modules()):
            fit_toy(Tiny(world["model"]), [] if callback is None else [callback], accelerator="cpu", devices=1)
            yield world["model"]


@torch.no_grad()
def answer(model: nn.Module, mode: str, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    outputs: Tensor = getattr(model, mode)()(examples_of(TASKS[1])[0])
    return outputs


CHECKS = (trains_two_finite_steps, changes_a_model_only_once, leaves_the_residual_trunk_alone, acts_anew_under_each_seed)
