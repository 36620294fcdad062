"""Everything that has to be seen on a GPU, in under six minutes: what its settings are worth, and what an executor does with it.

Settings: a resnet over random images, by `autoopt train`, fed from the GPU's own memory. Images per second are those of the whole training,
the compiler's time included. Executor: where two trials that share the GPU are put, what a process with CUDA up saves against a fresh one,
and what each takes of the GPU's memory. Then the tests that need a GPU.

`python tests/benchmarks/cuda.py [EPOCHS]`; a part is left out once its time is over, and says so.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

import autoopt
from autoopt.config import compose
from autoopt.executor.resources import Limits, Machine
from autoopt.orders import Train
from autoopt.points import plug
from autoopt.space import Space
from autoopt.store import Store

ROOT = Path(__file__).parents[2]
LIMIT = 350.0
"""Seconds for all."""
IMAGES, SHAPE, CLASSES = 20_000, (3, 32, 32), 10
RECIPE = [
    *("data=npz", "data.npz.path=images.npz", "model=resnet", "model.resnet.width=64", "batches.size=512", "optimizer=momentum"),
    *("optimizer.momentum.lr=0.01", "schedule=constant", "tracking.enabled=false", "device=cuda"),
]
SETTINGS = {
    "float32": [],
    "float32 in TF32": ["matmul=high"],
    "bf16-mixed": ["precision=bf16-mixed"],
    "16-mixed": ["precision=16-mixed"],
    "16-mixed, channels_last": ["precision=16-mixed", "channels_last=true"],
    "bf16-mixed, channels_last": ["precision=bf16-mixed", "channels_last=true"],
    "bf16-mixed, channels_last, compiled": ["precision=bf16-mixed", "channels_last=true", "compile=true"],
}
COLUMNS = {
    **{"samples_per_second": ("images/s", 0), "peak_gpu_memory_mb": ("GPU MB", 0)},
    **{"latency_ms": ("latency of one, ms", 3), "seconds": ("s", 1)},
}
SMALL = [
    *("data=digits", "model=linear", "device=cuda", "study.epochs=2", "optimizer=nesterov", "schedule=constant", "loss=cross_entropy"),
    *("initializer=keep", "augmentation=none", "regularizer=none"),
]
CUDA_UP = """
import sys, time
start = time.perf_counter()
import torch
imported = time.perf_counter()
torch.ones(1, device="cuda").add(1).item()
up = time.perf_counter()
torch.ones(1, device="cuda").add(1).item()
print(imported - start, up - imported, time.perf_counter() - up)
"""


def settings(epochs: str, left: Callable[[], float]) -> None:
    """What precision, TF32, channels_last and compiling are worth."""
    print(f"| | {' | '.join(name for name, _ in COLUMNS.values())} | faster |")
    print("|---|" + "---|" * (len(COLUMNS) + 1))
    first = None
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, *SHAPE), dtype=np.uint8)
    np.savez("images.npz", x=images, y=random.integers(0, CLASSES, IMAGES))
    for number, (name, values) in enumerate(SETTINGS.items()):
        if left() < LIMIT / 2:
            print(f"| {name} | left out, for want of time |")
            continue
        overrides = [*RECIPE, f"study.epochs={epochs}", *(f"device.cuda.{value}" for value in values)]
        found = autoopt.train([*overrides, f"name={number}"], quiet=True).metrics
        first = first or found
        faster = found["samples_per_second"] / first["samples_per_second"]
        said = " | ".join(f"{found[key]:,.{digits}f}" for key, (_, digits) in COLUMNS.items())
        print(f"| {name} | {said} | {faster:.2f}x |", flush=True)


def placement() -> None:
    """How many trials are put on the GPUs, and how long two take that share one against one after the other."""
    machine = Machine.here()
    print(f"\nGPUs: {', '.join(machine.gpus)}; CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES')}")
    for share in (1.0, 0.5):
        tree = compose([*SMALL, f"executor.gpus_per_trial={share}", "executor.workers=2"])
        store = Store(f"share-{share}")
        executor = plug(tree, "executor", setup={"tree": tree}, store=store, limits=Limits.of(tree))
        try:
            assert executor.facts
            start, starts, ends = time.monotonic(), {}, {}
            for number in range(4):
                recipe = Space.of(tree).baseline()
                executor.submit(number, Train(key=f"{number}", recipe=recipe, objective="val_loss", direction="minimize"))
            while len(ends) < 4:
                for event in executor.events():
                    starts.setdefault(event.number, time.monotonic() - start)
                    if event.kind in ("finished", "failed"):
                        ends[event.number] = (time.monotonic() - start, event)
        finally:
            executor.close()
        failed = [event.data for _, event in ends.values() if event.kind == "failed"]
        memory = [event.data["metrics"]["peak_gpu_memory_mb"] for _, event in ends.values() if event.kind == "finished"]
        at_once = sum(begun < min(end for end, _ in ends.values()) for begun in starts.values())
        seconds = max(end for end, _ in ends.values())
        told = f"{at_once} at once, 4 trials in {seconds:.1f} s, {max(memory, default=0):.0f} MB each"
        print(f"gpus_per_trial={share}: {told}; failed: {failed}")


def cuda_up(times: int = 3) -> None:
    """What the next trial saves in a process with CUDA up against a fresh one."""
    runs = [subprocess.run([sys.executable, "-c", CUDA_UP], capture_output=True, text=True, check=True).stdout for _ in range(times)]
    imported, up, again = (median(column) for column in zip(*(map(float, run.split()) for run in runs), strict=True))
    print(f"\nfresh process: torch in {imported:.2f} s, CUDA up in {up:.2f} s; with CUDA up: {1e3 * again:.2f} ms (median of {times})")


def tests(left: float) -> None:
    """The tests that need a GPU, as far as there is time."""
    where = ("tests/plugins/test_device.py", "tests/test_search.py")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "gpu", "-rf", *where]
    try:
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {"AUTOOPT_TEST_GPU": "1"}, capture_output=True, text=True, timeout=left)
        print(f"\nAUTOOPT_TEST_GPU=1 pytest -k gpu: {done.stdout[done.stdout.find('= short test summary') :].strip()[-2000:]}")
    except subprocess.TimeoutExpired:
        print(f"\nAUTOOPT_TEST_GPU=1 pytest -k gpu: not done within the {left:.0f} s that were left")


def main() -> None:
    begun = time.monotonic()
    if not Machine.here().gpus:
        raise SystemExit("no NVIDIA GPU here (or torch was built without CUDA)")

    def left() -> float:
        return LIMIT - (time.monotonic() - begun)

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        settings(sys.argv[1] if len(sys.argv) > 1 else "10", left)
        placement()
        cuda_up()
    tests(max(left(), 1.0))
    print(f"\n{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
