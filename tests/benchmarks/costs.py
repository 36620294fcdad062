"""Where the processors' time goes in a search, and how much memory its processes take (digits, two workers).

Short trials (mlp, 20 epochs) and long ones (cnn, three core-seconds or more). The kernel's accounts of the supervisor,
the template, the trials and the MLflow writer over the stage of the search; the supervisor's own time taken apart
(timed_search.py); the writer's fixed part (imports, opening or making the store) measured on an empty study.

`python tests/benchmarks/costs.py [SHORT_TRIALS [LONG_TRIALS]]`
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from machine import CORES, Accounts, await_quiet, others, ours
from mlflow import MlflowClient
from recipes import SPACE, WORKERS
from searched import Searched, searched

from autoopt.tracking import Tracker

HERE = Path(__file__).parent
LONG = [
    *("data=digits", "model=cnn", "model.cnn.width=interval(32,48)", "model.cnn.depth=3", "model.cnn.convolution=full"),
    *("activation=keep", "initializer=keep", "augmentation=none", "regularizer=none", "loss=cross_entropy", "device=cpu"),
    *("optimizer=sgd,momentum,adam,adamw", "schedule=cosine", "batches.size=64", "study.epochs=40"),
    *("study.stopping=false", "study.confirm=1", "study.seeds=1"),
]


def opening(folder: Path) -> float:
    """Core-seconds of the writer for a study of no trials."""
    folder.mkdir(exist_ok=True)
    before = ours()
    tracker = Tracker(folder, uri=f"sqlite:///{folder / 'mlflow.db'}", experiment="empty")
    tracker.study("empty", {}, {})
    if tracker.close(120):
        raise SystemExit("the writer did not finish")
    return ours() - before


def account(title: str, overrides: Sequence[str], trials: int, folder: Path, opened: float) -> None:
    await_quiet()
    parts = folder / "parts.json"
    settings = [f"study.trials={trials}", f"executor.workers={WORKERS}", "name=search"]
    command = [sys.executable, str(HERE / "timed_search.py"), str(parts), "search", *overrides, *settings]
    with others() as disturbed, (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}, stdout=log, stderr=log)
        with Accounts(process.pid) as accounts:
            if process.wait():
                raise SystemExit((folder / "log.txt").read_text())
    search = searched(folder / "autoopt-runs" / "search")
    print(f"{title}: {trials} trials, {search.rate:.1f} a minute; {disturbed.share:.0%} of the cores went to others", flush=True)
    show(search, accounts, json.loads(parts.read_text()), opened)


def show(search: Searched, accounts: Accounts, parts: dict[str, float], opened: float) -> None:
    count, cores = len(search.records), CORES * search.seconds
    spent = accounts.between(search.start.timestamp(), search.end.timestamp())
    training = sum(r.metrics["seconds"] for r in search.records)
    for name, seconds in [*spent.items(), ("nobody of ours", cores - sum(spent.values()))]:
        print(f"  {name:<16} {1e3 * seconds / count:7.1f} ms a trial   {seconds / cores:6.1%} of the cores")
    taken = sum(r.seconds for r in search.records)
    print(f"  a place is taken for {taken / count:.3f} s a trial, {training / count:.3f} s of them training epochs;", end="")
    print(f" {1 - taken / WORKERS / search.seconds:.1%} of the time it is empty")
    print("  supervisor: " + ", ".join(f"{name} {1e3 * s / count:.2f} ms" for name, s in sorted(parts.items(), key=lambda p: -p[1])))
    whole = accounts.samples[-1][1]
    bookkeeping = parts["journal"] + parts["mirror (spool)"]
    share = (bookkeeping + whole["writer"]) / whole["trials"]
    print(f"  MLflow and journal: {share:.2%} of the processor time of trials of {spent['trials'] / count:.2f} core-seconds,", end="")
    print(f" {share - opened / whole['trials']:.2%} without the writer's start ({opened:.2f} s of {whole['writer']:.2f} s)")
    print("  peak memory, MB: " + ", ".join(f"{name} {size:.0f}" for name, size in accounts.peaks.items()), flush=True)


def main() -> None:
    short, long = [*map(int, sys.argv[1:]), *(240, 40)[len(sys.argv) - 1 :]]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    with tempfile.TemporaryDirectory() as name:
        root, store = Path(name), Path(name) / "mlflow.db"
        await_quiet()
        fresh = opening(root / "fresh")
        MlflowClient(f"sqlite:///{store}").search_experiments()
        for number, (title, overrides, trials) in enumerate((("short trials", SPACE, short), ("long trials", LONG, long))):
            for empty in ("empty", "study"):
                (root / f"{empty}-{number}").mkdir()
                shutil.copy(store, root / f"{empty}-{number}")
            opened = opening(root / f"empty-{number}")
            account(title, overrides, trials, root / f"study-{number}", opened)
        print(f"the writer's start: {opened:.2f} core-seconds where the store exists, {fresh:.2f} where it has to be made")


if __name__ == "__main__":
    main()
