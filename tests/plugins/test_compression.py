from types import SimpleNamespace

import pytest
import torch

from autoopt.plugins.compression.half import half
from autoopt.plugins.model.cnn import cnn

IMAGE = SimpleNamespace(input_shape=(1, 8, 8), outputs=10)


@pytest.mark.parametrize(("dtype", "digits"), [("bfloat16", 8), ("float16", 11)])
def test_half_computes_in_16_bits_and_stays_close(dtype, digits):
    torch.manual_seed(0)
    model, inputs = cnn(IMAGE).eval(), torch.rand(16, 1, 8, 8)
    smaller = half(model, dtype=dtype)
    floating = [t for t in smaller.state_dict().values() if t.is_floating_point()]
    assert {t.dtype for t in floating} == {getattr(torch, dtype)}
    with torch.no_grad():
        expected, outputs = model(inputs), smaller(inputs)
    assert outputs.dtype == torch.float32
    assert (outputs - expected).abs().max() < 4 * 2.0**-digits * expected.abs().max()


def test_half_leaves_the_given_model_and_its_mode():
    model = cnn(IMAGE).eval()
    smaller = half(model)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not smaller.model.training


def test_half_keeps_counters_whole():
    assert half(cnn(IMAGE)).state_dict()["model.1.num_batches_tracked"].dtype == torch.int64
