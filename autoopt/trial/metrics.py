"""What a trial is judged by: quality by torchmetrics, and what the model costs."""

import inspect
import math
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional import classification as C
from torchmetrics.functional import regression as R

from autoopt.errors import out_of_memory
from autoopt.module.flops import flops

CLASSIFICATION = ("accuracy", "balanced_accuracy", "f1", "recall", "precision", "loss")
REGRESSION = ("rmse", "mae", "r2", "loss")
RESAMPLES = 200


def quality_metrics(kind: str, outputs: Tensor, targets: Tensor, names: Iterable[str]) -> dict[str, float]:
    """The named metrics; in f1, recall and precision classes count alike (macro), and so in balanced accuracy.

    Args:
        outputs: logits `(N, K)` or values `(N, D)`.
        targets: class indices `(N,)` or values `(N, D)`.
    """
    if kind == "regression":  # in single precision a large mean hides the spread
        outputs, targets = outputs.double(), targets.double()
        names = [name for name in names if name != "r2" or len(targets) > 1]  # of one value there is none
    return {name: float(compute_metric(kind, name, outputs, targets)) for name in names}


def compute_metric(kind: str, name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    if kind == "regression":
        return {
            "rmse": lambda: R.mean_squared_error(outputs, targets, squared=False),
            "mae": lambda: R.mean_absolute_error(outputs, targets),
            "r2": lambda: R.r2_score(outputs, targets),
            "loss": lambda: F.mse_loss(outputs, targets),
        }[name]()
    if name == "loss":
        return F.cross_entropy(outputs, targets)
    if name == "accuracy":
        return C.multiclass_accuracy(outputs, targets, outputs.shape[1], average="micro", validate_args=False)
    if name == "balanced_accuracy":
        return balanced_accuracy(outputs.argmax(1), targets)
    metric = {"f1": C.multiclass_f1_score, "recall": C.multiclass_recall, "precision": C.multiclass_precision}[name]
    return metric(outputs, targets, outputs.shape[1], average="macro", validate_args=False)


def balanced_accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """The mean recall over the classes that the targets have, so that each of them counts alike.

    Brodersen et al. 2010, DOI 10.1109/ICPR.2010.764.
    """
    examples = targets.bincount()
    right = targets[predictions == targets].bincount(minlength=len(examples))
    return (right[examples > 0] / examples[examples > 0]).mean()


def by(name: str, metric: Any, outputs: Tensor, targets: Tensor) -> float:
    """A metric of the user's own: a torchmetrics class (given `num_classes` where it takes that), or a function.

    Args:
        metric: of (outputs, targets), as `quality_metrics` has them.

    Raises:
        ValueError: it raised, or gave no number.
    """
    try:
        if isinstance(metric, type):
            metric = metric(**{"num_classes": outputs.shape[1]} if "num_classes" in inspect.signature(metric).parameters else {})
        return float(metric(outputs, targets))
    except Exception as error:
        raise ValueError(f"metrics={name}: {type(error).__name__}: {error}") from error


def on_resamples(
    measure: Callable[[Tensor, Tensor], float], outputs: Tensor, targets: Tensor, groups: Tensor | None = None
) -> tuple[list[float], int]:
    """A metric on resamples of the examples with replacement, the same ones for every model of a study, and of how many units.

    Args:
        groups: the number of the group of each example, int64 `(N,)`: examples of one group are alike, and drawn together.

    Source: Efron 1979, doi:10.1214/aos/1176344552; groups: Davison & Hinkley 1997, section 3.8, doi:10.1017/CBO9780511802843.
    """
    generator = torch.Generator().manual_seed(0)
    units = torch.arange(len(targets)).split(1) if groups is None else groups.argsort().split(groups.bincount().tolist())
    values = []
    for _ in range(RESAMPLES):
        draw = torch.randint(len(units), (len(units),), generator=generator)
        numbers = draw if groups is None else torch.cat([units[i] for i in draw.tolist()])
        values.append(measure(outputs[numbers], targets[numbers]))
    return values, len(units)


def size(model: nn.Module) -> dict[str, float]:
    """Parameters, and megabytes of what would be stored.

    A module that stores weights in another form says how many in `stored_parameters`.
    """
    stored = sum(t.numel() * t.element_size() for t in model.state_dict().values() if isinstance(t, Tensor))
    other = sum(getattr(module, "stored_parameters", 0) for module in model.modules())
    return {"parameters": float(sum(p.numel() for p in model.parameters()) + other), "size_mb": stored / 1e6}


def operations(model: nn.Module, example: Tensor) -> dict[str, float]:
    """Floating-point operations for one example; nothing where there are none, or where they cannot be counted."""
    return {"flops": float(total)} if (total := flops(model, example[:1])) else {}


def peak_memory() -> dict[str, float]:
    """The greatest memory of this process, in MB: with what it shares with its template, and of its tensors on the GPU."""
    peak = {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if torch.cuda.is_initialized():
        peak["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return peak


@torch.no_grad()
def latency(model: nn.Module, example: Tensor, seconds: float = 0.3) -> dict[str, float]:
    """Milliseconds for one example (median and 95th percentile), and examples a second in batches of 256, if these fit into memory.

    In eager mode, after a warm-up, with the threads of the process; accurate only if nothing else runs.
    """
    model.eval()
    times = timed(model, example[:1], seconds)
    figures = {
        "latency_ms": statistics.median(times) * 1e3,
        "latency_p95_ms": sorted(times)[math.ceil(0.95 * (len(times) - 1))] * 1e3,
    }
    try:
        batch_times = timed(model, example[:1].expand(256, *example.shape[1:]).contiguous(), seconds)
    except Exception as error:
        if not out_of_memory(error):
            raise
        print(f"inference_samples_per_second is not measured: a batch of 256 does not fit into memory ({error})")
        return figures
    return figures | {"inference_samples_per_second": 256 / statistics.median(batch_times)}


def timed(model: nn.Module, batch: Tensor, seconds: float) -> list[float]:
    def once() -> float:
        start = time.perf_counter()
        model(batch)
        if batch.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    until = time.perf_counter() + seconds
    for _ in range(5):
        once()
    times = [once()]
    while time.perf_counter() < until:
        times.append(once())
    return times
