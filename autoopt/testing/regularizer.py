"""What a regularizer must do: train along, and keep the parameters finite."""

import torch

from autoopt.technique import Technique
from autoopt.testing.toys import Tiny, fit
from autoopt.testing.worlds import situations


def trains_two_finite_steps(technique: Technique) -> None:
    for world, callback in situations(technique):
        module = Tiny(world["model"])
        trainer = fit(module, [] if callback is None else [callback], accelerator="cpu", devices=1)
        assert trainer.global_step <= 2, f"two batches made {trainer.global_step} steps"
        bad = [name for name, p in module.named_parameters() if not torch.isfinite(p).all()]
        assert not bad, f"after two steps these are not finite: {', '.join(bad)}"


CHECKS = (trains_two_finite_steps,)
