"""A study mirrored to MLflow, under the names that people look for there."""

import subprocess
import time as clock
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from getpass import getuser
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autoopt.config import Tree
from autoopt.errors import BadInput
from autoopt.goal import Objective
from autoopt.recipe import Recipe
from autoopt.records.folder import Folder
from autoopt.records.journal import Journal
from autoopt.records.record import BASELINE, Record
from autoopt.records.run_fields import (
    compressed_metrics,
    epoch_rows,
    final_metrics,
    for_charts,
    measured_on_test,
    parameters,
    run_name,
    searched_parameters,
    training_of,
)
from autoopt.records.settled import Settled
from autoopt.records.stages import SEARCH, STAGES, TEST
from autoopt.records.stored import verdict_in
from autoopt.records.verdict import Side
from autoopt.report.differences import recipe_differences
from autoopt.study.conclusion import Conclusion
from autoopt.study.jobs import Job, Result
from autoopt.study.runner import Listener, NoListener
from autoopt.tracking import Records, Tracker, experiment_name, store_uri
from autoopt.tracking.spool import NOTE, PARENT

STATUS = {"complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
CHANGING = ("trials",)  # stored as tags, since a parameter in MLflow never changes
UNFINISHED = {"autoopt.state": "unfinished"}


@dataclass(frozen=True)
class About:
    """What the study's own run tells of it; `trials`, which a longer search changes, becomes a tag.

    Args:
        view: the arguments of the study's leaderboard; a training has none.
    """

    name: str
    role: str
    objective: Objective
    params: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] | None = None
    view: Mapping[str, Any] | None = None

    def begin(self, tracker: Records, more: Mapping[str, Any], time: float | None = None) -> None:
        """Begin the study's own run, with further parameters."""
        params = {key: value for key, value in self.params.items() if key not in CHANGING}
        budget = {f"autoopt.{key}": self.params[key] for key in CHANGING if key in self.params}
        tags = {"autoopt.role": self.role, "autoopt.study": self.name, "autoopt.state": "running", **budget, **self.tags}
        tracker.study(self.name, {**params, **more}, tags, self.data, self.view, time)


class Mirror:
    """A run for the study and a child run for each trial; every epoch is a point of its curves.

    In all runs `objective` is its value on the validation part, and in those of trials `gain` compares it with trial 0.

    Args:
        baseline: the recipe of trial 0, where that has ended in an earlier session.
        scores: of the trials that have ended in earlier sessions, by their keys.
        winner: the trial that an earlier verdict of the study marked.
        time: when the study began; else now.
    """

    def __init__(
        self,
        tracker: Records,
        about: About,
        baseline: Recipe | None = None,
        scores: Mapping[str, float] | None = None,
        winner: Side | None = None,
        time: float | None = None,
    ):
        self.tracker, self.name, self.objective, self.winner = tracker, about.name, about.objective, winner
        self.live: dict[str, None] = {}
        self.baseline = baseline
        before = scores or {}
        self.baseline_score = before.get(BASELINE)
        self.early = dict(before) if self.baseline_score is None else {}
        """The scores of the trials that ended before the baseline did."""
        self.concluded = False
        about.begin(tracker, {}, time)

    def begin(self, job: Job) -> None:
        self.begun(job.key, job.stage.name, job.recipe)

    def begun(self, key: str, stage: str, recipe: Recipe, time: float | None = None) -> None:
        self.live[key] = None
        if key == BASELINE:
            self.baseline = recipe
        tags = {"autoopt.study": self.name, "autoopt.stage": stage, "autoopt.state": "running", **self.note(recipe)}
        self.tracker.trial(key, run_name(key, recipe.title()), parameters(recipe), tags, time)

    def note(self, recipe: Recipe) -> dict[str, str]:
        """The description of a run: what its recipe has other than the baseline, once that is known."""
        if self.baseline is None:
            return {}
        same = recipe == self.baseline
        return {NOTE: "the baseline" if same else f"beside the baseline: {recipe_differences(recipe, self.baseline)}"}

    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> None:
        self.tracker.epoch(job.key, epoch, metrics, clock.time())

    def end(self, result: Result) -> None:
        self.ended(result.record(), clock.time())

    def take(self, record: Record, end: float | None = None) -> None:
        """Tell of a trial that has ended before, here or in another study; its epochs are taken as equally long.

        Args:
            end: when; else now.
        """
        end = clock.time() if end is None else end
        if STAGES[record.stage].tracked:
            begin, epochs = end - record.seconds, list(epoch_rows(record.curves))
            self.begun(record.key, record.stage, record.point, begin)
            for place, (epoch, metrics) in enumerate(epochs, 1):
                self.tracker.epoch(record.key, epoch, metrics, begin + record.seconds * place / len(epochs))
        self.ended(record, end)

    def ended(self, record: Record, time: float) -> None:
        if record.stage == TEST.name:  # belongs to the run of the training
            self.tracker.measured(training_of(record), measured_on_test(record), time)
            return
        key = record.key
        self.live.pop(key, None)
        if changed := compressed_metrics(record):
            self.tracker.epoch(key, record.epochs + 1, changed, time)
        metrics = final_metrics(record) | self._compared(key, record.score, time) | for_charts(record)
        why = {"autoopt.reason": record.reason, "autoopt.detail": record.detail} if record.reason else {}
        origin = {"autoopt.origin": record.origin} if record.origin else {}
        self.tracker.end(key, STATUS[record.state], metrics, {"autoopt.state": record.state, **why, **origin}, time)

    def _compared(self, key: str, score: float | None, time: float) -> dict[str, float]:
        """The objective and the gain of a trial; with the baseline, the trials that ended before it get their gains."""
        if score is None:
            return {}
        if key == BASELINE:
            self.baseline_score = score
            for earlier, value in self.early.items():
                self.tracker.measured(earlier, {"gain": self.objective.gain(value, score)}, time)
            self.early.clear()
        if self.baseline_score is None:
            self.early[key] = score
            return {"objective": score}
        return {"objective": score, "gain": self.objective.gain(score, self.baseline_score)}

    def conclude(self, conclusion: Conclusion) -> None:
        if conclusion.best is not None:
            self._mark(conclusion.best)
        conclusion.tell(self.tracker, self.name)
        self.concluded = True

    def _mark(self, best: Side) -> None:
        """Mark the best trial in the name of its run, and unmark that of an earlier verdict."""
        if self.winner is not None and self.winner.trial != best.trial:
            self.tracker.rename(self.winner.trial, run_name(self.winner.trial, self.winner.title))
        self.tracker.rename(best.trial, f"★ {run_name(best.trial, best.title)}")
        self.winner = best

    def close(self) -> int:
        """End the runs that were cut short, let the writer finish, and return how many records MLflow still lacks."""
        for key in self.live:
            self.tracker.end(key, "KILLED", {}, UNFINISHED)
        if not self.concluded:
            self.tracker.conclude("KILLED", {}, UNFINISHED)
        return self.tracker.close()


class TrainingMirror:
    """The single run of `autoopt train`, with its recipe, its curves and its model."""

    def __init__(self, tracker: Records, about: About):
        self.tracker, self.about, self.status = tracker, about, "KILLED"

    def begin(self, job: Job) -> None:
        self.about.begin(self.tracker, parameters(job.recipe))

    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> None:
        self.tracker.epoch(PARENT, epoch, metrics, clock.time())

    def take(self, record: Record) -> None:
        """A training takes none over."""

    def end(self, result: Result) -> None:
        record = result.record()
        if record.stage == TEST.name:
            self.tracker.measured(PARENT, measured_on_test(record))
        elif record.state == "failed":
            self.status = "FAILED"
            why = {"autoopt.state": "failed", "autoopt.reason": record.reason, "autoopt.detail": record.detail}
            self.tracker.conclude(self.status, {}, why)
        else:
            if changed := compressed_metrics(record):
                self.tracker.epoch(PARENT, record.epochs + 1, changed, clock.time())
            self.tracker.measured(PARENT, final_metrics(record) | ({} if record.score is None else {"objective": record.score}))

    def conclude(self, conclusion: Conclusion) -> None:
        conclusion.tell(self.tracker, self.about.name)
        self.status = "FINISHED"

    def close(self) -> int:
        if self.status == "KILLED":
            self.tracker.conclude("KILLED", {}, UNFINISHED)
        return self.tracker.close()


def search_listener(tree: Tree, folder: Folder, settled: Settled, journal: Journal, facts: Mapping[str, Any]) -> Listener:
    """The mirror of a search in MLflow, or a listener that does nothing where tracking is off."""
    if not tree["tracking"]["enabled"]:
        return NoListener()
    records = journal.records(SEARCH)
    scores = {record.key: record.score for record in records if record.score is not None}
    baseline = next((record.point for record in records if record.key == BASELINE), None)
    about = about_search(folder.name, tree, settled.goal.first, searched_parameters(settled.space), facts["examples"], here("search"))
    return Mirror(tracker_of(tree, folder), about, baseline, scores, earlier_best(folder.path))


def training_listener(tree: Tree, folder: Folder, settled: Settled, journal: Journal, facts: Mapping[str, Any]) -> Listener:
    """The run of a training in MLflow, or a listener that does nothing where tracking is off."""
    if not tree["tracking"]["enabled"]:
        return NoListener()
    params = {"objective": settled.goal.first.name, "data": ",".join(tree["data"]), "epochs": tree["study"]["epochs"]}
    about = About(folder.name, "training", settled.goal.first, params, here("train"), dataset_of(tree, facts["examples"]))
    return TrainingMirror(tracker_of(tree, folder), about)


def tracker_of(tree: Tree, folder: Folder) -> Tracker:
    node = tree["tracking"]
    return Tracker(folder.path, uri=store_uri(node["uri"]), experiment=experiment_name(node["experiment"], folder.name))


def about_search(name: str, tree: Tree, objective: Objective, searched: Sequence[str], examples: str, tags: Mapping[str, str]) -> About:
    """What the run of a search tells of it.

    Args:
        searched: the parameters in its leaderboard.
        examples: the digest of the examples; empty where it is unknown.
    """
    study = tree["study"]
    params = {"objective": objective.name, "data": ",".join(tree["data"]), "trials": study["trials"], "epochs": study["epochs"]}
    view = {"name": name, "objective": objective.name, "direction": objective.direction, "searched": list(searched)}
    return About(name, "study", objective, params, tags, dataset_of(tree, examples), view)


def dataset_of(tree: Tree, digest: str) -> dict[str, str] | None:
    return {"name": ",".join(tree["data"]), "digest": digest} if digest else None


def here(command: str) -> dict[str, str]:
    """Who runs the command, in which version and at which commit of the working directory."""
    user = ""
    with suppress(OSError, KeyError):  # a user without a name
        user = getuser()
    known = {"mlflow.user": user, "mlflow.source.git.commit": git_commit()}
    source = {"mlflow.source.name": f"autoopt {command}", "mlflow.source.type": "LOCAL", "autoopt.version": version("autoopt")}
    return source | {key: value for key, value in known.items() if value}


def earlier_best(path: Path) -> Side | None:
    """The side that an earlier verdict of the study advised."""
    with suppress(BadInput):  # a spoilt file, which is written again
        if verdict := verdict_in(path):
            return verdict.best
    return None


def git_commit() -> str:
    """The commit of the working directory, where it is under git."""
    try:
        return subprocess.run(["git", "rev-parse", "--verify", "-q", "HEAD"], capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
