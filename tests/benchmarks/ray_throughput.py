"""Trials a minute on the work of throughput.py, two at a time: executor=local, executor=ray, and Ray Tune, in turns in one run.

Ray Tune has the recipes of the first search, autoopt's own trial function, and actors that it reuses. Counted is from the end of the
first trial (of each of the two workers) to the end of the last, so without starting clusters and workers. Tracking is off.

`python tests/benchmarks/ray_throughput.py [ROUNDS [TRIALS]]`
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import mean, median

from machine import others
from recipes import SPACE, WORKERS
from searched import searched

from autoopt.config import compose

HERE = Path(__file__).parent
AUTOOPT = Path(sys.executable).with_name("autoopt")


def search(folder: Path, executor: str, trials: int, seed: int) -> tuple[float, float]:
    """Trials a minute of a search, and the mean of their scores; leaves recipes.json and tree.json."""
    options = [*SPACE, f"study.trials={trials}", f"executor={executor}", f"executor.workers={WORKERS}", f"seed={seed}", "strategy=random"]
    quiet = ["tracking.enabled=false", f"name={executor}", f"root={folder / 'runs'}"]
    done = subprocess.run([AUTOOPT, "search", *options, *quiet], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    found = searched(folder / "runs" / executor)
    (folder / "recipes.json").write_text(json.dumps([record.recipe for record in found.records]))
    (folder / "tree.json").write_text(json.dumps(compose([*options, *quiet])))
    ends = sorted(record.elapsed for record in found.records)
    return 60 * (len(ends) - WORKERS) / (ends[-1] - ends[WORKERS - 1]), mean(record.score or 0 for record in found.records)


def tuned(folder: Path) -> tuple[float, float]:
    done = subprocess.run([sys.executable, HERE / "ray_tune.py", folder], cwd=folder, env=os.environ, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    said = json.loads(done.stdout.splitlines()[-1])
    return 60 * said["trials"] / said["seconds"], said["accuracy"]


def main() -> None:
    rounds, trials = [*map(int, sys.argv[1:]), *(2, 120)[len(sys.argv) - 1 :]]
    rates: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        for number in range(rounds):
            folder = Path(tempfile.mkdtemp(dir=name))
            legs = {
                "local": lambda folder=folder, number=number: search(folder, "local", trials, number),
                "ray": lambda folder=folder, number=number: search(folder, "ray", trials, number),
                "Ray Tune": lambda folder=folder: tuned(folder),
            }
            for leg, run in legs.items():
                with others() as busy:
                    rate, accuracy = run()
                rates[leg].append(rate)
                print(
                    f"round {number + 1}  {leg:<9} {rate:6.1f} trials/min, mean accuracy {accuracy:.4f}; others had {busy.share:.0%}",
                    flush=True,
                )
    for leg, other in ("ray", "local"), ("ray", "Ray Tune"):
        ratios = [a / b for a, b in zip(rates[leg], rates[other], strict=True)]
        print(f"{leg} / {other}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
