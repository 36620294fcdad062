"""A network taken apart into plain data and put together again."""

import copy
import json

import pytest
import torch
from torch import nn

from autoopt.deployment.structure import describe_modules, restore


class Scaled(nn.Module):
    """Attributes of every plain kind, one buffer that is not kept, and one that is."""

    def __init__(self):
        super().__init__()
        self.size, self.shape, self.names, self.dtype, self.nothing = 3, (2, (3, 4)), ["a", "b"], torch.bfloat16, None
        self.layer = nn.Linear(4, 3)
        self.register_buffer("scale", torch.arange(3.0))
        self.register_parameter("unused", None)

    def forward(self, x):
        return self.layer(x).to(self.dtype).float() * self.scale


class Opaque(Scaled):
    def __init__(self):
        super().__init__()
        self.function = torch.tanh
        self.register_buffer("table", torch.ones(3) * 7, persistent=False)

    def forward(self, x):
        return self.function(super().forward(x)) + self.table


def through_text(model, donor):
    return restore(json.loads(json.dumps(describe_modules(model, donor))), model.state_dict(), donor).eval()


@pytest.mark.parametrize(
    "model", [Scaled(), nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())], ids=["plain", "conv"]
)
def test_what_is_plain_needs_no_donor(model):
    inputs = torch.rand(5, 4) if isinstance(model, Scaled) else torch.rand(5, 1, 6, 6)
    made = through_text(model.eval(), nn.Identity())
    assert type(made) is type(model) and made is not model
    assert torch.equal(made(inputs), model(inputs))
    assert {k: v for k, v in vars(made).items() if k in vars(Scaled())} and made.state_dict().keys() == model.state_dict().keys()


def test_values_come_back_in_their_types():
    made = through_text(Scaled(), nn.Identity())
    assert (made.size, made.shape, made.names, made.dtype, made.nothing, made.unused) == (
        3,
        (2, (3, 4)),
        ["a", "b"],
        torch.bfloat16,
        None,
        None,
    )


def test_a_network_with_fewer_channels_than_any_builder_would_make():
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    pruned = copy.deepcopy(model)
    pruned[0].weight, pruned[0].bias, pruned[0].out_channels = nn.Parameter(model[0].weight[:5]), nn.Parameter(model[0].bias[:5]), 5
    pruned[2].weight, pruned[2].in_channels = nn.Parameter(model[2].weight[:, :5]), 5
    made = through_text(pruned, model)
    assert (made[0].out_channels, made[2].in_channels) == (5, 5)
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(made(x), pruned(x))


def test_what_is_not_plain_is_lent_by_the_donor():
    donor = nn.Sequential(Opaque(), Opaque())
    donor[1].function = torch.sigmoid
    changed = copy.deepcopy(donor)
    changed[0].layer = nn.Linear(4, 3)
    made, x = through_text(changed, donor), torch.rand(2, 4)
    assert made[1].function is torch.sigmoid, "of several the one in the same place lends"
    assert torch.equal(made[0](x), changed[0](x)) and torch.equal(made[1](x), changed[1](x))


class Optional(nn.Module):
    """What is optional is None or a module, as in the blocks of torchvision."""

    def __init__(self, more=None):
        super().__init__()
        self.function, self.more = torch.tanh, more

    def forward(self, x):
        return self.function(x) if self.more is None else self.more(x)


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("wrap", [lambda model: model, Wrapped, lambda model: Wrapped(Wrapped(model))], ids=["bare", "once", "twice"])
def test_an_attribute_of_the_donor_hides_no_module_and_places_are_those_of_what_is_wrapped(wrap):
    donor = nn.Sequential(Optional(), Optional(nn.Linear(4, 2)), nn.Linear(2, 4), Optional())
    donor[3].function = torch.sigmoid
    made, x = through_text(wrap(copy.deepcopy(donor)), donor), torch.rand(3, 4)
    assert torch.equal(made(x), donor(x))


def test_without_a_donor_what_is_not_plain_is_refused():
    with pytest.raises(ValueError, match="a Opaque cannot be stored: its attribute 'function' is not a plain value"):
        describe_modules(Opaque(), nn.Identity())


def test_what_does_not_belong_together_is_refused():
    model = nn.Linear(2, 2)
    node = describe_modules(model, model)
    with pytest.raises(ValueError, match="there is no tensor bias"):
        restore(node, {"weight": model.weight}, model)
    with pytest.raises(ValueError, match=r"os:getcwd is not a torch\.nn\.Module"):
        restore(node | {"class": "os:getcwd"}, model.state_dict(), nn.Identity())
    with pytest.raises(ImportError):
        restore(node | {"class": "no_such_module:Net"}, model.state_dict(), nn.Identity())
