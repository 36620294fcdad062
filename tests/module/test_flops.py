"""Floating-point operations, of fused operations too."""

import pytest
import torch
from torch import nn

from autoopt.data.task import Task
from autoopt.module.flops import flops
from autoopt.plugins.model.transformer import transformer

STEPS, IN, OUT = 12, 4, 16
RECURRENT = 2 * STEPS * (IN * OUT + OUT * OUT)


class Matrix(nn.Module):
    """Multiplies by its weights in one way or the other."""

    def __init__(self, multiply):
        super().__init__()
        self.weight, self.multiply = nn.Parameter(torch.rand(5, 4)), multiply

    def forward(self, inputs):
        return self.multiply(inputs, self.weight)


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (nn.Linear(6, 4), (1, 6), 2 * 6 * 4),
        (nn.Conv2d(3, 8, 3), (1, 3, 9, 9), 2 * 49 * 8 * 27),
        (nn.LSTM(IN, OUT, batch_first=True), (1, STEPS, IN), 4 * RECURRENT),
        (nn.GRU(IN, OUT, batch_first=True), (1, STEPS, IN), 3 * RECURRENT),
        (nn.RNN(IN, OUT, batch_first=True), (1, STEPS, IN), RECURRENT),
        (Matrix(lambda inputs, weight: weight.mv(inputs[0]) / weight.norm()), (1, 4), 40),
        (nn.ReLU(), (1, 6), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_flops_are_those_of_the_formula(model, shape, expected):
    assert flops(model, torch.rand(shape)) == expected


def test_attention_counts_its_products_whichever_kernel_would_compute_them():
    width, heads, inner, length = 16, 4, 32, 7
    expected = 2 * length * width * 4 * width + 2 * 2 * length * length * width + 2 * 2 * length * width * inner
    layer = nn.TransformerEncoderLayer(width, heads, inner, batch_first=True)
    assert flops(layer, torch.rand(1, length, width)) == expected
    assert torch.backends.mha.get_fastpath_enabled()
    own = transformer(Task("classification", (length, width), 3), width=32, depth=1, heads=heads)
    layers = 2 * length * 32 * 12 * 32 + 2 * 2 * length * length * 32
    assert flops(own, torch.rand(1, length, width)) == 2 * length * width * 32 + layers + 2 * 32 * 3


@torch.library.custom_op("autoopt_test::times", mutates_args=())
def times(inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return inputs @ weight.T


def test_what_cannot_be_counted_is_not_taken_for_nothing(capsys):
    assert flops(nn.Sequential(nn.Linear(6, 4), Matrix(times)), torch.rand(1, 6)) is None
    assert capsys.readouterr().out == "flops are not measured: autoopt_test.times.default cannot be counted\n"
    trilinear = Matrix(lambda inputs, weight: torch._trilinear(inputs[:, None], weight[None], inputs[:, None], [], [], [], [2]))
    assert flops(trilinear, torch.rand(1, 4)) is None
