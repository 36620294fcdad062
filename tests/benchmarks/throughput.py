"""Trials a minute on digits (mlp, 20 epochs, batch 64, two processes): autoopt, the libraries' tutorials, a bare loop.

A round is: `autoopt search` with MLflow on a fresh sqlite store, the same with a store that exists, and without
tracking; after each the bare loop (bare.py) on the recipes that this search has trained, which is the limit for it; and
the tutorials' way (tutorial.py) on every sixth recipe of the first. Counted is from the first trial's start to the last
one's end, without confirm, warming up and imports. As others may be at work on the machine, a leg waits for quiet, is
run again where it was disturbed, and core-seconds a trial (of all its processes) stand beside the rate.

`python tests/benchmarks/throughput.py [ROUNDS [TRIALS]]`
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import TypeVar

from machine import Accounts, await_quiet, others
from mlflow import MlflowClient
from recipes import SPACE, WORKERS, Plain, save
from searched import searched

HERE = Path(__file__).parent
AUTOOPT = Path(sys.executable).with_name("autoopt")
TUTORIAL_EVERY, TRIES = 6, 3
Result = TypeVar("Result")
QUIET = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class Leg:
    """One search, or what stands for it."""

    trials: int
    seconds: float
    core_seconds: float
    accuracy: float
    disturbed: float

    @property
    def rate(self) -> float:
        """Trials a minute."""
        return 60 * self.trials / self.seconds

    @property
    def cost(self) -> float:
        """Core-milliseconds a trial."""
        return 1e3 * self.core_seconds / self.trials

    def said(self) -> str:
        told = f"{self.trials} trials, mean accuracy {self.accuracy:.3f}; others had {self.disturbed:.0%} of the cores"
        return f"{self.rate:6.1f} trials/min {self.cost:7.1f} core-ms a trial   {told}"


def autoopt(root: Path, trials: int, seed: int, store: Path | None, *settings: str) -> tuple[Leg, list[Plain]]:
    """One search by the command, as anybody would call it, and the recipes that it has trained."""
    folder = Path(tempfile.mkdtemp(dir=root))
    if store:
        shutil.copy(store, folder / "mlflow.db")
    overrides = [*SPACE, f"study.trials={trials}", f"executor.workers={WORKERS}", f"seed={seed}", "name=search", *settings]
    await_quiet()
    with others() as disturbed, (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([str(AUTOOPT), "search", *overrides], cwd=folder, env=os.environ | QUIET, stdout=log, stderr=log)
        with Accounts(process.pid) as accounts:
            if process.wait():
                raise SystemExit((folder / "log.txt").read_text())
    search = searched(folder / "autoopt-runs" / "search")
    spent = sum(accounts.between(search.start.timestamp(), search.end.timestamp()).values())
    accuracy = mean(record.score or 0 for record in search.records)
    return Leg(trials, search.seconds, spent, accuracy, disturbed.share), [Plain.of(record.recipe) for record in search.records]


def script(root: Path, name: str, recipes: Sequence[Plain], store: Path) -> Leg:
    """Another way to train these recipes."""
    folder = Path(tempfile.mkdtemp(dir=root))
    shutil.copy(store, folder / "mlflow.db")
    save(folder / "recipes.json", recipes)
    await_quiet()
    with others() as disturbed:
        command = [sys.executable, str(HERE / f"{name}.py"), str(folder)]
        done = subprocess.run(command, cwd=folder, env=os.environ | QUIET, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Leg(**json.loads(done.stdout.splitlines()[-1]), disturbed=disturbed.share)


def undisturbed(run: Callable[[], Result], leg_of: Callable[[Result], Leg]) -> Result:
    """The result of a leg of which others took a tenth of the cores at most, or the best of three."""
    results: list[Result] = []
    while len(results) < TRIES and (not results or leg_of(results[-1]).disturbed > 0.1):
        results.append(run())
    return min(results, key=lambda result: leg_of(result).disturbed)


def main() -> None:
    rounds, trials = [*map(int, sys.argv[1:]), *(3, 240)[len(sys.argv) - 1 :]]
    found: dict[str, list[float]] = defaultdict(list)

    def note(name: str, leg: Leg, against: Mapping[str, Leg]) -> None:
        print(f"  {name:<22} {leg.said()}", flush=True)
        found[f"{name}, trials/min"].append(leg.rate)
        found[f"{name}, core-ms a trial"].append(leg.cost)
        for other, legs in against.items():
            found[f"{name} / {other}, by rate"].append(leg.rate / legs.rate)
            found[f"{name} / {other}, by core-seconds"].append(legs.cost / leg.cost)

    with tempfile.TemporaryDirectory() as name:
        root, store = Path(name), Path(name) / "mlflow.db"
        MlflowClient(f"sqlite:///{store}").search_experiments()
        ways: dict[str, tuple[Path | None, list[str]]] = {
            "fresh store": (None, []),
            "store exists": (store, []),
            "no tracking": (None, ["tracking.enabled=false"]),
        }
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", flush=True)
            for way, (kept, settings) in ways.items():
                search, recipes = undisturbed(partial(autoopt, root, trials, number, kept, *settings), lambda found: found[0])
                limit = undisturbed(partial(script, root, "bare", recipes, store), lambda leg: leg)
                against = {"limit": limit}
                note("limit (bare loop)", limit, {})
                if way == "fresh store":
                    against["tutorials"] = undisturbed(partial(script, root, "tutorial", recipes[::TUTORIAL_EVERY], store), lambda leg: leg)
                    note("tutorials", against["tutorials"], {"limit": limit})
                note(f"autoopt, {way}", search, against)
    print(f"medians of {rounds} rounds (least to most)")
    for what, values in found.items():
        form = "7.2f" if "/ " in what else "7.1f"
        print(f"  {what:<56} {median(values):{form}} ({min(values):{form}} to {max(values):{form}})")


if __name__ == "__main__":
    main()
