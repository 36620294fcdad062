"""A network as an ONNX graph."""

import logging
import warnings

import pytest
import torch
from torch import nn

from autoopt.deployment.onnx import EXPORTER, OnnxModel, to_onnx


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
