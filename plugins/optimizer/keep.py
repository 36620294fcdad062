from typing import Annotated, Any

from torch import Tensor
from torch.optim import Optimizer

from autoopt.domain import Bounds, Range
from autoopt.plugins.optimizer.closure import Arguments, Closure, with_closure


class Scaling:
    """Multiplies values of the groups while an optimizer steps; before and after it they are those of their author and the schedule.

    While the step calls its closure, they are the author's too: a training step may set the rate.
    """

    def __init__(self, scales: dict[str, float]):
        self.scales = scales
        self.before: list[dict[str, float]] = []
        self.scaled: list[dict[str, float]] = []

    def begin(self, optimizer: Optimizer, *arguments: Any) -> Arguments | None:
        self.scale(optimizer)

        def unscaled(closure: Closure) -> Tensor:
            self.end(optimizer)
            loss = closure()
            self.scale(optimizer)
            return loss

        return with_closure(arguments, unscaled)

    def scale(self, optimizer: Optimizer) -> None:
        self.before = [{key: group[key] for key in self.scales if key in group} for group in optimizer.param_groups]
        self.scaled = [{key: value * self.scales[key] for key, value in values.items()} for values in self.before]
        for group, values in zip(optimizer.param_groups, self.scaled, strict=True):
            group.update(values)

    def end(self, optimizer: Optimizer, *_: object) -> None:
        """Take the factors away again, also from a value that was set within the step."""
        for group, before, scaled in zip(optimizer.param_groups, self.before, self.scaled, strict=True):
            group.update((key, before[key] if group[key] is scaled[key] else group[key] / self.scales[key]) for key in scaled)


def keep(
    own: Optimizer,
    *,
    lr_scale: Annotated[float, Range(0.1, 10.0, log=True), Bounds(0)] = 1.0,
    weight_decay_scale: Annotated[float, Range(0.1, 10.0, log=True), Bounds(0)] = 1.0,
) -> Optimizer:
    """The module's own optimizer: the rates of all its groups times `lr_scale`, their decays times `weight_decay_scale`.

    The schedule and the module see the rates without the factor, so that it holds under every schedule.

    Source: the module's author.
    """
    if (lr_scale, weight_decay_scale) != (1.0, 1.0):
        scaling = Scaling({"lr": lr_scale, "initial_lr": lr_scale, "weight_decay": weight_decay_scale})
        own.register_step_pre_hook(scaling.begin)
        own.register_step_post_hook(scaling.end)
        own.lr_scale = lr_scale  # type: ignore[attr-defined]
    return own
