"""Trials a minute on digits (mlp, 20 epochs, batch 64, two processes): autoopt, the libraries' tutorials, a bare loop.

A round is: `autoopt search` with MLflow on a fresh sqlite store, the same with a store that exists, and without
tracking; after each the bare loop (bare.py) on the recipes that this search has trained, which is the limit for it; and
the tutorials' way (tutorial.py) on every sixth recipe of the first. Counted is from the first trial's start to the last
one's end; confirm, warming up and imports are not. Prints each leg, and medians over the rounds.

`python tests/benchmarks/throughput.py [ROUNDS [TRIALS]]`
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

from mlflow import MlflowClient
from recipes import SPACE, WORKERS, Plain, save
from searched import Searched, searched

HERE = Path(__file__).parent
AUTOOPT = Path(sys.executable).with_name("autoopt")
TUTORIAL_EVERY = 6
QUIET = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


def autoopt(folder: Path, trials: int, seed: int, *settings: str) -> Searched:
    """One search by the command, as anybody would call it."""
    overrides = [*SPACE, f"study.trials={trials}", f"executor.workers={WORKERS}", f"seed={seed}", "name=search", *settings]
    run([str(AUTOOPT), "search", *overrides], folder)
    return searched(folder / "autoopt-runs" / "search")


def script(name: str, folder: Path, recipes: Sequence[Plain], argument: Path) -> dict[str, float]:
    save(folder / "recipes.json", recipes)
    lines = run([sys.executable, str(HERE / f"{name}.py"), str(argument)], folder).splitlines()
    return json.loads(lines[-1])


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=os.environ | QUIET, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    rounds, trials = [*map(int, sys.argv[1:]), *(3, 240)[len(sys.argv) - 1 :]]
    rates: dict[str, list[float]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)

    def note(leg: str, rate: float, limit: float | None, said: str) -> None:
        rates[leg].append(rate)
        if limit:
            ratios[f"{leg} / limit"].append(rate / limit)
        print(f"  {leg:<22} {rate:6.1f} trials/min   {said}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / "mlflow.db"
        MlflowClient(f"sqlite:///{store}").search_experiments()
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
            for leg, settings in {"fresh store": (), "store exists": (), "no tracking": ("tracking.enabled=false",)}.items():
                folder = Path(tempfile.mkdtemp(dir=name))
                if leg == "store exists":
                    shutil.copy(store, folder)
                search = autoopt(folder, trials, number, *settings)
                recipes = [Plain.of(record.recipe) for record in search.records]
                bare = script("bare", folder, recipes, folder / "recipes.json")
                limit = 60 * bare["trials"] / bare["seconds"]
                scores = mean(record.score or 0 for record in search.records)
                note(f"autoopt, {leg}", search.rate, limit, f"{trials} trials, mean accuracy {scores:.3f}")
                note("limit (bare loop)", limit, None, f"{trials} trials, mean accuracy {bare['accuracy']:.3f}")
                if leg == "fresh store":
                    found = script("tutorial", folder, recipes[::TUTORIAL_EVERY], folder)
                    rate, count = 60 * found["trials"] / found["seconds"], int(found["trials"])
                    note("tutorials", rate, limit, f"{count} trials, mean accuracy {found['accuracy']:.3f}")
                    ratios["autoopt, fresh store / tutorials"].append(search.rate / rate)
                shutil.rmtree(folder)
    print(f"medians of {rounds} rounds")
    for what, values in (rates | ratios).items():
        form = "6.2f" if "/" in what else "6.1f"
        print(f"  {what:<34} {median(values):{form}}   ({min(values):{form}} to {max(values):{form}})")


if __name__ == "__main__":
    main()
