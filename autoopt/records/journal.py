"""The study's journal: each of its stages as an Optuna study, whose trials carry their records."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoopt.distributions import silent
from autoopt.goal import Goal
from autoopt.records.journal_file import CREATE_STUDY, CREATE_TRIAL, SET_TRIAL_USER_ATTR, JournalFile, uncollected
from autoopt.records.record import Record
from autoopt.records.stages import Stage

RECORD = "autoopt"
CONTINUES = "continues"
"""The attribute of a trial that goes on where a stopped one ended: the number of that."""
OPTUNA_STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


class Journal:
    """The memory of a study, in `journal.log`: the trials of each stage, begun and ended, with their records.

    Args:
        direction: maximize or minimize, of the score of trials that no strategy proposed.
        write: open for writing; else the file is not changed.

    Raises:
        StoreError: the file is damaged, or cannot be written.
    """

    def __init__(self, path: Path, name: str, direction: str = "maximize", write: bool = True):
        self.file = JournalFile(path, write)
        self.storage = JournalStorage(self.file)
        self.name, self.direction = name, direction
        self._studies: dict[str, optuna.Study] = {}
        self._records: dict[str, dict[int, Record]] = {}

    def records(self, stage: Stage) -> list[Record]:
        """The records of the trials that have ended, in their order."""
        known = self._known(stage)
        return [known[number] for number in sorted(known)]

    def latest(self, stage: Stage) -> dict[str, Record]:
        """The last record of each key: a training that failed may have been begun again under its key."""
        return {record.key: record for record in self.records(stage)}

    def _known(self, stage: Stage) -> dict[int, Record]:
        """The records by number: read once, since nobody else writes to the file."""
        if stage.name not in self._records:
            those = ((trial.number, record_of(trial.user_attrs)) for trial in self.trials(stage))
            self._records[stage.name] = {number: record for number, record in those if record is not None}
        return self._records[stage.name]

    def _keep(self, stage: Stage, trial: int) -> None:
        """Have the record that was just written to a trial, as it is read, among the known ones."""
        written = self.storage.get_trial(trial)
        record = record_of(written.user_attrs)
        assert record is not None
        self._known(stage)[written.number] = record

    def trials(self, stage: Stage) -> list[FrozenTrial]:
        """The trials of a stage as Optuna has them: the running ones too."""
        return self._study(stage).get_trials(deepcopy=False) if self._has(stage) else []

    def continued(self, stage: Stage) -> dict[int, int]:
        """The numbers of the stopped trials that others continue, by the numbers of those."""
        return {trial.number: trial.user_attrs[CONTINUES] for trial in self.trials(stage) if CONTINUES in trial.user_attrs}

    def begin(
        self,
        stage: Stage,
        goal: Goal,
        values: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        continues: int | None = None,
    ) -> None:
        """Begin the next trial of a searched stage with these values.

        Args:
            continues: the number of the stopped trial that goes on.
        """
        study, attributes = self._study(stage, goal), {} if continues is None else {CONTINUES: continues}
        running = create_trial(state=TrialState.RUNNING, params=dict(values), distributions=dict(distributions), user_attrs=attributes)
        self._create(study, running)

    def end(self, stage: Stage, goal: Goal, number: int, record: Record) -> None:
        """Write a record, then end its trial for Optuna; on return both are on the disk.

        With its record a trial has ended: if the process dies before Optuna knows, `mend` tells it.

        Raises:
            StoreError: the journal cannot be written.
        """
        study = self._study(stage, goal)
        trial = self.storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        self.storage.set_trial_user_attr(trial, RECORD, asdict(record))
        self._keep(stage, trial)
        self._end(trial, goal, record)

    def mend(self, stage: Stage, goal: Goal) -> None:
        """End the trials that have their record already, but whose session died before it had ended them.

        Raises:
            StoreError: the journal cannot be written.
        """
        for trial in self.trials(stage):
            if not trial.state.is_finished() and (record := record_of(trial.user_attrs)) is not None:
                self._end(trial._trial_id, goal, record)

    def _end(self, trial: int, goal: Goal, record: Record) -> None:
        state, scores = ended(goal, record)
        for epoch, value in record.curve(goal.first.name).items():  # no sampler needs them: Optuna's dashboard draws them
            self.storage.set_trial_intermediate_value(trial, epoch, value)
        self.storage.set_trial_state_values(trial, state, scores)
        self.file.sync()

    def take(
        self, stage: Stage, goal: Goal, values: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], record: Record
    ) -> None:
        """Write a trial of a searched stage that has ended in another study, in one step.

        Raises:
            StoreError: the journal cannot be written.
        """
        state, scores = ended(goal, record)
        trial = create_trial(
            state=state,
            values=scores and list(scores),
            params=dict(values),
            distributions=dict(distributions),
            user_attrs={RECORD: asdict(record)},
            intermediate_values=record.curve(goal.first.name),
        )
        self._keep(stage, self._create(self._study(stage, goal), trial))
        self.file.sync()

    def drop(self, stage: Stage, goal: Goal, number: int) -> None:
        """End a trial that cannot run again; it has no record."""
        study = self._study(stage, goal)
        trial = self.storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        self.storage.set_trial_state_values(trial, TrialState.FAIL)

    def add(self, stage: Stage, record: Record) -> None:
        """Write the record of a trial that no strategy proposed; on return it is on the disk.

        Raises:
            StoreError: the journal cannot be written.
        """
        value = record.score if record.state == "complete" else None
        state = TrialState.COMPLETE if value is not None else TrialState.FAIL
        trial = create_trial(state=state, value=value, user_attrs={RECORD: asdict(record)})
        self._keep(stage, self._create(self._study(stage), trial))
        self.file.sync()

    def close(self) -> None:
        self.file.close()

    def _create(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Write a trial, and return its id; `Study.add_trial` would not."""
        return self.storage.create_new_trial(study._study_id, trial)

    def _study(self, stage: Stage, goal: Goal | None = None) -> optuna.Study:
        """The stage's Optuna study, created if it does not exist yet; opening an existing study writes nothing."""
        if stage.name not in self._studies:
            name, pruner = self._title(stage), optuna.pruners.NopPruner()
            directions = goal.directions if goal else [self.direction]
            with silent():
                self._studies[stage.name] = (
                    optuna.load_study(study_name=name, storage=self.storage, pruner=pruner)
                    if self._has(stage)
                    else optuna.create_study(study_name=name, storage=self.storage, directions=directions, pruner=pruner)  # type: ignore[arg-type]
                )
        return self._studies[stage.name]

    def _has(self, stage: Stage) -> bool:
        return stage.name in self._studies or self._title(stage) in optuna.get_all_study_names(self.storage)

    def _title(self, stage: Stage) -> str:
        return f"{self.name}/{stage.name}"


@uncollected()
def stored_records(path: Path, name: str) -> tuple[dict[str, list[Record]], int]:
    """The records of a study's trials that have ended, by stage, in their order; and how many trials it has begun. Nothing is written.

    They are read straight from the lines: Optuna would parse a distribution of every value of every trial for them.

    Raises:
        StoreError: the file is damaged.
    """
    owners: list[str] = []
    trials: list[dict[str, Any]] = []
    for log in JournalFile(path, write=False, brief=True).logs:
        kind = log.get("op_code")
        if kind == CREATE_STUDY:
            owners.append(log["study_name"].rpartition("/")[0])
        elif kind == CREATE_TRIAL:
            trials.append({"owner": owners[log["study_id"]], **(log.get("user_attrs") or {})})
        elif kind == SET_TRIAL_USER_ATTR:
            trials[log["trial_id"]].update(log["user_attr"])
    stages: defaultdict[str, list[Record]] = defaultdict(list)
    own = [trial for trial in trials if trial["owner"] == name]
    for record in filter(None, map(record_of, own)):
        stages[record.stage].append(record)
    return stages, len(own)


def record_of(attributes: Mapping[str, Any]) -> Record | None:
    """The record among the attributes of a trial; None before it has ended. What a later version has added to it is left out."""
    if RECORD not in attributes:
        return None
    kept = attributes[RECORD]
    return Record(**{field.name: kept[field.name] for field in fields(Record) if field.name in kept})


def ended(goal: Goal, record: Record) -> tuple[TrialState, tuple[float, ...] | None]:
    """How Optuna has a trial that has ended, with its scores: a complete trial without a score has failed."""
    scores = goal.scores(record) if record.state == "complete" else None
    return OPTUNA_STATES["failed" if record.state == "complete" and scores is None else record.state], scores
