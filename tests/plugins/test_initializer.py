"""The variances that the papers derive, through ten layers; and what is taken from a file."""

import copy
from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from autoopt.data.task import Task
from autoopt.domain import Unavailable
from autoopt.errors import BadInput
from autoopt.plugins.initializer.he_normal import he_normal
from autoopt.plugins.initializer.he_uniform import he_uniform
from autoopt.plugins.initializer.keep import keep
from autoopt.plugins.initializer.lecun_normal import lecun_normal
from autoopt.plugins.initializer.lsuv import lsuv
from autoopt.plugins.initializer.normal import normal
from autoopt.plugins.initializer.orthogonal import orthogonal
from autoopt.plugins.initializer.pretrained import pretrained
from autoopt.plugins.initializer.truncated_normal import truncated_normal
from autoopt.plugins.initializer.xavier_normal import xavier_normal
from autoopt.plugins.initializer.xavier_uniform import xavier_uniform
from autoopt.plugins.initializer.zero_residual import zero_residual
from autoopt.plugins.model.mlp import Residual, mlp
from autoopt.plugins.model.resnet import resnet
from autoopt.plugins.model.transformer import transformer

WIDTH = 512
EVERY = [xavier_uniform, xavier_normal, he_normal, he_uniform, lecun_normal, normal, truncated_normal, orthogonal]


def ten_layers(*between: nn.Module, width: int = WIDTH) -> nn.Sequential:
    return nn.Sequential(*(layer for _ in range(10) for layer in (nn.Linear(width, width), *between)))


@pytest.mark.parametrize("initialize", [*EVERY, lsuv])
def test_frozen_layers_keep_their_weights(initialize):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4))
    before = copy.deepcopy(model.state_dict())
    initialize(model, *([(torch.rand(8, 4), None)] if initialize is lsuv else []))
    same = {name: torch.equal(before[name], value) for name, value in model.state_dict().items()}
    assert same == {name: name.startswith("1.") for name in same}


def normed(norm, width: int = 64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(norm(nn.Linear(width, width)), nn.ReLU(), norm(nn.Linear(width, width)))


@pytest.mark.parametrize("initialize", [*EVERY, lsuv])
def test_the_weights_that_a_norm_computes_are_drawn_too(initialize):
    weights = []
    for norm in (lambda layer: layer, weight_norm):
        model = normed(norm)
        torch.manual_seed(1)
        initialize(model, *([(torch.rand(8, 64), None)] if initialize is lsuv else []))
        weights.append([layer.weight.detach() for layer in model[::2]])
    torch.testing.assert_close(weights[1], weights[0])


@pytest.mark.parametrize("initialize", [*EVERY, lsuv])
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_weights_that_a_hook_computes_are_told_as_what_cannot_be_set(initialize):
    with pytest.raises(Unavailable, match="the weight of a Linear layer is computed by a hook, and cannot be set"):
        initialize(normed(nn.utils.weight_norm), *([(torch.rand(8, 64), None)] if initialize is lsuv else []))


@pytest.mark.parametrize("initialize", [xavier_uniform, xavier_normal])
def test_xavier_keeps_the_variance_of_linear_layers_both_ways(initialize):
    torch.manual_seed(0)
    model = ten_layers()
    initialize(model)
    inputs = torch.randn(256, WIDTH, requires_grad=True)
    outputs = model(inputs)
    outputs.backward(torch.randn_like(outputs))
    assert outputs.var().item() == pytest.approx(1, rel=0.25)
    assert inputs.grad.var().item() == pytest.approx(1, rel=0.25)


@pytest.mark.parametrize("initialize", [he_normal, he_uniform])
def test_he_keeps_the_mean_square_through_relu(initialize):
    torch.manual_seed(0)
    model = ten_layers(nn.ReLU())
    initialize(model)
    signal = torch.randn(256, WIDTH)
    assert model(signal).square().mean().item() == pytest.approx(1, rel=0.35)


def test_lecun_brings_selu_to_mean_0_and_variance_1():
    torch.manual_seed(0)
    model = ten_layers(nn.SELU())
    lecun_normal(model)
    outputs = model(2 * torch.randn(256, WIDTH))
    assert outputs.mean().item() == pytest.approx(0, abs=0.1)
    assert outputs.var().item() == pytest.approx(1, rel=0.15)


def test_orthogonal_keeps_lengths_and_angles_both_ways():
    torch.manual_seed(0)
    model = ten_layers(width=64)
    orthogonal(model)
    inputs = torch.randn(16, 64, requires_grad=True)
    outputs = model(inputs)
    torch.testing.assert_close(outputs @ outputs.T, inputs @ inputs.T, rtol=1e-3, atol=1e-3)
    outputs.backward(outputs.detach())
    torch.testing.assert_close(inputs.grad, inputs.detach(), rtol=1e-3, atol=1e-3)


def test_orthogonal_convolutions_have_orthogonal_units():
    layer = nn.Conv2d(4, 8, 3)
    orthogonal(layer, gain=1.5)
    units = layer.weight.flatten(1)
    torch.testing.assert_close(units @ units.T, 1.5**2 * torch.eye(8), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("initialize", [he_normal, he_uniform])
@pytest.mark.parametrize(
    "layer", [nn.Conv1d(64, 64, 3, groups=64), nn.ConvTranspose1d(128, 32, 3), nn.ConvTranspose1d(32, 128, 3, groups=4)]
)
def test_he_keeps_the_mean_square_through_grouped_and_transposed_convolutions(initialize, layer):
    torch.manual_seed(0)
    initialize(layer)
    outputs = layer(torch.randn(64, layer.in_channels, 50).relu() * 2**0.5)[..., 2:-2]  # the borders see fewer inputs
    assert outputs.square().mean().item() == pytest.approx(2, rel=0.2)


def test_orthogonal_groups_are_orthogonal_each():
    layer = nn.Conv2d(8, 8, 3, groups=4)
    orthogonal(layer)
    for units in layer.weight.flatten(1).chunk(4):
        torch.testing.assert_close(units @ units.T, torch.eye(2), atol=1e-5, rtol=1e-5)


def test_torchs_own_start_loses_the_signal():
    torch.manual_seed(0)
    model = ten_layers(nn.ReLU())
    keep()
    assert model(torch.randn(256, WIDTH)).square().mean().item() < 0.01


@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_weights_have_the_spread_of_the_formula(gain):
    torch.manual_seed(0)
    convolutions = nn.Conv2d(32, 64, 3), nn.Conv2d(32, 512, 3, groups=8), nn.Conv1d(2000, 2000, 9, groups=2000)
    model = nn.Sequential(nn.Linear(300, 200), *convolutions, nn.ConvTranspose2d(32, 64, 3), nn.ConvTranspose2d(64, 512, 3, groups=4))
    connected = [(300, 200), (32 * 9, 64 * 9), (4 * 9, 64 * 9), (9, 9), (32 * 9, 64 * 9), (16 * 9, 128 * 9)]
    for layer, (fan_in, fan_out) in zip(model, connected, strict=True):
        glorot, he, lecun = (gain * variance**0.5 for variance in (2 / (fan_in + fan_out), 2 / fan_in, 1 / fan_in))
        for initialize, std in ((xavier_uniform, glorot), (he_uniform, he)):
            initialize(model, gain=gain)
            assert layer.weight.abs().max().item() == pytest.approx(3**0.5 * std, rel=0.01)
            assert layer.weight.abs().mean().item() == pytest.approx(3**0.5 * std / 2, rel=0.02)
        for initialize, std in ((xavier_normal, glorot), (he_normal, he), (lecun_normal, lecun)):
            initialize(model, gain=gain)
            assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
            assert layer.weight.abs().mean().item() == pytest.approx((2 / torch.pi) ** 0.5 * std, rel=0.02)  # as of a normal


def test_normal_weights_have_the_given_deviation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(32, 64, 3), nn.Linear(300, 200))
    normal(model, std=0.07)
    for layer in model:
        assert layer.weight.std().item() == pytest.approx(0.07, rel=0.02)
        assert layer.weight.abs().max() > 3 * 0.07


def test_truncated_weights_are_those_of_a_normal_within_two_deviations():
    torch.manual_seed(0)
    layer = nn.Linear(300, 200)
    truncated_normal(layer, std=0.07)
    assert layer.weight.abs().max().item() == pytest.approx(0.14, rel=0.01)
    assert layer.weight.std().item() == pytest.approx(0.8796 * 0.07, rel=0.02)  # sqrt(1 - 4 φ(2) / (2 Φ(2) - 1))


@pytest.mark.parametrize("initialize", EVERY)
def test_biases_are_zero_and_norm_layers_stay(initialize):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.LayerNorm(4), nn.Embedding(3, 4), nn.Linear(4, 4))
    before = copy.deepcopy(model[:3].state_dict())
    initialize(model)
    assert all(torch.equal(before[name], value) for name, value in model[:3].state_dict().items())
    assert not model[3].bias.any() and model[3].weight.any()


# ------------------------------------------------------------------------------------------------------------------------------ lsuv


def test_lsuv_gives_every_layer_outputs_of_variance_1():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.9), nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 3)
    )
    model[3].eval()
    norm = copy.deepcopy(model[1].state_dict())
    batch = 5 * torch.rand(64, 1, 8, 8), torch.zeros(64)
    lsuv(model, batch)
    assert [m.training for m in model] == [True] * 3 + [False] + [True] * 4
    assert all(torch.equal(norm[name], value) for name, value in model[1].state_dict().items())
    model.eval()
    signal = batch[0]
    for layer in model:
        signal = layer(signal)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert signal.var().item() == pytest.approx(1, abs=1e-4) and not layer.bias.any()
            rows = torch.nn.functional.normalize(layer.weight.detach().flatten(1))
            torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-5, rtol=0)
    assert not any(m._forward_hooks for m in model.modules())


def test_lsuv_scales_a_shared_layer_once_and_leaves_a_dead_one():
    torch.manual_seed(0)
    shared, dead = nn.Linear(8, 8), nn.Linear(8, 2)
    model = nn.Sequential(shared, nn.Identity(), shared, nn.Threshold(1e9, 0.0), dead)
    inputs = torch.randn(32, 8)
    lsuv(model, (inputs, torch.zeros(32)))
    assert shared(inputs).var().item() == pytest.approx(1, abs=1e-4)
    assert torch.isfinite(dead.weight).all()


def test_lsuv_needs_a_batch():
    with pytest.raises(Unavailable, match="lsuv needs a training batch, and there is none here"):
        lsuv(nn.Linear(2, 2), None)


# ------------------------------------------------------------------------------------------------------------------------ pretrained


class Blocks(nn.Module):
    """Three blocks, of two matrices each, between a stem and a head."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.stem, self.norm = nn.Linear(6, 4), nn.LayerNorm(4)
        self.blocks = nn.ModuleList(nn.ModuleDict({"norm": nn.LayerNorm(4), "up": nn.Linear(4, 8), "down": nn.Linear(8, 4)}) for _ in "123")
        self.head = nn.Linear(4, classes)


@pytest.fixture
def stored(tmp_path):
    def store(model: nn.Module, prefix: str = "") -> str:
        save_file({f"{prefix}{name}": value for name, value in model.state_dict().items()}, tmp_path / "weights.safetensors")
        return str(tmp_path / "weights.safetensors")

    return store


def equal(one: dict, other: dict, but: str = "nothing") -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items() if not name.startswith(but))


def test_pretrained_takes_everything_that_fits(stored):
    source, model = Blocks(classes=5), Blocks(classes=3)
    before = copy.deepcopy(model.head.state_dict())
    pretrained(model, None, path=stored(source))
    assert equal(model.state_dict(), source.state_dict(), but="head.")
    assert equal(model.head.state_dict(), before)
    assert all(p.requires_grad and getattr(p, "lr_scale", 1.0) == 1.0 for p in model.parameters())


def test_pretrained_takes_the_statistics_of_norms_too(stored):
    source, model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    source(torch.randn(8, 4))
    pretrained(model, None, path=stored(source))
    assert equal(model.state_dict(), source.state_dict()) and model[1].num_batches_tracked == 1


@pytest.mark.parametrize(("in_file", "said"), [("model.", {}), ("backbone.", {"prefix": "backbone."})])
def test_a_prefix_may_stand_in_the_file_alone_or_in_the_model_alone(stored, in_file, said):
    source = Blocks()
    model, wrapped = Blocks(), nn.ModuleDict({in_file[:-1]: Blocks()})
    pretrained(model, None, path=stored(source, in_file), **said)
    assert equal(model.state_dict(), source.state_dict())
    pretrained(wrapped, None, path=stored(source), **said)
    assert equal(wrapped[in_file[:-1]].state_dict(), source.state_dict())


@pytest.mark.parametrize("classes", [3, 5])
def test_freezing_trains_what_was_not_loaded_and_always_the_last_layer(stored, classes):
    model = Blocks()
    pretrained(model, None, path=stored(Blocks(classes)), freeze=True)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}


@pytest.mark.parametrize("affine", [True, False])
def test_norms_of_frozen_layers_keep_and_use_their_statistics(stored, affine):
    def network(width: int = 4) -> nn.Module:
        body = nn.Linear(4, 4), nn.BatchNorm1d(4, affine=affine), nn.Dropout(), nn.Linear(4, width), nn.BatchNorm1d(width, affine=affine)
        return nn.Sequential(*body, nn.Linear(width, 2))

    source, model, inputs = network(), network(), 3 + torch.randn(8, 4)
    source(torch.randn(8, 4))
    pretrained(model, None, path=stored(source), freeze=True)
    for each in (model, copy.deepcopy(model)):
        each.train()(inputs)
        assert equal(each.state_dict(), source.state_dict())
        assert torch.equal(each.train()[:2](inputs), each.eval()[:2](inputs)) and each.train()[2].training
    unfrozen = network(width=5)
    pretrained(unfrozen, None, path=stored(source), freeze=True)
    unfrozen.train()(inputs)
    assert equal(unfrozen[1].state_dict(), source[1].state_dict()) and unfrozen[4].running_mean.abs().max() > 0


def test_what_stays_frozen_of_a_model_is_what_its_author_froze(stored):
    model = Blocks()
    model.stem.weight.requires_grad_(False)
    pretrained(model, None, path=stored(Blocks()))
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {"stem.weight"}


def test_rates_fall_with_the_distance_from_the_output(stored):
    model = Blocks()
    pretrained(model, None, path=stored(Blocks(classes=5)), layer_decay=0.5)
    scales = {name: getattr(p, "lr_scale", 1.0) for name, p in model.named_parameters()}
    depth = {"stem": 4, "norm": 4, "blocks.0": 3, "blocks.1": 2, "blocks.2": 1, "head": 0}
    expected = {name: 0.5 ** next(d for layer, d in depth.items() if name.startswith(f"{layer}.")) for name in scales}
    assert scales == expected


@pytest.mark.parametrize("norm", [partial(nn.BatchNorm2d, 4), partial(nn.LayerNorm, (2, 2))])
def test_norms_of_a_sequence_belong_to_the_layer_before_them(stored, norm):
    def sequence():
        return nn.Sequential(nn.Conv2d(1, 4, 3), norm(), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))

    model = sequence()
    pretrained(model, None, path=stored(sequence()), layer_decay=0.5)
    scales = [getattr(p, "lr_scale", 1.0) for p in model.parameters()]
    assert scales == [0.25] * 4 + [0.5] * 2 + [1.0] * 2


class HeadFirst(nn.Module):
    """Written in another order than that of its calls."""

    def __init__(self):
        super().__init__()
        self.head, self.attend = nn.Linear(4, 2), nn.MultiheadAttention(4, 1, batch_first=True)
        self.stem, self.place = nn.Linear(3, 4), nn.Parameter(torch.zeros(5, 4))

    def forward(self, inputs):
        states = self.stem(inputs) + self.place
        return self.head(self.attend(states, states, states)[0][:, 0])


def test_depth_is_that_of_a_forward_pass_whatever_is_written_first(stored):
    path, batch = stored(HeadFirst()), (torch.rand(6, 5, 3), torch.zeros(6))
    model = HeadFirst().train()
    pretrained(model, batch, path=path, layer_decay=0.5)
    scales = {name: p.lr_scale for name, p in model.named_parameters() if hasattr(p, "lr_scale")}
    weights = {name: scale for name, scale in scales.items() if "bias" not in name}
    assert weights == {"attend.out_proj.weight": 0.5, "attend.in_proj_weight": 0.25, "stem.weight": 0.125, "place": 0.0625}
    assert model.training and not any(module._forward_pre_hooks for module in model.modules())
    pretrained(model, batch, path=path, freeze=True)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}


def test_a_file_of_which_nothing_fits_is_told(stored):
    path = stored(nn.Sequential(nn.Linear(7, 7)), "net.")
    said = r"nothing in \S+ fits the model; it has net\.0\.\w+ \(7.*\); the model has blocks\.0\.down\.bias \(4,\), .* and \d+ more"
    with pytest.raises(BadInput, match=said):
        pretrained(Blocks(), None, path=path)


def test_a_count_of_batches_is_nothing_that_fits(stored):
    path = stored(nn.Sequential(nn.Linear(7, 7), nn.BatchNorm1d(7)))
    with pytest.raises(BadInput, match="nothing in"):
        pretrained(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), None, path=path)


def test_what_is_no_safetensors_file_is_told(tmp_path):
    with pytest.raises(BadInput, match=r"there is no file elsewhere\.safetensors"):
        pretrained(Blocks(), None, path="elsewhere.safetensors")
    (tmp_path / "a.txt").write_text("weights")
    with pytest.raises(BadInput, match=r"a\.txt is not a safetensors file"):
        pretrained(Blocks(), None, path=str(tmp_path / "a.txt"))


NORMS = {f"{block}.branch.4.weight" for block in (3, 4, 5)}
COMBINING = {f"layers.0.{end}.{name}" for end in ("attention.branch.combine", "feedforward.branch.2") for name in ("weight", "bias")}


HIDDEN = {f"{block}.branch.1.{name}" for block in (2, 3) for name in ("weight", "bias")}


@pytest.mark.parametrize(
    ("make", "shape", "ends"),
    [
        (partial(resnet, depth=1), (1, 8, 8), NORMS),
        (partial(transformer, depth=1), (5, 6), COMBINING),
        (partial(mlp, depth=3, connection="residual"), (6,), HIDDEN),
    ],
)
def test_every_block_begins_as_its_shortcut_and_learns_from_the_first_step_on(make, shape, ends):
    """A norm, of which the shift is 0 before, ends the branches of the first, a linear layer those of the others."""
    torch.manual_seed(0)
    model = make(Task("classification", shape, 3))
    before = copy.deepcopy(model.state_dict())
    zero_residual(model)
    assert {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])} == ends
    added = []
    for name, branch in model.named_modules():
        if name.endswith(".branch"):
            branch.register_forward_hook(lambda _, __, outputs: added.append(outputs))
    model(torch.randn(4, *shape)).square().sum().backward()
    assert len(added) >= 2 and not any(outputs.any() for outputs in added)
    assert all(parameter.grad.any() for name, parameter in model.named_parameters() if name in ends)


def test_a_model_without_residual_branches_is_refused():
    with pytest.raises(Unavailable, match="the model has no residual branch: no module has a child 'branch' with layers"):
        zero_residual(ten_layers())


def branches_ending_in(*ends):
    return nn.Sequential(*(Residual(nn.Sequential(nn.Linear(4, 4), end, nn.Dropout(0.1))) for end in ends))


def test_a_branch_that_would_never_leave_0_stays_as_it_is():
    model = branches_ending_in(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.GELU())
    before = copy.deepcopy(model.state_dict())
    zero_residual(model)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"1.branch.0.weight", "1.branch.0.bias"}
    with pytest.raises(Unavailable, match="every residual branch of the model ends in an activation without a slope at 0"):
        zero_residual(branches_ending_in(nn.ReLU(), nn.ReLU6()))


@pytest.mark.parametrize("last", [weight_norm(nn.Linear(3, 3)), nn.BatchNorm1d(3, affine=False)])
def test_a_branch_whose_last_weight_cannot_be_0_is_refused(last):
    with pytest.raises(Unavailable, match="ends in a layer without a weight of its own, or whose weight is computed"):
        zero_residual(Residual(nn.Sequential(nn.Linear(3, 3), last)))
