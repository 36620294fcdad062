"""The study's journal: Optuna's log, with one writer, and mended when it is opened."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from autoopt.recipe import Recipe

optuna.logging.set_verbosity(optuna.logging.WARNING)
RECORD = "autoopt"
ENDED = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}
BY_CHOICE = ("nonfinite", "oom_device", "oom_host", "timeout", "plugin", "error")
"""Reasons to fail that lie in what was chosen; the others lie in the machine or the user."""


class StoreError(Exception):
    """What the study keeps cannot be written; nothing that was written is lost."""

    exit_code = 75


class JournalFile(BaseJournalBackend):
    """Optuna's journal format in one file that only this process writes.

    A last line that a crash or a full disk has torn bricks Optuna's own file for good; here it is cut off, and kept
    aside, when the file is opened, and when a write fails. Only what was never acknowledged is lost.

    Args:
        write: open to write; else the file is left as it is, and a torn end is not read.

    Raises:
        StoreError: a line before the last is spoilt; nothing is changed.
    """

    def __init__(self, path: Path, write: bool = True):
        self.path, self.write = path, write
        text = path.read_bytes() if path.exists() else b""
        whole, self.logs = sound(path, text)
        self.file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644) if write else -1
        if write and whole < len(text):
            with path.with_suffix(".torn").open("ab") as aside:
                aside.write(text[whole:].rstrip(b"\n") + b"\n")
            os.ftruncate(self.file, whole)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        size = os.fstat(self.file).st_size
        lines = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        try:
            if os.write(self.file, lines) < len(lines):
                raise OSError("it was written in part")
        except OSError as error:
            os.ftruncate(self.file, size)
            raise StoreError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self.logs.extend(json.loads(line) for line in lines.splitlines())

    def close(self) -> None:
        if self.file >= 0:
            os.fsync(self.file)
            os.close(self.file)


def sound(path: Path, text: bytes) -> tuple[int, list[dict[str, Any]]]:
    """How many bytes of a journal are whole lines, and what they say; its last line may be torn.

    Raises:
        StoreError: another one is spoilt.
    """
    logs: list[dict[str, Any]] = []
    end = 0
    for line in text.split(b"\n")[:-1]:  # what stands after the last one is torn
        if (log := read(line)) is None:
            break
        logs.append(log)
        end += len(line) + 1
    if text[end:].rstrip(b"\n").count(b"\n"):
        raise StoreError(f"{path}, line {len(logs) + 1} (from byte {end} on) is spoilt; nothing was changed: put the file back from a copy")
    return end, logs


def read(line: bytes) -> dict[str, Any] | None:
    """What a line says, if it is a whole record."""
    try:
        log = json.loads(line)
    except ValueError:
        return None
    return log if isinstance(log, dict) else None


def plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's values without the options that their names may end in: `trial(1,3)`."""
    return {name.partition("(")[0]: value for name, value in params.items()}


@dataclass(frozen=True)
class Record:
    """What is kept of a trial. `curve` is the objective after each epoch; `reason` says why it failed.

    `resamples` are the objective on resamples of the test part, which has so many independent `units` (examples or groups).
    """

    key: str
    stage: str
    recipe: Mapping[str, Any]
    seed: int
    state: str  # complete, stopped or failed
    score: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)
    resamples: list[float] = field(default_factory=list)
    units: int = 0
    epochs: int = 0
    seconds: float = 0.0
    reason: str | None = None
    detail: str = ""

    @property
    def point(self) -> Recipe:
        return Recipe(self.recipe)


class Journal:
    """The stages of one study as Optuna studies in one journal; every finished trial has its record."""

    def __init__(self, path: Path, name: str, direction: str = "maximize", write: bool = True):
        self.backend = JournalFile(path, write)
        self.storage = JournalStorage(self.backend)
        self.name, self.direction = name, direction

    def stage(self, stage: str, costs: int = 0) -> optuna.Study:
        """The stage's study, begun where it is not there yet; opening one that is writes nothing.

        Args:
            costs: so many values beside the objective are minimised.
        """
        name, pruner = self.study_name(stage), optuna.pruners.NopPruner()
        if self.begun(stage):
            return optuna.load_study(study_name=name, storage=self.storage, pruner=pruner)
        directions = [self.direction, *["minimize"] * costs]
        return optuna.create_study(study_name=name, storage=self.storage, directions=directions, pruner=pruner)  # type: ignore[arg-type]

    def study_name(self, stage: str) -> str:
        return f"{self.name}/{stage}"

    def begun(self, stage: str) -> bool:
        return self.study_name(stage) in optuna.get_all_study_names(self.storage)

    def records(self, stage: str) -> list[Record]:
        """Of the finished trials, in their order."""
        trials = self.stage(stage).get_trials(deepcopy=False) if self.begun(stage) else []
        return [Record(**t.user_attrs[RECORD]) for t in trials if RECORD in t.user_attrs]

    def repeated(self, stage: str) -> int:
        """How many trials of a stage were like an earlier one, and not run: they have no record."""
        trials = self.stage(stage).get_trials(deepcopy=False)
        return sum(t.state.is_finished() and RECORD not in t.user_attrs for t in trials)

    def tried(self, study: optuna.Study, params: Mapping[str, Any]) -> bool:
        """Whether a trial with these values, whatever else could be drawn then, came to its end, or failed by what was chosen."""
        recorded = (trial for trial in study.get_trials(deepcopy=False) if RECORD in trial.user_attrs)
        ended = (trial for trial in recorded if trial.user_attrs[RECORD]["reason"] in (None, *BY_CHOICE))
        return any(plain(trial.params) == plain(params) for trial in ended)

    def tell(
        self, study: optuna.Study, trial: optuna.Trial, record: Record, costs: Sequence[float | None] = (), silent: bool = False
    ) -> None:
        """Keep a record and end the trial, in this order: a trial that ended has its record.

        A trial that failed by what was chosen for it is told as pruned, which the sampler ranks last: of failed ones it
        would learn nothing, and be drawn to the edge beyond which trainings diverge.

        Args:
            costs: what the stage minimises beside the objective.
            silent: keep it from the sampler, as it is no point of the space: one trial without parameters would end all
                joint sampling, which looks at the parameters that every trial has.

        Raises:
            StoreError: it cannot be written.
        """
        trial.set_user_attr(RECORD, asdict(record))
        if record.state == "stopped":
            trial.report(record.curve[-1], len(record.curve))
        lesson = record.state == "stopped" or record.reason in BY_CHOICE or None in costs
        state = TrialState.FAIL if silent else TrialState.PRUNED if lesson else ENDED[record.state]
        values = [value for value in (record.score, *costs) if value is not None] if state == TrialState.COMPLETE else None
        study.tell(trial, values, state=state)

    def add(self, stage: str, record: Record) -> None:
        """Keep the record of a trial that nobody asked a sampler for."""
        study = self.stage(stage)
        self.tell(study, study.ask(), record)

    def interrupted(self, study: optuna.Study) -> list[FrozenTrial]:
        """The trials that were running when an earlier session died."""
        return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def close(self) -> None:
        self.backend.close()
