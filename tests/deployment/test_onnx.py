"""A network as an ONNX graph."""

import logging
import os
import warnings

import pytest
import torch
from torch import nn

from autoopt.deployment.onnx import EXPORTER, OnnxModel, to_onnx


@pytest.mark.slow
def test_an_export_is_quiet_and_leaves_log_and_warnings_as_they_were(caplog, recwarn):
    before, level = warnings.filters[:], EXPORTER.level
    EXPORTER.setLevel(logging.INFO)
    inputs = torch.rand(3, 4)
    model = nn.Linear(4, 2)
    made = OnnxModel(to_onnx(model, inputs), 0)
    torch.testing.assert_close(made(inputs), model(inputs))
    with pytest.raises(Exception, match="no graph of this"):
        to_onnx(Untraceable(), inputs)
    assert EXPORTER.level == logging.INFO and warnings.filters == before
    assert [record for record in caplog.records if record.name == EXPORTER.name] == [] and not recwarn.list
    EXPORTER.setLevel(level)


class Untraceable(nn.Module):
    def forward(self, inputs):
        if torch.compiler.is_exporting():
            raise RuntimeError("no graph of this")
        return inputs


@pytest.mark.slow
def test_an_export_on_the_cpu_does_not_begin_to_use_cuda(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: os.environ.get("CUDA_VISIBLE_DEVICES") != "")
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda *_: pytest.fail("CUDA is used"))
    assert to_onnx(nn.Linear(4, 2), torch.rand(3, 4)) and os.environ["CUDA_VISIBLE_DEVICES"] == "0"
