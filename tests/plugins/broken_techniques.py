"""Techniques with one fault each, for the contract to find. Source of all: nobody, 2026."""

import copy
from typing import Annotated

import numpy
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from autoopt.data.examples import Encoded, Examples
from autoopt.deployment.onnx import in_float32
from autoopt.deployment.packed import unpacked
from autoopt.domain import Acts, Bounds, Choice, Range, Unavailable

LOW = 0.5


def two_of_a_name(params, *, lr: Annotated[float, Range(1e-5, 1e-1)] = 1e-3):
    """The first definition of two."""
    return SGD(params, lr=lr)


def two_of_a_name(params, *, lr: Annotated[float, Range(0.1, 1.0)] = 0.5):  # noqa: F811
    """The second definition of two."""
    return SGD(params, lr=lr)


def without_source(params):
    """A step downhill.

    Nobody knows where it comes from.
    """
    return SGD(params, lr=0.1)


def without_docstring(params):
    return SGD(params, lr=0.1)


def asks_too_much(params, images):
    return SGD(params, lr=0.1)


def fills_nothing(params) -> Annotated[Optimizer, Acts(fills="schedul")]:
    return SGD(params, lr=0.1)


def default_outside(params, *, lr: Annotated[float, Range(1e-3, 0.1)] = 1.0):
    return SGD(params, lr=lr)


def default_out_of_bounds(params, *, lr: Annotated[float, Bounds(0, 1)] = 2.0):
    return SGD(params, lr=lr)


def default_no_option(*, precision: Annotated[str, Choice("32-true", "bf16-mixed")] = "16-true"):
    return {"precision": precision}


class Picky(SGD):
    def __init__(self, params, momentum):
        if momentum > 1:
            raise ValueError("Invalid momentum value")
        super().__init__(params, lr=0.1, momentum=momentum)


def breaks_at_an_end(params, *, momentum: Annotated[float, Range(0.5, 1.5)] = 0.9):
    return Picky(params, momentum)


def returns_a_number():
    return 0.5


def climbs(params):
    return SGD(params, lr=0.1, maximize=True)


class Forgetful(SGD):
    def __init__(self, params):
        super().__init__(params, lr=0.1)
        self.steps = 0

    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.steps
        return super().step(closure)


def forgets(params):
    return Forgetful(params)


class Shrinking(SGD):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(0.9)
        return super().step(closure)


def shrinks_everything(params):
    return Shrinking(params, lr=0.1)


class Deaf(SGD):
    def step(self, closure=None):
        return super().step()


def ignores_closures(params):
    return Deaf(params, lr=0.1)


class Headstrong(SGD):
    @torch.no_grad()
    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(0.01 * parameter.grad)
        return loss


def has_its_own_rate(params):
    return Headstrong(params, lr=0.1)


def goes_negative(optimizer, total_steps):
    return LambdaLR(optimizer, lambda step: 1 - step / total_steps)


def divides_by_zero(optimizer, total_steps):
    return LambdaLR(optimizer, lambda step: max(0.0, 1 - step / (total_steps - 1)))


def overshoots(optimizer):
    return LambdaLR(optimizer, lambda step: 2.0)


def starts_low(optimizer):
    return LambdaLR(optimizer, lambda step: 0.5)


def follows_losses_alone(optimizer):
    return ReduceLROnPlateau(optimizer, patience=2)


def own_generator(model):
    weight = next(model.parameters()).data
    weight.copy_(torch.from_numpy(numpy.random.default_rng().normal(size=weight.shape)))


def resets_norms(model):
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.ones_(layer.weight)


def not_a_number(model):
    nn.init.constant_(next(layer for layer in model.modules() if isinstance(layer, nn.Linear)).weight, float("nan"))


def too_bright(images, *, strength: Annotated[float, Range(0.0, 1.0)] = 0.5):
    return (images > 0.5) * 2.0


def doubles_precision(images):
    return images.double()


def crops(images):
    return images[:, :, 1:]


def moves_the_first_channel(planes):
    return torch.cat([planes[:, :1].flip(3), planes[:, 1:]], 1)


def loses_labels(inputs, targets):
    return inputs, targets / 2


def writes_in_place(images):
    return images.mul_(0.5)


def of_one_seed(images):
    return (images + torch.rand(images.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def own_noise(images):
    return images * float(numpy.random.default_rng().uniform())


def returns_one_of_two(inputs, targets):
    return inputs


def prefers_the_worse(class_counts):
    return lambda outputs, targets: -cross_entropy(outputs, targets)


def one_each(class_counts):
    return lambda outputs, targets: cross_entropy(outputs, targets, reduction="none")


def takes_indices_alone(class_counts):
    return lambda outputs, targets: nn.functional.nll_loss(outputs.log_softmax(1), targets)


def wrong_width(task):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(7))


class Idle(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.used, self.idle = nn.Linear(6, task.outputs), nn.Linear(2, 2)

    def forward(self, inputs):
        return self.used(inputs)


def with_an_idle_layer(task):
    if task.input_shape != (6,):
        raise Unavailable("for six numbers")
    return Idle(task)


class Centred(nn.Module):
    def forward(self, inputs):
        return inputs - inputs.mean(0)


def looks_at_the_batch(task):
    if task.tokens:
        raise Unavailable("for numbers")
    return nn.Sequential(nn.Flatten(), Centred(), nn.Linear(int(numpy.prod(task.input_shape)), task.outputs))


def own_seed(task):
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(numpy.prod(task.input_shape)), task.outputs))
    own_generator(nn.Sequential(model[1]))
    return model


class Halving(nn.Module):
    def forward(self, inputs):
        return inputs[:, : inputs.shape[1] // 2]


def halves():
    return Halving()


ONE = nn.ReLU()


def shared():
    return ONE


class Explosion(Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        pl_module.model[0].weight.grad.fill_(float("inf"))


def blows_up():
    return Explosion()


def drops_again(model):
    model.append(nn.Dropout(0.5))


def drops_everywhere(model):
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda place, _, outputs: nn.functional.dropout(outputs, 0.5, place.training))


def drops_alike(model):
    def drop(place, _, outputs):
        kept = torch.rand(outputs.shape, generator=torch.Generator().manual_seed(0)) > 0.5
        return outputs * kept if place.training else outputs

    for module in model.modules():
        if hasattr(module, "branch"):
            module.branch.register_forward_hook(drop)


def shrinks_at_each_call(model):
    model[-1].weight.data.mul_(0.5)


def halves_the_model(model):
    model.half()
    return {"accelerator": "cpu"}


def unknown_to_lightning():
    return {"accelerator": "cpu", "speed": "high"}


def copies(model):
    return copy.deepcopy(model)


class Opaque(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.scale = model, {"of the outputs": 2}

    def forward(self, inputs):
        return self.model(inputs) * self.scale["of the outputs"]


def cannot_be_written(model):
    return Opaque(copy.deepcopy(model))


class Forgotten(nn.Module):
    _factor = 2.0

    def __init__(self, model):
        super().__init__()
        self.model, self._factor = model, torch.tensor(3.0)

    def forward(self, inputs):
        return self.model(inputs) * self._factor


def keeps_weights_in_a_cache(model):
    return Forgotten(copy.deepcopy(model))


def forgets_everything(model):
    empty = copy.deepcopy(model)
    nn.init.zeros_(empty[-1].weight)
    return empty


class Clipped(nn.Module):
    """Inputs are cut off where those of one example end."""

    def __init__(self, model, most):
        super().__init__()
        self.model = model
        self.register_buffer("most", most)

    def forward(self, inputs):
        return self.model(inputs.clamp(max=self.most))


def sees_one_example(model, batches):
    return Clipped(copy.deepcopy(model), next(iter(batches))[0][0].max())


def leaves_zeros(model):
    pruned = copy.deepcopy(model)
    for parameter in pruned.parameters():
        parameter.data[parameter.abs() < parameter.abs().median()] = 0
    return pruned


def leaves_a_graph(model, batches) -> nn.Module:
    return in_float32(model, batches)


def unpacks_what_was_pruned(model) -> Annotated[nn.Module, Acts(last=True)]:
    return unpacked(model)


def halves_in_place(model):
    for parameter in model[0].parameters():
        parameter.data.mul_(0.5)
    return model


def bright_images():
    return Examples(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1), torch.tensor([0, 1]), "classification")


def float_classes():
    return Examples(torch.rand(2, 3), torch.tensor([[0.0], [1.0]]), "classification")


def unnamed_class():
    return Examples(torch.rand(3, 3), torch.tensor([0, 1, 2]), "classification", ("a", "b"))


def half_labels():
    return Examples(torch.rand(3, 3), torch.tensor([[0.0, 1.0], [0.5, 1.0], [1.0, 0.0]]), "multilabel")


def unnamed_label():
    return Examples(torch.rand(3, 3), torch.eye(3), "multilabel", ("a", "b"))


def overlapping_splits():
    part = torch.tensor([0, 1])
    return Examples(torch.rand(4, 3), torch.rand(4, 1), "regression", (), {"train": part, "validation": part, "test": part + 2})


def elsewhere():
    """Another machine.

    Source: nobody.
    """
    raise Unavailable("it is Tuesday")


def needs_a_path(*, path: str):
    """A file.

    Source: nobody.
    """


def imported_to_be_read(*, alpha: Annotated[float, Range(LOW, 2.0)] = 1.0):
    """A range that is no literal.

    Source: nobody.
    """
    return nn.ELU(alpha)


class Drawn:
    """Inputs that are others each time."""

    def __len__(self):
        return 4

    def content(self):
        return b""

    def encoded(self, train, without, embed):
        return Encoded(torch.rand(4, 2))


def drawn_anew():
    return Examples(Drawn(), torch.arange(4) % 2, "classification")


class Beyond(Drawn):
    def encoded(self, train, without, embed):
        return Encoded(torch.full((4, 3), 9), tokens=9)


def words_beyond():
    return Examples(Beyond(), torch.arange(4) % 2, "classification")
