"""Reading studies that are on disk: nothing here writes, and a running search is not disturbed."""

import os
from dataclasses import MISSING, dataclass, fields, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from socket import gethostname
from typing import Any

from autoopt.config import Tree, as_overrides, from_file
from autoopt.errors import BadInput, nearest
from autoopt.goal import Goal
from autoopt.records.folder import ROOT, contents, is_begun, require, spoilt
from autoopt.records.intact import check_journal
from autoopt.records.journal import stored_records
from autoopt.records.record import BASELINE, Record
from autoopt.records.settled import settled_goal
from autoopt.records.stages import SEARCH, STORED
from autoopt.records.verdict import Verdict, read_verdict
from autoopt.tracking.spool import is_locked


@dataclass(frozen=True)
class Stored:
    """A study as read from its folder: its records by stage, and its verdict where it is concluded."""

    path: Path
    config: Tree
    records: dict[str, list[Record]]
    verdict: Verdict | None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def searched(self) -> bool:
        """Whether it is a search, and not what `autoopt train` leaves."""
        return bool(self.locked.get("searched", True))

    @property
    def state(self) -> str:
        """running, concluded, trained (by `autoopt train`), interrupted (the same command goes on), or unknown: of another host."""
        if in_use(self.path):
            return "running"
        if self.verdict:
            return "concluded"
        if not self.searched and (self.path / "best").exists():
            return "trained"
        return "interrupted" if died(self.path) else "unknown"

    @property
    def changed(self) -> datetime:
        """When the study last went on."""
        paths = [path for name in ("space.yaml", "journal.log", "verdict.yaml") if (path := self.path / name).exists()]
        return datetime.fromtimestamp(max(path.stat().st_mtime for path in paths)).astimezone()

    @property
    def direction(self) -> str:
        """maximize or minimize: of the first objective, as it was settled."""
        return self.goal.first.direction

    @cached_property
    def locked(self) -> dict[str, Any]:
        """What was settled when the study began."""
        return contents(self.path / "space.yaml", ())

    @cached_property
    def goal(self) -> Goal:
        """The objectives and bounds, as they were settled."""
        require(self.path / "space.yaml", self.locked, ["objective", "direction"])
        return settled_goal(self.locked, self.config["study"].get("value") == "best")

    @property
    def baseline(self) -> Record | None:
        """Trial 0, if it has ended."""
        return next((r for r in self.records[SEARCH.name] if r.key == BASELINE), None)

    def record(self, key: str) -> Record:
        """The record of one trial.

        Raises:
            BadInput: no finished trial has this key.
        """
        known = {r.key: r for records in self.records.values() for r in records}
        if key not in known:
            raise BadInput(f"{self.name} has no finished trial {key}. {nearest(key, known)}")
        return known[key]


NEEDED = (*(f.name for f in fields(Verdict) if f.default is MISSING and f.default_factory is MISSING), "better")
"""What a verdict.yaml has, whichever version wrote it; the last of these ends it."""


def names(root: str | None) -> list[str]:
    """The names of the studies in a folder, sorted.

    Raises:
        BadInput: the folder is there, but cannot be read.
    """
    folder = Path(root or ROOT)
    try:
        return sorted(name for name in os.listdir(folder) if is_begun(folder / name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise BadInput(f"root={folder} cannot be read: {error.strerror}") from error


def in_use(path: Path) -> bool:
    """Whether a search on this host holds the lock of a study; locks of another host may not be seen here."""
    return is_locked(path / "lock")


def died(path: Path) -> bool:
    """Whether the process that searched in a study is known to be gone: it was on this host, and holds the lock no more."""
    return not in_use(path) and last_host(path) in ("", gethostname())


def last_host(path: Path) -> str:
    """The host that last searched in a study; empty where it is not known."""
    try:
        return (path / "lock").read_text(encoding="utf-8").partition(" ")[2].strip()
    except (OSError, ValueError):
        return ""


def study_path(name: str, root: str | None) -> Path:
    """The folder of a study.

    Raises:
        BadInput: there is no study of this name.
    """
    path = Path(root or ROOT) / name
    if not is_begun(path):
        raise BadInput(f"No study named '{name}' in {root or ROOT}/. {nearest(name, names(root))}")
    return path


def open_stored(name: str, root: str | None) -> Stored:
    """A study by its name.

    Raises:
        BadInput: there is no study of this name, or one of its files is spoilt.
    """
    path = study_path(name, root)
    records, begun = stored_records(path / "journal.log", path.name)
    config = contents(path / "config.yaml", ["study.trials", "tracking"])
    stored = Stored(path, config, {stage.name: records.get(stage.name, []) for stage in STORED}, verdict_in(path))
    if not begun and stored.searched:
        check_journal(path)
    return stored


def verdict_in(path: Path) -> Verdict | None:
    """The verdict in a study's folder, where it is concluded.

    Raises:
        BadInput: its file is spoilt.
    """
    file = path / "verdict.yaml"
    try:
        return replace(read_verdict(contents(file, NEEDED)), folder=str(path)) if file.exists() else None  # which may have been moved
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise spoilt(file, "is not as it was written") from error


def recipe_overrides(reference: str, root: str | None) -> list[str]:
    """The overrides of a recipe that is given as a file, as a study's name (its best recipe) or as `NAME/17`.

    Raises:
        BadInput: there is no such file, study or trial, or the study has no winner yet.
    """
    if os.path.isfile(reference):
        return from_file(reference)
    if Path(reference).suffix in (".yaml", ".yml"):
        raise BadInput(f"{reference}: there is no such file")
    name, _, key = reference.partition("/")
    if not name:
        raise BadInput(f"'{reference}' is neither a file nor the name of a study")
    study = open_stored(name, root)
    if key:
        return as_overrides(dict(study.record(key).recipe))
    best = study.path / "best" / "recipe.yaml"
    if not best.exists():
        raise BadInput(f"{name} has no winner yet; give recipe={name}/TRIAL, or resume its search")
    return from_file(str(best))
