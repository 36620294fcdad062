"""Prints what the import of modules changes in a process; run by test_layout.py, which says which modules."""

import atexit
import decimal
import faulthandler
import gc
import importlib
import json
import locale
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from typing import Any

NEW = (logging.NOTSET, False, True, 0, 0)
"""A logger that nobody has set up."""


def loggers() -> dict[str, Any]:
    known = {name: logging.getLogger(name) for name in ("root", *logging.root.manager.loggerDict)}
    return {f"logger {n}": (a.level, a.disabled, a.propagate, len(a.handlers), len(a.filters)) for n, a in known.items()}


def of_the_process() -> dict[str, Any]:
    return {
        **{f"signal {number}": signal.getsignal(number) for number in signal.valid_signals()},
        **{f"environment {name}": value for name, value in os.environ.items()},
        **{f"sys.{name}": getattr(sys, name) for name in ("excepthook", "displayhook", "stdin", "stdout", "stderr")},
        "logging": (logging.root.manager.disable, logging.getLoggerClass()),
        "warnings": warnings.filters[:],
        "path": sys.path[:],
        "finders": sys.meta_path[:],
        "at exit": atexit._ncallbacks(),
        "faulthandler": faulthandler.is_enabled(),
        "garbage": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "working directory": os.getcwd(),
        "locale": locale.setlocale(locale.LC_ALL),
        "decimals": repr(decimal.getcontext()),
        "threads": threading.active_count(),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "recursion": sys.getrecursionlimit(),
        "random": random.getstate(),
    }


def of_libraries() -> dict[str, Any]:
    import numpy
    import torch

    asked = ("get_num_threads", "get_num_interop_threads", "get_default_dtype", "get_default_device", "is_grad_enabled")
    asked += ("are_deterministic_algorithms_enabled", "get_float32_matmul_precision", "initial_seed")
    backends = torch.backends
    matplotlib = sys.modules.get("matplotlib")
    return {
        **{f"torch.{name}": str(getattr(torch, name)()) for name in asked},
        "torch.backends": (backends.cudnn.benchmark, backends.cudnn.deterministic, backends.mkldnn.enabled),
        "torch's random numbers": torch.get_rng_state().tolist(),
        "numpy's random numbers": numpy.random.get_state()[1].tolist(),
        "numpy": (numpy.geterr(), numpy.get_printoptions()),
        "matplotlib": matplotlib and matplotlib.rcParams._get("backend"),
    }


def load(names: list[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:  # an extra that is not installed
            if str(error.name).startswith("autoopt"):
                raise


def state() -> dict[str, Any]:
    return {**loggers(), **of_the_process(), **of_libraries()}


if __name__ == "__main__":
    others, own = json.loads(sys.stdin.read())
    load(others)
    before = state()
    load(own)
    after = state()
    changed = {name: (before.get(name), value) for name, value in after.items() if before.get(name) != value}
    print({name: values for name, values in changed.items() if values != (None, NEW)})
