"""What a trial is judged by: quality by torchmetrics, and what the model costs."""

import inspect
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional import classification as C
from torchmetrics.functional import regression as R

from autoopt.errors import out_of_memory, summary
from autoopt.module.flops import flops

RESAMPLES = 200
MetricFunction = Callable[..., Any]


def balanced_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean recall over the classes that the targets have, so that each of them counts alike.

    Brodersen et al. 2010, DOI 10.1109/ICPR.2010.764.
    """
    examples = targets.bincount()
    right = targets[outputs.argmax(1) == targets].bincount(minlength=len(examples))
    return (right[examples > 0] / examples[examples > 0]).mean()


def auroc(outputs: Tensor, labels: Tensor) -> Tensor:
    """The chance that an example with a label gets a greater output than one without it: the mean over the labels that differ.

    Ties count half; without a label that differs it is 0.5, which is chance. By the ranks r of the outputs, of n examples with the
    label and m without it, `(sum r - n (n + 1) / 2) / (n m)`: Mann & Whitney 1947, DOI 10.1214/aoms/1177730491; the mean over classes,
    each against the rest: Provost & Domingos 2003, DOI 10.1023/A:1024099825458.
    """
    given, scores = labels.T.double(), outputs.T.contiguous()
    ordered = scores.sort().values
    ranks = (torch.searchsorted(ordered, scores) + torch.searchsorted(ordered, scores, right=True) + 1) / 2
    n = given.sum(1)
    pairs = n * (len(labels) - n)
    areas = ((ranks * given).sum(1) - n * (n + 1) / 2)[pairs > 0] / pairs[pairs > 0]
    return areas.mean() if len(areas) else areas.new_tensor(0.5)


def ece(outputs: Tensor, targets: Tensor) -> Tensor:
    """The expected calibration error: the mean difference of confidence and accuracy over 15 bins of confidence.

    Naeini et al. 2015, DOI 10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv:1706.04599.
    """
    return C.multiclass_calibration_error(outputs.softmax(1), targets, outputs.shape[1], n_bins=15, validate_args=False)


def r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of the variance of the targets that the outputs explain, whatever their unit: the mean over the values of an example.

    Of a target that does not vary it is 1 where the outputs are right, else 0, as in scikit-learn; torchmetrics takes a sum of squares
    below 1e-4 for 0, which is all of that of small numbers.

    Wright 1921, Correlation and causation.
    """
    residuals, deviations = targets - outputs, targets - targets.mean(0)
    unit = deviations.abs().amax(0)  # the squares of small numbers would be 0
    unexplained = (residuals / unit).square().sum(0) / (deviations / unit).square().sum(0)
    varies = (targets != targets[0]).any(0)
    return torch.where(varies, 1 - unexplained, (residuals == 0).all(0).to(unexplained)).mean()


def of_classes(metric: MetricFunction, average: str) -> MetricFunction:
    """A metric of torchmetrics, of class indices `(N,)`."""
    return lambda outputs, targets: metric(outputs, targets, outputs.shape[1], average=average, validate_args=False)


def of_labels(metric: MetricFunction, **settings: Any) -> MetricFunction:
    """A metric of torchmetrics, of the labels whose probability is above 0.5; a label that no example has or gets counts as 0."""
    return lambda outputs, targets: metric(outputs.sigmoid(), targets, outputs.shape[1], **settings, validate_args=False)


METRICS: Mapping[str, Mapping[str, MetricFunction]] = {
    "classification": {
        "accuracy": of_classes(C.multiclass_accuracy, "micro"),
        "balanced_accuracy": balanced_accuracy,
        "f1": of_classes(C.multiclass_f1_score, "macro"),
        "recall": of_classes(C.multiclass_recall, "macro"),
        "precision": of_classes(C.multiclass_precision, "macro"),
        "auroc": lambda outputs, targets: auroc(outputs.double().softmax(1), F.one_hot(targets, outputs.shape[1])),
        "ece": ece,
        "loss": F.cross_entropy,
    },
    "multilabel": {
        "f1": of_labels(C.multilabel_f1_score, average="macro"),
        "recall": of_labels(C.multilabel_recall, average="macro"),
        "precision": of_labels(C.multilabel_precision, average="macro"),
        "accuracy": of_labels(C.multilabel_accuracy, average="micro"),
        "exact_match": of_labels(C.multilabel_exact_match),
        "auroc": auroc,
        "loss": lambda outputs, targets: F.binary_cross_entropy_with_logits(outputs, targets.to(outputs)) * outputs.shape[1],
    },
    "regression": {
        "rmse": partial(R.mean_squared_error, squared=False),
        "mae": R.mean_absolute_error,
        "r2": r2,
        "loss": F.mse_loss,
    },
}
"""The metrics of each kind of task; the first is the objective where the config names none. Macro: classes or labels count alike."""


def quality_metrics(kind: str, outputs: Tensor, targets: Tensor, names: Iterable[str]) -> dict[str, float]:
    """The named metrics of a kind of task.

    Args:
        outputs: logits `(N, K)` or values `(N, D)`.
        targets: class indices `(N,)`, labels `(N, K)` of 0 and 1, or values `(N, D)`.
    """
    if kind == "regression":  # in single precision a large mean hides the spread
        outputs, targets = outputs.double(), targets.double()
        names = [name for name in names if name != "r2" or len(targets) > 1]  # of one value there is none
    return {name: float(METRICS[kind][name](outputs, targets)) for name in names}


def by(name: str, metric: Any, outputs: Tensor, targets: Tensor) -> float:
    """A metric of the user's own: a torchmetrics class (given `num_classes` or `num_labels` where it takes that), or a function.

    Args:
        metric: of (outputs, targets), as `quality_metrics` has them.

    Raises:
        ValueError: it raised, or gave no number.
    """
    try:
        if isinstance(metric, type):
            counts = {"num_classes", "num_labels"} & inspect.signature(metric).parameters.keys()
            metric = metric(**dict.fromkeys(counts, outputs.shape[1]))
        return float(metric(outputs, targets))
    except Exception as error:
        raise ValueError(f"metrics={name}: {summary(error)}") from error


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


def operations(model: nn.Module, *inputs: Tensor) -> dict[str, float]:
    """Floating-point operations for one example; nothing where there are none, or where they cannot be counted."""
    return {"flops": float(total)} if (total := flops(model, *(each[:1] for each in inputs))) else {}


def peak_memory() -> dict[str, float]:
    """The greatest memory of this process, in MB: with what it shares with its template, and of its tensors on the GPU."""
    unit = 1 if sys.platform == "darwin" else 2**10  # macOS counts bytes
    peak = {"peak_memory_mb": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    if torch.cuda.is_initialized():
        peak["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return peak


@torch.no_grad()
def latency(model: nn.Module, *inputs: Tensor, seconds: float = 0.3) -> dict[str, float]:
    """Milliseconds for one example (median and 95th percentile), and examples a second in batches of 256, if these fit into memory.

    In eager mode, after a warm-up, with the threads of the process; accurate only if nothing else runs.
    """
    model.eval()
    one = [each[:1] for each in inputs]
    times = timed(model, one, seconds)
    figures = {
        "latency_ms": statistics.median(times) * 1e3,
        "latency_p95_ms": sorted(times)[math.ceil(0.95 * (len(times) - 1))] * 1e3,
    }
    try:
        batch_times = timed(model, [each.expand(256, *each.shape[1:]).contiguous() for each in one], seconds)
    except Exception as error:
        if not out_of_memory(error):
            raise
        print(f"inference_samples_per_second is not measured: a batch of 256 does not fit into memory ({error})")
        return figures
    return figures | {"inference_samples_per_second": 256 / statistics.median(batch_times)}


def timed(model: nn.Module, batch: Sequence[Tensor], seconds: float) -> list[float]:
    wait = torch.get_device_module(batch[0].device).synchronize  # of CUDA, MPS or another; nothing on the CPU

    def once() -> float:
        start = time.perf_counter()
        model(*batch)
        wait()
        return time.perf_counter() - start

    until = time.perf_counter() + seconds
    for _ in range(5):
        once()
    times = [once()]
    while time.perf_counter() < until:
        times.append(once())
    return times
