"""What a trial is judged by: quality by torchmetrics, and what the model costs."""

import math
import resource
import statistics
import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional import classification as C
from torchmetrics.functional import regression as R

CLASSIFICATION = ("accuracy", "f1", "recall", "precision", "loss")
REGRESSION = ("rmse", "mae", "r2", "loss")
RESAMPLES = 200


def quality(kind: str, outputs: Tensor, targets: Tensor, names: Iterable[str]) -> dict[str, float]:
    """The named metrics; classes count alike (macro).

    Args:
        outputs: logits `(N, K)` or values `(N, D)`.
        targets: class indices `(N,)` or values `(N, D)`.
    """
    return {name: float(one(kind, name, outputs, targets)) for name in names}


def one(kind: str, name: str, outputs: Tensor, targets: Tensor) -> Tensor:
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
    metric = {"f1": C.multiclass_f1_score, "recall": C.multiclass_recall, "precision": C.multiclass_precision}[name]
    return metric(outputs, targets, outputs.shape[1], average="macro", validate_args=False)


def resampled(kind: str, name: str, outputs: Tensor, targets: Tensor) -> list[float]:
    """The metric on resamples of the examples with replacement, the same ones for every model of a study.

    Source: Efron 1979, doi:10.1214/aos/1176344552.
    """
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(len(targets), (RESAMPLES, len(targets)), generator=generator)
    return [float(one(kind, name, outputs[i], targets[i])) for i in draws]


def size(model: nn.Module) -> dict[str, float]:
    """Parameters, and megabytes of what would be stored."""
    stored = sum(t.numel() * t.element_size() for t in model.state_dict().values() if isinstance(t, Tensor))
    return {"parameters": float(sum(p.numel() for p in model.parameters())), "size_mb": stored / 1e6}


def peak_memory() -> float:
    """Megabytes of this process at its largest, what it shares with its template included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@torch.no_grad()
def latency(model: nn.Module, example: Tensor, seconds: float = 0.3) -> dict[str, float]:
    """Milliseconds for one example (median and 95th percentile), and examples a second in batches of 256.

    Eager, warmed up, in the threads that the process has; it counts where nothing else runs.
    """
    model.eval()
    single, many = example[:1], example[:1].expand(256, *example.shape[1:]).contiguous()
    times, batch_times = timed(model, single, seconds), timed(model, many, seconds)
    return {
        "latency_ms": statistics.median(times) * 1e3,
        "latency_p95_ms": sorted(times)[math.ceil(0.95 * (len(times) - 1))] * 1e3,
        "inference_samples_per_second": 256 / statistics.median(batch_times),
    }


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
