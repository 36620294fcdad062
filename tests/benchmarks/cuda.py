"""What precision, TF32, channels_last and compiling are worth on a GPU: a resnet over random images, by `autoopt train`.

Fed from the GPU's own memory, where they fit. Images per second are those of the whole training, the compiler's time included.

`python tests/benchmarks/cuda.py [EPOCHS]`
"""

import contextlib
import sys
import tempfile

import numpy as np

import autoopt

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
    "bf16-mixed, channels_last": ["precision=bf16-mixed", "channels_last=true"],
    "bf16-mixed, channels_last, compiled": ["precision=bf16-mixed", "channels_last=true", "compile=true"],
}
COLUMNS = {
    **{"samples_per_second": ("images/s", 0), "peak_gpu_memory_mb": ("GPU MB", 0)},
    **{"latency_ms": ("latency of one, ms", 3), "seconds": ("s", 1)},
}


def main() -> None:
    epochs = sys.argv[1] if len(sys.argv) > 1 else "10"
    print(f"| | {' | '.join(name for name, _ in COLUMNS.values())} | faster |")
    print("|---|" + "---|" * (len(COLUMNS) + 1))
    first = None
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (IMAGES, *SHAPE), dtype=np.uint8)
        np.savez("images.npz", x=images, y=random.integers(0, CLASSES, IMAGES))
        for number, (name, values) in enumerate(SETTINGS.items()):
            overrides = [*RECIPE, f"study.epochs={epochs}", *(f"device.cuda.{value}" for value in values)]
            found = autoopt.train([*overrides, f"name={number}"], quiet=True).metrics
            first = first or found
            faster = found["samples_per_second"] / first["samples_per_second"]
            said = " | ".join(f"{found[key]:,.{digits}f}" for key, (_, digits) in COLUMNS.items())
            print(f"| {name} | {said} | {faster:.2f}x |", flush=True)


if __name__ == "__main__":
    main()
