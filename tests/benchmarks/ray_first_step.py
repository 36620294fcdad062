"""From submitting a trial to its first training step: executor=local and a warm worker on Ray, one trial after the other (digits, mlp).

The first step is told by a callback in the trial's log, on the clock that all processes of a machine share.

`python tests/benchmarks/ray_first_step.py [TRIALS]`
"""

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from autoopt.config import compose
from autoopt.executor.local import Local
from autoopt.executor.on_ray import OnRay
from autoopt.executor.realtime import RealTime
from autoopt.executor.resources import Limits
from autoopt.orders import Train
from autoopt.space import Space
from autoopt.store import Store

TOLD = '''
import time

import lightning.pytorch as L


class Told(L.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if not trainer.global_step:
            print("FIRST STEP", time.monotonic(), flush=True)


def told() -> L.Callback:
    """Tells the moment of the first step."""
    return Told()
'''
OVERRIDES = ["data=digits", "model=mlp", "optimizer=adamw", "schedule=cosine", "study.epochs=3", "regularizer=own_told:told"]
WARM = 2
"""Trials that do not count."""


def first_steps(executor: RealTime, tree: dict, trials: int) -> Iterator[float]:
    """Seconds from the submission of each trial to its first step."""
    recipe = Space.of(tree).fitting(executor.facts["absent"]).baseline()
    for number in range(WARM + trials):
        submitted = time.monotonic()
        executor.submit(number, Train(key=str(number), recipe=recipe, seed=number, objective="val_accuracy"))
        while executor.running:
            list(executor.events())
        if number >= WARM:
            (moment,) = re.findall(r"FIRST STEP (\S+)", executor.store.log(str(number)).read_text())
            yield float(moment) - submitted


def main() -> None:
    trials = int(sys.argv[1]) if sys.argv[1:] else 20
    with tempfile.TemporaryDirectory() as name:
        Path(name, "own_told.py").write_text(TOLD)
        os.chdir(name)
        sys.path.append(name)
        tree = compose(OVERRIDES)
        setup = {"tree": tree}
        for what, start in (
            ("local", lambda: Local(setup, Store(Path(name, "local")), workers=1)),
            ("ray", lambda: OnRay(setup, Store(Path(name, "ray")), Limits(workers=1), None, {})),
        ):
            executor = start()
            seconds = list(first_steps(executor, tree, trials))
            executor.close()
            print(f"{what:<6} median {1e3 * median(seconds):4.0f} ms, most {1e3 * max(seconds):4.0f} ms", flush=True)


if __name__ == "__main__":
    main()
