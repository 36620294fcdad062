"""The environment of a trial, as far as the bits of its score depend on it."""

import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

RECORDED = (
    "autoopt", "torch", "lightning", "torchmetrics", "numpy", "pandas", "scikit-learn", "pillow",
    "kornia", "onnx", "onnxruntime", "onnxscript", "pytorch-optimizer", "schedulefree",
    "timm", "torch-pruning", "torchvision", "transformers",
)  # fmt: skip
"""The packages whose code trials run; the last are extras."""


def environment_of(device: torch.device) -> dict[str, str]:
    """The packages, the processor, the torch threads and the device of this process.

    Args:
        device: on which it trains.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {**versions_here(), "threads": str(torch.get_num_threads()), "device": name}


@cache
def versions_here() -> dict[str, str]:
    """The versions of Python and of the packages, and the processor, by name; the same for all trials that are forked from a process."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {**found, "processor": processor()}


def processor() -> str:
    """The model of the processor, and the instructions by which torch chooses its kernels."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{model} ({torch.backends.cpu.get_cpu_capability()})"
