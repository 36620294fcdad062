"""For the process that tests/forked.py forks commands from: what takes seconds to import, or when it is done for the first time."""

import gc
from functools import cache

import plotly.graph_objects
import sklearn.datasets  # noqa: F401
import torch
from torch.onnx._internal.exporter._registration import onnxscript_apis

import autoopt.commands.search
import autoopt.deployment.served
import autoopt.report.page
import autoopt.study.search
import autoopt.terminal
import autoopt.trial.run  # noqa: F401
from autoopt.config import compose
from autoopt.deployment.onnx import to_onnx

onnxscript_apis.get_torchlib_ops = cache(onnxscript_apis.get_torchlib_ops)  # else read at each export, in half of its time
to_onnx(torch.nn.Linear(1, 1), torch.zeros(2, 1))
plotly.graph_objects.Figure(plotly.graph_objects.Scatter(y=[1.0])).update_layout(title_text="").to_json()
compose(["data=digits"])
gc.collect()
gc.freeze()  # a collection in a command would go through all of this, and copy its pages
