"""What each compression makes of a trained network: accuracy, latency and bytes, as deployed (cnn of width 64, digits).

One thread. The network is trained for 30 epochs, and fine-tuned, where a technique does that, by the same optimizer and
schedule. Accuracy is that of the 719 examples that were never trained on (a point is 7 of them), of compressions that saw the training
part in random order, and sorted by class, as the images of a folder are. Latencies are taken in rounds, in each of which every
form has its turn; bytes are those of the tensors as stored, the ONNX graph being one.

`python tests/benchmarks/compression.py [ROUNDS]`
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from machine import await_quiet
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from autoopt.data.feed import Feed
from autoopt.data.make_task import make_task
from autoopt.deployment.compress import Counted, renew_norms
from autoopt.plugins.data.digits import digits
from autoopt.plugins.model.cnn import cnn
from autoopt.technique import build, find

WIDTH, EPOCHS, SIZE = 64, 30, 64
BATCHES = (1, 32)
CALLS, WARM = 30, 5
Mixed = Callable[[Tensor, Tensor, Tensor], Tensor] | None
Call = Callable[[int], None]
FORMS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "onnx": [("onnx", {})],
    "half": [("half", {})],
    "low_rank": [("low_rank", {})],
    "prune_magnitude": [("prune_magnitude", {})],
    "weight_sharing": [("weight_sharing", {})],
    "prune_magnitude, weight_sharing": [("prune_magnitude", {}), ("weight_sharing", {})],
    "distill": [("distill", {})],
    "prune_structured": [("prune_structured", {})],
    "prune_structured, onnx": [("prune_structured", {}), ("onnx", {})],
    "quantize_static": [("quantize_static", {})],
    "quantize_aware": [("quantize_aware", {})],
    "prune_structured, quantize_static": [("prune_structured", {}), ("quantize_static", {})],
}


@dataclass
class Form:
    """One form of the network, and what was measured of it."""

    model: nn.Module
    accuracy: float
    of_sorted: float
    seconds: float = 0.0
    times: dict[int, list[float]] = field(default_factory=lambda: {size: [] for size in BATCHES})

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.model.state_dict().values())

    def percentile(self, size: int, share: float) -> float:
        """Milliseconds."""
        return 1e3 * sorted(self.times[size])[int(share * (len(self.times[size]) - 1))]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = make_task(digits(), {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True})
    inputs, targets = task.parts["train"]
    unseen = tuple(torch.cat(pair) for pair in zip(task.parts["validation"], task.parts["test"], strict=True))

    def finetune(model: nn.Module, epochs: int, loss: Mixed = None, before_epoch: Call = lambda epoch: None) -> nn.Module:
        return trained(model, inputs, targets, epochs, loss, before_epoch)

    def student(width: Callable[[int], int]) -> nn.Module:
        return cnn(task, width=width(WIDTH))

    model = finetune(cnn(task, width=WIDTH), EPOCHS)
    in_order = targets.argsort(stable=True)
    by_class = replace(task, parts={**task.parts, "train": (inputs[in_order], targets[in_order])})
    feeds = [Feed(each, {"size": SIZE}, 0, chunked=True) for each in (task, by_class)]

    def compressed(steps: list[tuple[str, dict[str, Any]]], feed: Feed) -> nn.Module:
        torch.manual_seed(0)
        result = model
        for technique, values in steps:
            counted = Counted(finetune)
            offered = {"model": result, "batches": feed.calibration(), "build": student, "finetune": counted}
            result = build(find("compression", technique), offered, values)
            if not counted.epochs:
                renew_norms(result, feed.calibration)
        return result.eval()

    forms = {"float32, eager": Form(model, *[accuracy(model, *unseen)] * 2)}
    for name, steps in FORMS.items():
        started = time.perf_counter()
        made = compressed(steps, feeds[0])
        seconds = time.perf_counter() - started
        forms[name] = Form(made, accuracy(made, *unseen), accuracy(compressed(steps, feeds[1]), *unseen), seconds)
    await_quiet()
    clock(forms.values(), unseen[0], rounds)
    report(forms)


def trained(model: nn.Module, inputs: Tensor, targets: Tensor, epochs: int, loss: Mixed, before_epoch: Call) -> nn.Module:
    if not epochs:
        return model.eval()
    steps = epochs * -(-len(inputs) // SIZE)
    optimizer = AdamW([p for p in model.train().parameters() if p.requires_grad], weight_decay=0.01)
    schedule = OneCycleLR(optimizer, 0.01, total_steps=steps)
    for epoch in range(epochs):
        before_epoch(epoch)
        for chosen in torch.randperm(len(inputs)).split(SIZE):
            outputs = model(inputs[chosen])
            value = cross_entropy(outputs, targets[chosen])
            optimizer.zero_grad()
            (value if loss is None else loss(inputs[chosen], outputs, value)).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    return (model(inputs).argmax(1) == targets).float().mean().item()


@torch.no_grad()
def clock(forms: Iterable[Form], inputs: Tensor, rounds: int) -> None:
    for size in BATCHES * rounds:
        batch = inputs[:size].contiguous()
        for form in forms:
            for call in range(WARM + CALLS):
                start = time.perf_counter()
                form.model(batch)
                if call >= WARM:
                    form.times[size].append(time.perf_counter() - start)


def report(forms: dict[str, Form]) -> None:
    first = forms["float32, eager"]
    print(
        "| | accuracy | of sorted rows | kB | smaller | batch 1: median (p95) ms | faster | batch 32: median (p95) ms | faster | made in |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, form in forms.items():
        speeds = []
        for size in BATCHES:
            middle = form.percentile(size, 0.5)
            speeds += [f"{middle:.3f} ({form.percentile(size, 0.95):.3f})", f"{first.percentile(size, 0.5) / middle:.1f}x"]
        said = [
            f"{form.accuracy:.2%}",
            f"{form.of_sorted:.2%}",
            f"{form.bytes / 1e3:.0f}",
            f"{first.bytes / form.bytes:.1f}x",
            *speeds,
            f"{form.seconds:.0f} s",
        ]
        print(f"| {name} | {' | '.join(said)} |")


if __name__ == "__main__":
    main()
