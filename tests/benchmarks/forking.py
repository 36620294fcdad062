"""What it costs a trial to be a process of its own: the same trials (digits, mlp, 20 epochs) in this process, and each in a fork of it.

`python tests/benchmarks/forking.py [TRIALS [ROUNDS]]`
"""

import gc
import os
import sys
import tempfile
import time
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median

from recipes import SPACE

from autoopt.config import compose
from autoopt.orders import Train
from autoopt.process.system import use_threads
from autoopt.space import Space
from autoopt.trial.run import prepare, run
from autoopt.trial.world import World


def trial(world: World, number: int) -> None:
    recipe = Space.of(compose(SPACE)).baseline()
    order = Train(key=str(number), recipe=recipe, seed=number, objective="val_accuracy", direction="maximize")
    run(world, order.json(), lambda epoch, metrics: False)


def here(world: World, number: int) -> float:
    trial(world, number)
    return 0.0


def forked(world: World, number: int) -> float:
    start = time.perf_counter()
    if not (pid := os.fork()):
        trial(world, number)
        os._exit(0)
    spent = time.perf_counter() - start
    os.waitpid(pid, 0)
    return spent


def main() -> None:
    trials, rounds = [*map(int, sys.argv[1:]), *(60, 3)[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as folder:
        world, _ = prepare({"tree": compose(SPACE), "store": folder})
        use_threads(1)
        trial(world, 0)
        gc.collect()
        gc.freeze()
        for name, way, whose in ("in one process", here, RUSAGE_SELF), ("each forked", forked, RUSAGE_CHILDREN):
            rows = []
            for _ in range(rounds):
                before, start = getrusage(whose), time.perf_counter()
                forks = sum(way(world, number) for number in range(trials))
                wall, after = time.perf_counter() - start, getrusage(whose)
                kernel, faults = after.ru_stime - before.ru_stime, after.ru_minflt - before.ru_minflt
                rows.append([1e3 * wall / trials, 1e3 * forks / trials, 1e3 * kernel / trials, faults / trials])
            wall, forks, kernel, faults = map(median, zip(*rows, strict=True))
            print(f"{name:<15} {wall:6.1f} ms a trial; fork {forks:.1f} ms, kernel {kernel:.1f} ms, {faults:.0f} pages faulted in")


if __name__ == "__main__":
    main()
