"""What a device must do: train two steps, or say why not."""

import torch

from autoopt.technique import Technique
from autoopt.testing.toys import Tiny, fit
from autoopt.testing.worlds import situations


def trains_two_steps(technique: Technique) -> None:
    for world, arguments in situations(technique):
        module = Tiny(world["model"])
        trainer = fit(module, [], **arguments)
        assert trainer.global_step == 2, f"two batches made {trainer.global_step} steps"
        assert all(torch.isfinite(p).all() for p in module.parameters()), "after two steps some parameters are not finite"


CHECKS = (trains_two_steps,)
