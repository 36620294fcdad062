"""Reading studies that are on disk: nothing here writes, and a running search is not disturbed."""

from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from autoopt.config import Tree, as_overrides, from_file
from autoopt.errors import BadInput, nearest
from autoopt.study.folder import ROOT, contents, spoilt
from autoopt.study.intact import check_journal
from autoopt.study.journal import Journal
from autoopt.study.record import Record
from autoopt.study.stages import SEARCH, STORED
from autoopt.study.verdict import Verdict, read_verdict


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
        """Whether it is a search; what `autoopt train` leaves has no journal."""
        return (self.path / "journal.log").exists()

    @property
    def state(self) -> str:
        """concluded, trained or begun; only the study's own process knows whether it runs."""
        if self.verdict:
            return "concluded"
        return "begun" if self.searched or not (self.path / "best").exists() else "trained"

    @property
    def direction(self) -> str:
        """maximize or minimize: of the first objective, as it was settled."""
        return str(contents(self.path / "space.yaml", ["direction"])["direction"]).split()[0]

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
    """The names of the studies in a folder, sorted."""
    return sorted(p.parent.name for p in Path(root or ROOT).glob("*/space.yaml"))


def open_stored(name: str, root: str | None) -> Stored:
    """A study by its name.

    Raises:
        BadInput: there is no study of this name, or one of its files is spoilt.
    """
    path = Path(root or ROOT) / name
    if not (path / "space.yaml").exists():
        raise BadInput(f"No study named '{name}' in {root or ROOT}/. {nearest(name, names(root))}")
    journal = Journal(path / "journal.log", name, write=False)
    check_journal(path, journal.trials(SEARCH))
    config = contents(path / "config.yaml", ["study.trials", "tracking"])
    return Stored(path, config, {stage.name: journal.records(stage) for stage in STORED}, verdict_in(path))


def verdict_in(path: Path) -> Verdict | None:
    """The verdict in a study's folder, where it is concluded.

    Raises:
        BadInput: its file is spoilt.
    """
    file = path / "verdict.yaml"
    try:
        return read_verdict(contents(file, NEEDED)) if file.exists() else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise spoilt(file, "is not as it was written") from error


def recipe_overrides(reference: str, root: str | None) -> list[str]:
    """The overrides of a recipe that is given as a file, as a study's name (its best recipe) or as `NAME/17`.

    Raises:
        BadInput: there is no such file, study or trial, or the study has no winner yet.
    """
    if Path(reference).is_file():
        return from_file(reference)
    name, _, key = reference.partition("/")
    study = open_stored(name, root)
    if key:
        return as_overrides(dict(study.record(key).recipe))
    best = study.path / "best" / "recipe.yaml"
    if not best.exists():
        raise BadInput(f"{name} has no winner yet; give recipe={name}/TRIAL, or resume its search")
    return from_file(str(best))
