import importlib
import math
import sys
from dataclasses import replace

import onnx
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from autoopt.data.scale import Scale
from autoopt.data.task import Task
from autoopt.deployment.onnx import to_onnx
from autoopt.domain import Unavailable
from autoopt.module.activations import activation_sites
from autoopt.plugins.model import timm as timm_file
from autoopt.plugins.model.cnn import cnn
from autoopt.plugins.model.linear import linear
from autoopt.plugins.model.mean_embedding import MeanEmbedding
from autoopt.plugins.model.mlp import mlp
from autoopt.plugins.model.recurrent import recurrent
from autoopt.plugins.model.resnet import Residual, resnet
from autoopt.plugins.model.transformer import Attention, sinusoids, transformer

TABLE = Task("classification", (6,), 3)
IMAGE = Task("classification", (1, 8, 8), 10)
COLOR = Task("classification", (3, 32, 32), 10)
SEQUENCE = Task("classification", (12, 4), 3)
TOKENS = Task("classification", (9,), 3, tokens=20)
WORDS = torch.tensor([[3, 7, 7, 1, 0, 0, 0, 0, 0], [5, 2, 9, 4, 8, 1, 19, 6, 3], [4, 0, 0, 0, 0, 0, 0, 0, 0]])


def of_type(model, kind):
    return [layer for layer in model.modules() if isinstance(layer, kind)]


def test_linear_is_one_affine_map_of_the_flat_input():
    model, inputs = linear(IMAGE), torch.rand(5, 1, 8, 8)
    (layer,) = of_type(model, nn.Linear)
    torch.testing.assert_close(model(inputs), inputs.flatten(1) @ layer.weight.T + layer.bias)


def test_mlp_has_its_depth_and_width():
    layers = of_type(mlp(TABLE, width=20, depth=3), nn.Linear)
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(6, 20), (20, 20), (20, 20), (20, 3)]
    assert len(of_type(mlp(TABLE, width=20, depth=3), nn.ReLU)) == 3


def test_residual_layers_add_to_their_input():
    model = mlp(TABLE, width=20, depth=3, connection="residual")
    first, *hidden, last = of_type(model, nn.Linear)
    inputs = torch.rand(4, 6)
    signal = first(inputs)
    for layer in hidden:
        signal = signal + layer(signal.relu())
    torch.testing.assert_close(model(inputs), last(signal.relu()))


def test_dense_layers_see_all_before_them():
    model = mlp(TABLE, width=20, depth=3, connection="dense")
    *hidden, last = of_type(model, nn.Linear)
    assert [layer.in_features for layer in (*hidden, last)] == [6, 26, 46, 66]
    signal = torch.rand(4, 6)
    inputs = signal
    for layer in hidden:
        signal = torch.cat([signal, layer(signal).relu()], 1)
    torch.testing.assert_close(model(inputs), last(signal))


@pytest.mark.parametrize(("size", "depth", "poolings"), [(8, 3, 1), (32, 3, 3), (32, 5, 3), (32, 2, 2), (4, 3, 0), (5, 2, 1)])
def test_cnn_pools_while_the_image_is_larger_than_four(size, depth, poolings):
    model = cnn(Task("classification", (3, size, size), 10), depth=depth)
    assert len(of_type(model, nn.MaxPool2d)) == poolings
    assert len(of_type(model, nn.Conv2d)) == len(of_type(model, nn.BatchNorm2d)) == len(of_type(model, nn.ReLU)) == depth


def test_depthwise_separable_convolutions_take_fewer_weights():
    full, separable = (cnn(IMAGE, depth=4, convolution=each) for each in ("full", "depthwise_separable"))
    assert [layer.groups for layer in of_type(separable, nn.Conv2d)] == [1, 32, 1, 32, 1, 32, 1]
    assert sum(p.numel() for p in separable.parameters()) < sum(p.numel() for p in full.parameters()) / 4


def test_cnn_is_for_images():
    with pytest.raises(Unavailable, match=r"cnn needs images \(C, H, W\), the inputs have the shape \(6,\)"):
        cnn(TABLE)


@pytest.mark.parametrize(
    "build", [cnn, mlp, resnet, transformer, lambda t: mlp(t, connection="residual"), lambda t: mlp(t, connection="dense")]
)
def test_every_activation_can_be_swapped_from_outside(build):
    model = build(IMAGE)
    assert len(activation_sites(model)) == len(of_type(model, nn.ReLU))
    for parent, name in activation_sites(model):
        setattr(parent, name, nn.Tanh())
    inputs = torch.rand(2, 1, 8, 8)
    swapped = model.eval()(inputs)
    for parent, name in activation_sites(model):
        setattr(parent, name, nn.ReLU())
    assert not torch.allclose(swapped, model(inputs))


@pytest.mark.parametrize("build", [linear, mlp, lambda t: mlp(t, connection="dense")])
def test_what_sees_words_as_a_bag_knows_no_order_and_no_padding(build):
    model = build(TOKENS)
    shuffled = WORDS[:, torch.randperm(9)]
    torch.testing.assert_close(model(shuffled), model(WORDS))
    torch.testing.assert_close(model(WORDS[2:, :1]), model(WORDS[2:]))
    torch.testing.assert_close(model(torch.cat([WORDS, WORDS], 1)), model(WORDS))  # shares, no counts


@pytest.mark.slow
def test_the_mean_of_words_is_that_of_an_embedding_bag_which_onnx_would_loop_over():
    model, bag = MeanEmbedding(20, 4), nn.EmbeddingBag(20, 4, mode="mean", padding_idx=0)
    bag.load_state_dict(model.state_dict())
    nn.init.normal_(model.weight.detach()[0])  # as an initializer may leave it
    words = torch.cat([WORDS, torch.zeros_like(WORDS[:1])])
    torch.testing.assert_close(model(words), bag(words))
    for build in (linear, mlp):
        graph = onnx.load_from_string(to_onnx(build(TOKENS), WORDS)).graph
        assert not {"Loop", "SequenceEmpty"} & {node.op_type for node in graph.node}


def test_linear_over_words_is_a_logistic_regression_on_their_shares():
    model = linear(TOKENS)
    shares = nn.functional.one_hot(WORDS, 20).float()[:, :, 1:].sum(1)
    shares = shares / shares.sum(1, keepdim=True)
    torch.testing.assert_close(model(WORDS), shares @ model.weight[1:])


@pytest.mark.parametrize(("n", "published"), [(3, 0.27e6), (5, 0.46e6), (9, 0.85e6)])
def test_resnet_has_the_layers_and_the_parameters_of_the_paper(n, published):
    model = resnet(COLOR, depth=n)
    shortcuts = [layer for block in of_type(model, Residual) for layer in block.shortcut.modules() if isinstance(layer, nn.Conv2d)]
    layers = [layer for layer in of_type(model, (nn.Conv2d, nn.Linear)) if layer not in shortcuts]
    assert len(layers) == 6 * n + 2
    projections = sum(p.numel() for block in of_type(model, Residual) for p in block.shortcut.parameters())
    assert projections == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64  # the paper counts without: its shortcuts pad with zeros
    assert sum(p.numel() for p in model.parameters()) - projections == pytest.approx(published, rel=0.01)


def test_resnet_halves_the_map_twice_while_it_doubles_the_channels():
    shapes, model = [], resnet(COLOR, depth=2, width=8)
    for block in of_type(model, Residual):
        block.register_forward_hook(lambda _, __, outputs: shapes.append(tuple(outputs.shape[1:])))
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert shapes == [(8, 32, 32)] * 2 + [(16, 16, 16)] * 2 + [(32, 8, 8)] * 2


def test_a_residual_block_without_its_branch_is_its_shortcut():
    same, projected = Residual(4, 4, 1).eval(), Residual(4, 8, 2).eval()
    inputs = torch.randn(2, 4, 6, 6)
    for block, shortcut in ((same, inputs), (projected, projected.shortcut(inputs))):
        nn.init.zeros_(block.branch[-1].weight)
        torch.testing.assert_close(block(inputs), shortcut.relu())


@pytest.mark.parametrize(
    "build", [lambda: resnet(IMAGE), lambda: mlp(TABLE, depth=3, connection="residual"), lambda: transformer(SEQUENCE)]
)
def test_residual_blocks_have_a_branch_each_in_the_order_of_their_depth(build):
    model, seen = build(), []
    branches = [name for name, _ in model.named_modules() if name.endswith("branch")]
    for name in branches:
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: seen.append(name))
    task = {"Transformer": SEQUENCE}.get(type(model).__name__, IMAGE if of_type(model, nn.Conv2d) else TABLE)
    model(torch.rand(2, *task.input_shape))
    assert len(branches) > 1 and seen == branches


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("depth", [1, 2])
def test_recurrent_reads_tokens_up_to_the_padding(cell, depth):
    model = recurrent(TOKENS, cell=cell, width=16, depth=depth).eval()
    lengths = (WORDS != 0).sum(1)
    packed = pack_padded_sequence(model.embedding(WORDS), lengths, batch_first=True, enforce_sorted=False)
    _, state = model.layers(packed)
    state = state[0] if cell == "lstm" else state
    torch.testing.assert_close(model(WORDS), model.head(state[-1]))


def test_recurrent_on_a_sequence_is_the_lstm_equations_and_a_linear_layer():
    model, inputs = recurrent(SEQUENCE, width=16).eval(), torch.randn(5, 12, 4)
    layer, hidden, cell = model.layers, torch.zeros(5, 16), torch.zeros(5, 16)
    for step in inputs.unbind(1):
        gates = step @ layer.weight_ih_l0.T + layer.bias_ih_l0 + hidden @ layer.weight_hh_l0.T + layer.bias_hh_l0
        enter, forget, new, leave = gates.chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
    torch.testing.assert_close(model(inputs), hidden @ model.head.weight.T + model.head.bias)


def test_recurrent_has_a_place_for_dropout_before_its_output():
    model = recurrent(SEQUENCE).train()
    model.dropout.p = 1.0
    torch.testing.assert_close(model(torch.randn(3, 12, 4)), model.head.bias.expand(3, -1))


def test_a_text_of_nothing_but_padding_has_a_finite_output():
    for build in (linear, mlp, recurrent, transformer):
        assert torch.isfinite(build(TOKENS)(torch.zeros(2, 9, dtype=torch.int64))).all()


def test_attention_is_that_of_torch():
    own, theirs, inputs = Attention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True), torch.randn(3, 7, 16)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = own.project.weight.data, own.project.bias.data
    theirs.out_proj.load_state_dict(own.combine.state_dict())
    padding = torch.arange(7) >= torch.tensor([7, 4, 1])[:, None]
    expected, _ = theirs(inputs, inputs, inputs, key_padding_mask=padding)
    torch.testing.assert_close(own(inputs, ~padding[:, None, None]), expected)


def test_places_are_told_by_the_sinusoids_of_the_paper():
    table = sinusoids(30, 8)
    for t, i in ((0, 0), (7, 1), (29, 3)):
        angle = t / 10000 ** (2 * i / 8)
        assert table[t, 2 * i : 2 * i + 2].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-5)


def test_a_transformer_knows_the_order_by_the_positions_alone():
    model, inputs = transformer(SEQUENCE).eval(), torch.randn(4, 12, 4)
    turned = inputs.flip(1)
    assert not torch.allclose(model(turned), model(inputs), atol=1e-3)
    model.positions.zero_()
    torch.testing.assert_close(model(turned), model(inputs))


def test_a_transformer_does_not_see_padding():
    model = transformer(TOKENS, depth=2).eval()
    short = torch.cat([model(row[row != 0][None]) for row in WORDS])
    torch.testing.assert_close(model(WORDS), short)
    model.embedding.weight.data[0] = 100.0
    torch.testing.assert_close(model(WORDS), short)


@pytest.mark.parametrize(
    ("shape", "patch", "count"), [((1, 8, 8), None, 4), ((3, 32, 32), None, 64), ((1, 224, 224), None, 196), ((3, 20, 16), 5, 12)]
)
def test_a_transformer_cuts_an_image_into_patches(shape, patch, count):
    model = transformer(Task("classification", shape, 10), width=32, depth=1, patch=patch).eval()
    image = torch.rand(1, *shape)
    assert model.positions.shape == (count, 32) and model(image).shape == (1, 10)
    embed, side = model.embedding[0], model.embedding[0].kernel_size[0]
    by_hand = image[0, :, :side, side : 2 * side].flatten() @ embed.weight.flatten(1).T + embed.bias
    torch.testing.assert_close(model.embedding(image)[0, 1], by_hand)


def test_a_transformer_says_which_of_its_sizes_do_not_fit():
    with pytest.raises(ValueError, match="width=100 is not a multiple of heads=8"):
        transformer(SEQUENCE, width=100, heads=8)
    with pytest.raises(ValueError, match="patch=9 is larger than the image, 8x8"):
        transformer(IMAGE, patch=9)


@pytest.mark.parametrize(
    ("build", "task"), [(cnn, SEQUENCE), (resnet, TABLE), (recurrent, IMAGE), (recurrent, TABLE), (transformer, TABLE)]
)
def test_a_model_says_which_inputs_it_needs(build, task):
    with pytest.raises(Unavailable, match=rf"{build.__name__} needs .*, the inputs have the shape"):
        build(task)


FAKE = """
from torch import nn

class Flexible(nn.Module):
    pretrained_cfg = {"mean": (0.2, 0.4, 0.6), "std": (0.5, 0.25, 0.125)}

    def __init__(self, pretrained, num_classes, in_chans):
        super().__init__()
        self.pretrained, self.mix = pretrained, nn.Conv2d(in_chans, num_classes, 1)

    def forward(self, inputs):
        return self.mix(inputs).mean((2, 3))

class Fixed(Flexible):
    def __init__(self, img_size, **arguments):
        super().__init__(**arguments)
        self.img_size = img_size

def create_model(name, **arguments):
    return {"flexible": Flexible, "fixed": Fixed}[name](**arguments)
"""


@pytest.fixture
def fake_timm(tmp_path, monkeypatch):
    """A stand-in with timm's `create_model`, for what is wrapped around it; timm itself, which needs torchvision, is not tried here."""
    (tmp_path / "timm.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    yield importlib.reload(timm_file)
    monkeypatch.undo()
    sys.modules.pop("timm", None)
    importlib.reload(timm_file)


def test_swiglu_gates_one_layer_by_another_and_has_as_many_weights():
    plain, gated = (transformer(SEQUENCE, width=96, feedforward=kind).layers[0].feedforward.branch for kind in ("mlp", "swiglu"))
    inputs, (u, v, w) = torch.randn(3, 5, 96), (gated.gate, gated.value, gated.combine)
    gate = inputs @ u.weight.T + u.bias
    expected = (gate * gate.sigmoid() * (inputs @ v.weight.T + v.bias)) @ w.weight.T + w.bias
    torch.testing.assert_close(gated(inputs), expected)
    counts = [sum(p.numel() for p in network.parameters() if p.ndim > 1) for network in (plain, gated)]
    assert counts == [8 * 96**2] * 2


def test_timm_models_are_made_for_the_task(fake_timm):
    model = fake_timm.timm(COLOR, name="fixed")
    assert model.img_size == (32, 32) and not model.pretrained and model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert fake_timm.timm(IMAGE, name="flexible")(torch.rand(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(("task", "mean", "deviation"), [(COLOR, (0.2, 0.4, 0.6), (0.5, 0.25, 0.125)), (IMAGE, (0.4,), (0.875 / 3,))])
def test_pretrained_timm_models_see_images_as_they_were_trained(fake_timm, task, mean, deviation):
    model, inputs = fake_timm.timm(task, name="flexible", pretrained=True), torch.rand(2, *task.input_shape)
    assert model.model.pretrained
    seen = (inputs - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(deviation).view(-1, 1, 1)
    torch.testing.assert_close(model(inputs), model.model(seen))


@pytest.mark.parametrize("task", [COLOR, IMAGE])
def test_pretrained_timm_models_see_scaled_images_as_they_were_trained(fake_timm, task):
    channels = task.input_shape[0]
    mean, deviation = (torch.tensor(values[:channels]).view(-1, 1, 1) for values in ((50.0, 90.0, 100.0), (20.0, 30.0, 70.0)))
    pixels = torch.rand(2, *task.input_shape)
    model = fake_timm.timm(task, name="flexible", pretrained=True)
    scaled = replace(task, inputs=Scale(mean.double(), deviation.double()), encoding={"values": [0.0, 250.0]})
    other = fake_timm.timm(scaled, name="flexible", pretrained=True)
    other.model = model.model
    torch.testing.assert_close(other((255 * pixels - mean) / deviation), model(pixels))


def test_timm_is_for_images(fake_timm):
    with pytest.raises(Unavailable, match=r"timm needs images \(C, H, W\), the inputs have the shape \(6,\)"):
        fake_timm.timm(TABLE, name="flexible")


@pytest.mark.parametrize(
    "raised", ["RuntimeError('operator torchvision::nms does not exist')", "ModuleNotFoundError('No module named torchvision')"]
)
def test_timm_that_cannot_be_imported_says_why_and_what_to_install(tmp_path, fake_timm, raised):
    (tmp_path / "timm.py").write_text(f"raise {raised}")
    sys.modules.pop("timm", None)
    broken = importlib.reload(timm_file)
    with pytest.raises(Unavailable, match=r"timm cannot be imported here: \w+: .*torchvision.* \(pip install .*\[timm\]'"):
        broken.timm(COLOR, name="flexible")
