"""The limit: a bare PyTorch loop over tensors, fused optimizers, two processes; nothing is stored.

Run by throughput.py, or by itself: `python tests/benchmarks/bare.py`.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import torch
from recipes import BATCH, EPOCHS, WORKERS, Plain, drawn, load, parts
from torch.nn.functional import cross_entropy

PARTS = parts()
STEPS = -(-len(PARTS["train"][1]) // BATCH)


def train(recipe: Plain) -> float:
    """One training; the accuracy on the validation part after its last epoch."""
    torch.set_num_threads(1)
    (x, y), (v, w) = PARTS["train"], PARTS["validation"]
    network, accuracy = recipe.network(), 0.0
    optimizer = recipe.stepper(network.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * STEPS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            loss = cross_entropy(network(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            accuracy = (network(v).argmax(1) == w).float().mean().item()
    return accuracy


def main() -> None:
    recipes = load(Path(sys.argv[1]) / "recipes.json") if len(sys.argv) > 1 else drawn(60)
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        start = time.monotonic()
        scores = list(pool.imap_unordered(train, recipes))
        seconds = time.monotonic() - start
        pool.close()
        pool.join()
    spent = os.times().children_user + os.times().children_system
    print(json.dumps({"seconds": seconds, "core_seconds": spent, "accuracy": sum(scores) / len(scores), "trials": len(scores)}))


if __name__ == "__main__":
    main()
