"""What MLflow is told of a study, in the words that people look for there."""

import time
from pathlib import Path
from typing import Any

from autoopt.recipe import Recipe
from autoopt.study.objective import Objective
from autoopt.study.runner import Job, Result
from autoopt.study.verdict import Verdict
from autoopt.tracking import Tracker

STATUS = {"complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
SHORT = ("lr", "weight_decay")


class Nobody:
    """Tracking switched off."""

    def begin(self, job: Job) -> None: ...
    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> None: ...
    def end(self, result: Result) -> None: ...
    def conclude(self, verdict: Verdict, folder: Path) -> None: ...
    def close(self) -> int:
        return 0


class Mirror:
    """One parent run for the study, one child for each trial; every epoch is a point."""

    def __init__(
        self, tracker: Tracker, name: str, tags: dict[str, str], params: dict[str, Any], objective: Objective, baseline: float | None
    ):
        self.tracker, self.name, self.objective, self.baseline = tracker, name, objective, baseline
        tracker.study(name, params, {"autoopt.study": name, **tags})

    def begin(self, job: Job) -> None:
        number = job.key.zfill(3) if job.key.isdigit() else job.key
        tags = {"autoopt.study": self.name, "autoopt.stage": job.stage, "autoopt.state": "running"}
        self.tracker.trial(job.key, f"{number} {job.recipe.title()}", parameters(job.recipe), tags)

    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> None:
        self.tracker.epoch(job.key, epoch, metrics, time.time())

    def end(self, result: Result) -> None:
        outcome, score = result.outcome or {}, result.score
        metrics = dict(outcome.get("metrics", {}))
        if score is not None:
            if result.job.key == "0":
                self.baseline = score
            metrics["objective"] = score
            if self.baseline is not None and result.job.stage != "test":
                metrics["gain"] = self.objective.sign * (score - self.baseline)
        tags = {"autoopt.state": result.state} | (
            {"autoopt.reason": result.reason, "autoopt.detail": result.detail} if result.reason else {}
        )
        self.tracker.end(result.job.key, STATUS[result.state], metrics, tags)

    def conclude(self, verdict: Verdict, folder: Path) -> None:
        low, high = verdict.interval
        metrics = {"gain": verdict.gain, "gain_low": low, "gain_high": high, "objective": verdict.score(verdict.best)}
        self.tracker.note(f"**{verdict.conclusion()}**\n\n```yaml\n{verdict.best.recipe.yaml()}```\n")
        self.tracker.artifacts(folder / "verdict.yaml")
        self.tracker.artifacts(folder / "best")
        self.tracker.conclude("FINISHED", metrics, {"autoopt.state": "concluded", "autoopt.winner": verdict.winner.key})

    def close(self) -> int:
        return self.tracker.close()


def parameters(recipe: Recipe) -> dict[str, Any]:
    """The techniques by slot, the short names that one filters by, and every value under its dotted key."""
    flat = recipe.flat()
    short = {
        key.rpartition(".")[2]: value for key, value in flat.items() if key.rpartition(".")[2] in SHORT and key.startswith("optimizer.")
    }
    return {**recipe.names(), **short, "batch_size": recipe.tree["batches"]["size"], **flat}
