"""Writes a study into an MLflow store anew, from its folder alone."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from autoopt.records.journal import Journal, record_of
from autoopt.records.journal_file import StoreError
from autoopt.records.record import BASELINE, Record
from autoopt.records.stages import STORED
from autoopt.records.stored import Stored
from autoopt.study.mirror import UNFINISHED, Mirror, about_search
from autoopt.study.publish import conclusion_of
from autoopt.tracking import Records, experiment_name, store_uri, write_spool
from autoopt.tracking.spool import Destination, spool_name

SOURCE = {"mlflow.source.name": "autoopt search", "mlflow.source.type": "LOCAL"}
SHOWN = ("verdict.yaml", "best", "report.html", "comparison.md", "comparison.csv", "comparison.tex")
"""The files of a concluded study that are artifacts of its run."""


def rebuild_mirror(study: Stored, uri: str | None = None) -> Destination:
    """Write all runs of a study into a store, and return where they are; runs that the store has already get what they lack.

    Args:
        uri: the store; else that of the study.

    Raises:
        StoreError: the store cannot be reached, or refuses records; or the study's folder cannot be written, or has no room.
    """
    node = study.config["tracking"]
    target = Destination(known_name(study.path), store_uri(uri or node["uri"]), experiment_name(node["experiment"], study.name))
    try:
        with TemporaryDirectory(prefix=".mirror.", dir=study.path) as scratch:
            records = Records(Path(scratch), target)
            replay(study, records)
            if lost := records.close():
                raise StoreError(f"{study.path} has no room for {lost} records of {study.name}: MLflow got none")
            if problem := write_spool(Path(scratch), target):
                raise StoreError(f"MLflow lacks records of {study.name}: {problem}")
    except OSError as error:
        raise StoreError(f"{study.path} cannot be written: {error.strerror or error}") from error
    return target


def known_name(path: Path) -> str:
    """The name under which a store knows the study's runs: that of its spool, or without a spool one of the study's own."""
    space = path / "space.yaml"
    return spool_name(path) or hashlib.sha256(f"{space.stat().st_mtime_ns} ".encode() + space.read_bytes()).hexdigest()[:32]


def replay(study: Stored, tracker: Records) -> None:
    """Tell a tracker all that the folder knows of the study, with the times at which it happened."""
    ended = sorted(ended_trials(study), key=lambda pair: pair[1])
    begin, end = min(end - record.seconds for record, end in ended), ended[-1][1]
    columns = study.locked.get("columns", ())  # which studies of earlier versions lack
    about = about_search(study.name, study.config, study.goal.first, columns, study.locked.get("examples", ""), SOURCE)
    mirror = Mirror(tracker, about, next((record.point for record, _ in ended if record.key == BASELINE), None), time=begin)
    for record, end_of_trial in ended:
        mirror.take(record, end_of_trial)
    if study.verdict is None:
        tracker.conclude("KILLED", {}, UNFINISHED, time=end)
    else:
        artifacts = [path for name in SHOWN if (path := study.path / name).exists()]
        told = (study.path / "verdict.yaml").stat().st_mtime
        mirror.conclude(replace(conclusion_of(study.verdict, artifacts, study.path / "best"), time=told))


def ended_trials(study: Stored) -> Iterator[tuple[Record, float]]:
    """The records of all stages, each with the time of its end, in seconds since 1970."""
    journal = Journal(study.path / "journal.log", study.name, write=False)
    for stage in STORED:
        for trial in journal.trials(stage):
            if trial.datetime_complete is not None and (record := record_of(trial.user_attrs)) is not None:
                yield record, trial.datetime_complete.timestamp()
