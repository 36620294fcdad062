"""A study mirrored to MLflow, under the names that people look for there."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autoopt.config import Tree
from autoopt.goal import Goal, Objective
from autoopt.orders import Measure
from autoopt.recipe import Recipe
from autoopt.study.folder import Folder
from autoopt.study.journal import Journal
from autoopt.study.record import BASELINE
from autoopt.study.runner import Job, Listener, NoListener, Result
from autoopt.study.stages import SEARCH
from autoopt.tracking import Tracker, experiment_name, store_uri

STATUS = {"complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
SHORT = ("lr", "weight_decay")
CHANGING = ("trials",)  # stored as tags, since a parameter in MLflow never changes
MEASURED_IN_TRAINING = ("epochs_trained", "seconds", "samples_per_second", "peak_memory_mb", "peak_gpu_memory_mb", "parameters", "size_mb")


class Mirror:
    """A parent run for the study and a child run for each trial; every epoch is a point of its curves."""

    def __init__(
        self,
        tracker: Tracker,
        name: str,
        tags: dict[str, str],
        params: dict[str, Any],
        objective: Objective,
        baseline: float | None,
        data: dict[str, str] | None = None,
    ):
        self.tracker, self.name, self.objective, self.baseline = tracker, name, objective, baseline
        self.live: dict[str, None] = {}
        self.concluded = False
        budget = {f"autoopt.{key}": params[key] for key in CHANGING if key in params}
        tracker.study(name, {k: v for k, v in params.items() if k not in CHANGING}, {"autoopt.study": name, **budget, **tags}, data)

    def begin(self, job: Job) -> None:
        self.live[job.key] = None
        number = job.key.zfill(3) if job.key.isdigit() else job.key
        tags = {"autoopt.study": self.name, "autoopt.stage": job.stage.name, "autoopt.state": "running"}
        self.tracker.trial(job.key, f"{number} {job.recipe.title()}", parameters(job.recipe), tags)

    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> None:
        self.tracker.epoch(job.key, epoch, metrics, time.time())

    def end(self, result: Result) -> None:
        key, order, last = result.job.key, result.job.order, result.last
        measured = dict(result.outcome.metrics) if result.outcome else {}
        metrics = {name: value for name, value in measured.items() if value != last.get(name)}
        if isinstance(order, Measure):  # belongs to the run of the training
            self.tracker.end(order.weights, STATUS[result.state], {k: v for k, v in metrics.items() if k not in MEASURED_IN_TRAINING}, {})
            return
        self.live.pop(key, None)
        if result.outcome and (changed := {name: metrics.pop(name) for name in last if name in metrics}):  # by a compression
            self.tracker.epoch(key, result.outcome.epochs + 1, changed, time.time())
        if (score := result.score) is not None:
            self.baseline = score if key == BASELINE else self.baseline
            metrics |= {"objective": score}
            metrics |= {} if self.baseline is None else {"gain": self.objective.gain(score, self.baseline)}
        why = {"autoopt.reason": result.problem.reason, "autoopt.detail": result.problem.line} if result.problem else {}
        self.tracker.end(key, STATUS[result.state], metrics, {"autoopt.state": result.state, **why})

    def conclude(self, note: str, metrics: Mapping[str, float], tags: Mapping[str, str], artifacts: Sequence[Path]) -> None:
        self.concluded = True
        self.tracker.note(note)
        for path in artifacts:
            self.tracker.artifacts(path)
        self.tracker.conclude("FINISHED", metrics, tags)

    def close(self) -> int:
        """End the runs that were cut short, let the writer finish, and return how many records MLflow still lacks."""
        unfinished = {"autoopt.state": "unfinished"}
        for key in self.live:
            self.tracker.end(key, "KILLED", {}, unfinished)
        if not self.concluded:
            self.tracker.conclude("KILLED", {}, unfinished)
        return self.tracker.close()


def listener(tree: Tree, folder: Folder, goal: Goal, journal: Journal, facts: Mapping[str, Any]) -> Listener:
    """MLflow's mirror of a study, or a listener that does nothing where tracking is off."""
    node = tree["tracking"]
    if not node["enabled"]:
        return NoListener()
    tracker = Tracker(folder.path, uri=store_uri(node["uri"]), experiment=experiment_name(node["experiment"], folder.name))
    baseline = next((r.score for r in journal.records(SEARCH) if r.key == BASELINE), None)
    params = {
        "objective": goal.first.name,
        "data": ",".join(tree["data"]),
        "trials": tree["study"]["trials"],
        "epochs": tree["study"]["epochs"],
    }
    commit = {"mlflow.source.git.commit": digits} if (digits := git_commit()) else {}
    source = {"mlflow.source.name": "autoopt search", "mlflow.source.type": "LOCAL"}
    tags = {"autoopt.version": version("autoopt"), "autoopt.state": "running", **source, **commit}
    data = {"name": params["data"], "digest": facts["examples"]} if facts["examples"] else None
    return Mirror(tracker, folder.name, tags, params, goal.first, baseline, data)


def git_commit() -> str:
    """The commit of the working directory, where it is under git."""
    try:
        return subprocess.run(["git", "rev-parse", "--verify", "-q", "HEAD"], capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def parameters(recipe: Recipe) -> dict[str, Any]:
    """The techniques by slot, short names to filter by, and every value under its dotted key."""
    flat = recipe.flat()
    short = {
        key.rpartition(".")[2]: value for key, value in flat.items() if key.rpartition(".")[2] in SHORT and key.startswith("optimizer.")
    }
    return {**recipe.names(), **short, "batch_size": recipe.tree["batches"]["size"], **flat}
