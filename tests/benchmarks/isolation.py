"""From submitting a trial to its first training step, through the real executor and the real trial (digits, mlp).

Every trial is a process of its own, forked from a template that is warm. Also what a trial imports anew, and how long
a place stands empty between two trials. Median and maximum over 40 trials, one and two at a time.
"""

import sys
import tempfile
import time
from statistics import median
from typing import Any

from autoopt.config import compose
from autoopt.executor.local import Local
from autoopt.orders import Train
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.store import Store

TRIALS = 40
OVERRIDES = ["data=digits", "model=mlp", "optimizer=adamw", "schedule=cosine", "study.epochs=3"]


def trials(executor: Local, recipe: Recipe, width: int) -> tuple[dict[int, float], dict[int, dict[str, Any]]]:
    """When each trial was submitted, and the notes that it took, `width` at a time."""
    submitted: dict[int, float] = {}
    notes: dict[int, dict[str, Any]] = {}
    while len(notes) < TRIALS:
        while len(submitted) < TRIALS and len(executor.running) < width:
            number = len(submitted)
            submitted[number] = time.monotonic()
            executor.submit(number, Train(key="0", recipe=recipe, seed=number, objective="val_accuracy"))
        for event in executor.events():
            if event.kind == "finished":
                notes[event.number] = event.data["notes"] | {"over": time.monotonic()}
            elif event.kind == "failed":
                raise SystemExit(f"trial {event.number}: {event.data}")
    return submitted, notes


def row(what: str, seconds: list[float]) -> None:
    print(f"  {what:<34} median {1e3 * median(seconds):6.1f} ms   max {1e3 * max(seconds):6.1f} ms")


def main() -> None:
    tree = compose(OVERRIDES)
    with tempfile.TemporaryDirectory() as name:
        store = Store(name)
        for width in (1, 2):
            start = time.monotonic()
            executor = Local({"tree": tree}, store, workers=width, target="first_step")
            recipe = Space.of(tree).fitting(executor.facts["absent"]).baseline()
            print(f"{width} at a time, {TRIALS} trials (template warm after {time.monotonic() - start:.1f} s)")
            submitted, notes = trials(executor, recipe, width)
            executor.close()
            row("submit -> run entered", [n["entered"] - submitted[i] for i, n in notes.items()])
            row("submit -> first training step", [n["first_step"] - submitted[i] for i, n in notes.items()])
            row("run returned -> place free again", [n["over"] - n["ran"] for n in notes.values()])
            imported = {module for n in notes.values() for module in n["imported"]}
            torch = sorted(m for m in imported if m.split(".")[0] in ("torch", "lightning", "torchmetrics"))
            print(f"  modules imported in a trial: {len(imported)}, of torch and lightning: {torch or 'none'}")
            print(f"  the others: {', '.join(sorted(imported - set(torch))) or 'none'}", file=sys.stderr)


if __name__ == "__main__":
    main()
