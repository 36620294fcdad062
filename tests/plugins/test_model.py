from types import SimpleNamespace

import pytest
import torch
from torch import nn

from autoopt.domain import Unavailable
from autoopt.plugins.model.cnn import cnn
from autoopt.plugins.model.linear import linear
from autoopt.plugins.model.mlp import mlp

TABLE = SimpleNamespace(input_shape=(6,), outputs=3, kind="classification")
IMAGE = SimpleNamespace(input_shape=(1, 8, 8), outputs=10, kind="classification")


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
    signal = first(inputs).relu()
    for layer in hidden:
        signal = signal + layer(signal).relu()
    torch.testing.assert_close(model(inputs), last(signal))


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
    task = SimpleNamespace(input_shape=(3, size, size), outputs=10)
    model = cnn(task, depth=depth)
    assert len(of_type(model, nn.MaxPool2d)) == poolings
    assert len(of_type(model, nn.Conv2d)) == len(of_type(model, nn.BatchNorm2d)) == len(of_type(model, nn.ReLU)) == depth


def test_depthwise_separable_convolutions_take_fewer_weights():
    full, separable = (cnn(IMAGE, depth=4, convolution=each) for each in ("full", "depthwise_separable"))
    assert [layer.groups for layer in of_type(separable, nn.Conv2d)] == [1, 32, 1, 32, 1, 32, 1]
    assert sum(p.numel() for p in separable.parameters()) < sum(p.numel() for p in full.parameters()) / 4


def test_cnn_is_for_images():
    with pytest.raises(Unavailable, match=r"cnn needs images \(C, H, W\), the inputs have the shape \(6,\)"):
        cnn(TABLE)


def test_activations_can_be_swapped_from_outside():
    for model in (cnn(IMAGE), mlp(IMAGE), mlp(IMAGE, connection="residual"), mlp(IMAGE, connection="dense")):
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(parent, name, nn.Tanh())
        assert not of_type(model, nn.ReLU)
        assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
