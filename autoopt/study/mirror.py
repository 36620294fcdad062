"""What MLflow is told of a study, in the words that people look for there."""

import time
from pathlib import Path
from typing import Any

from autoopt.recipe import Recipe
from autoopt.study.confirm import TEST
from autoopt.study.explore import BASELINE
from autoopt.study.objective import Objective
from autoopt.study.runner import Job, Result
from autoopt.study.verdict import Verdict
from autoopt.tracking import Tracker

STATUS = {"complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
SHORT = ("lr", "weight_decay")
CHANGING = ("trials",)  # a parameter in MLflow never does
MEASURED_IN_TRAINING = ("epochs_trained", "seconds", "samples_per_second", "peak_memory_mb", "peak_gpu_memory_mb", "parameters", "size_mb")


class Mirror:
    """One parent run for the study, one child for each trial; every epoch is a point."""

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
        if job.stage == TEST:  # measured on a run that is there: the training's
            return
        self.live[job.key] = None
        number = job.key.zfill(3) if job.key.isdigit() else job.key
        tags = {"autoopt.study": self.name, "autoopt.stage": job.stage, "autoopt.state": "running"}
        self.tracker.trial(job.key, f"{number} {job.recipe.title()}", parameters(job.recipe), tags)

    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> None:
        self.tracker.epoch(job.key, epoch, metrics, time.time())

    def end(self, result: Result) -> None:
        key, outcome = result.job.key.removesuffix(f"-{TEST}"), result.outcome or {}
        metrics = {name: value for name, value in outcome.get("metrics", {}).items() if value != result.last.get(name)}
        if result.job.stage == TEST:
            self.tracker.end(key, STATUS[result.state], {k: v for k, v in metrics.items() if k not in MEASURED_IN_TRAINING}, {})
            return
        self.live.pop(key, None)
        if changed := {name: metrics.pop(name) for name in result.last if name in metrics}:  # since the last epoch, by a compression
            self.tracker.epoch(key, outcome["epochs"] + 1, changed, time.time())
        if (score := result.score) is not None:
            self.baseline = score if key == BASELINE else self.baseline
            metrics |= {"objective": score}
            metrics |= {} if self.baseline is None else {"gain": self.objective.sign * (score - self.baseline)}
        why = {"autoopt.reason": result.reason, "autoopt.detail": result.detail} if result.reason else {}
        self.tracker.end(key, STATUS[result.state], metrics, {"autoopt.state": result.state, **why})

    def conclude(self, verdict: Verdict, folder: Path) -> None:
        self.concluded = True
        low, high = verdict.interval
        metrics = {"gain": verdict.gain, "gain_low": low, "gain_high": high, "objective": verdict.score(verdict.best)}
        self.tracker.note(f"**{verdict.conclusion()}**\n\n```yaml\n{verdict.best.recipe.yaml()}```\n")
        self.tracker.artifacts(folder / "verdict.yaml")
        self.tracker.artifacts(folder / "best")
        self.tracker.conclude("FINISHED", metrics, {"autoopt.state": "concluded", "autoopt.winner": verdict.winner.key})

    def close(self) -> int:
        """Say of what was cut short that it runs no more, and let the writer finish."""
        unfinished = {"autoopt.state": "unfinished"}
        for key in self.live:
            self.tracker.end(key, "KILLED", {}, unfinished)
        if not self.concluded:
            self.tracker.conclude("KILLED", {}, unfinished)
        return self.tracker.close()


def parameters(recipe: Recipe) -> dict[str, Any]:
    """The techniques by slot, the short names that one filters by, and every value under its dotted key."""
    flat = recipe.flat()
    short = {
        key.rpartition(".")[2]: value for key, value in flat.items() if key.rpartition(".")[2] in SHORT and key.startswith("optimizer.")
    }
    return {**recipe.names(), **short, "batch_size": recipe.tree["batches"]["size"], **flat}
