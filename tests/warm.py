"""For the process that tests/forked.py forks commands from: what takes seconds to import, or when it is done for the first time."""

import gc

import torch

import autoopt.commands.search
import autoopt.deployment.served
import autoopt.report.page
import autoopt.study.search
import autoopt.terminal
import autoopt.trial.run  # noqa: F401
from autoopt.deployment.onnx import to_onnx

to_onnx(torch.nn.Linear(1, 1), torch.zeros(2, 1))
gc.collect()
gc.freeze()  # a collection in a command would go through all of this, and copy its pages
