"""What a regularizer must do: train along, keep the parameters finite, and change a model once, however often it is called."""

import torch
from torch import Tensor, nn

from autoopt.technique import Technique
from autoopt.testing.toys import TASKS, Tiny, examples_of, fit_toy
from autoopt.testing.worlds import differing_tensors, situations


def trains_two_finite_steps(technique: Technique) -> None:
    for world, callback in situations(technique):
        module = Tiny(world["model"])
        trainer = fit_toy(module, [] if callback is None else [callback], accelerator="cpu", devices=1)
        assert trainer.global_step <= 2, f"two batches made {trainer.global_step} steps"
        bad = [name for name, p in module.named_parameters() if not torch.isfinite(p).all()]
        assert not bad, f"after two steps these are not finite: {', '.join(bad)}"


def changes_a_model_only_once(technique: Technique) -> None:
    """A trained model is given to it again when it is trained on."""
    first, second = situations(technique), situations(technique)
    situations(technique, worlds=[world for world, _ in second])
    for (once, _), (twice, _) in zip(first, second, strict=True):
        changed = differing_tensors(once["model"].state_dict(), twice["model"].state_dict())
        assert not changed, f"called a second time it changed the model's {changed}"
        for mode in ("eval", "train"):
            seen = [answer(world["model"], mode) for world in (once, twice)]
            assert torch.equal(*seen), f"called a second time it changed what the model answers in {mode} mode"


def answer(model: nn.Module, mode: str) -> Tensor:
    torch.manual_seed(0)
    outputs: Tensor = getattr(model, mode)()(examples_of(TASKS[1])[0])
    return outputs


CHECKS = (trains_two_finite_steps, changes_a_model_only_once)
