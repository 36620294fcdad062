"""A study's folder: its lock, the identity of the study, and its settled space."""

import fcntl
import hashlib
import json
import os
import shlex
from binascii import crc32
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from socket import gethostname
from typing import Any

import yaml

from autoopt.config import Tree, trusting, yaml_file
from autoopt.errors import BadInput, one_line
from autoopt.process import system
from autoopt.records.differences import altered, differences, versions
from autoopt.records.journal_file import StoreError
from autoopt.records.run_fields import searched_parameters
from autoopt.records.settled import Settled
from autoopt.slots import SLOTS
from autoopt.tracking.spool import redacted, secrets

ROOT = "autoopt-runs"
FORMAT = 4
"""The version of space.yaml, of the journal and of what a recipe means; a study of another version is read, but not gone on with."""
IDENTITY = (*SLOTS, "split", "seed", "objective", "direction", "metrics")
SETTLED = ("identity", "objective", "direction", "part", "left_out", "quarantined", "unfit")
"""The keys of space.yaml that a study cannot go on without."""
LATER = (("scale_lr", "none"),)
"""Settings of the batches that earlier versions had not, at their defaults: with these a study is that of an earlier version."""
READING = ("cache", "workers", "prefetch")
"""Settings of how batches are read, which do not change the batches."""


def study_identity(tree: Tree) -> Tree:
    """The settings that a study keeps, with the order of its options; budget, executor and tracking may change."""
    baseline = tree["baseline"] and yaml_file.mapping(tree["baseline"])
    batches = {key: value for key, value in tree["batches"].items() if key not in READING and (key, value) not in LATER}
    trainer = {key: value for key, value in tree["trainer"].items() if value is not None}
    study = {key: tree["study"][key] for key in ("epochs", "value") if tree["study"][key] != "last"}
    study |= {"compare": slot} if (slot := tree["study"]["compare"]) else {}
    beside = {"batches": batches, "baseline": baseline, "study": study}
    given = {"trainer": trainer, "constraints": tree["constraints"]}  # a study without them is that of an earlier version
    return {key: tree[key] for key in IDENTITY} | beside | {key: node for key, node in given.items() if node}


def reference(path: Path, trial: str = "") -> str:
    """A study, or one of its trials as in `NAME/17`, as the arguments of other commands name it."""
    name = f"{path.name}/{trial}" if trial else path.name
    return name if path.parent == Path(ROOT) else f"{name} {shlex.quote(f'root={path.parent}')}"


def default_name(tree: Tree) -> str:
    """A name from the data, the model and the study's identity, such as `digits-cnn-835f0d`."""
    digest = hashlib.sha256(json.dumps(study_identity(tree)).encode()).hexdigest()[:6]
    return f"{'+'.join(tree['data'])}-{'+'.join(tree['model'])}-{digest}"


def name_of(tree: Tree) -> str:
    return tree["name"] or default_name(tree)


def is_begun(path: Path) -> bool:
    """Whether a study's folder has its settled space."""
    return os.path.exists(path / "space.yaml")  # which raises nothing, as the method of a path may


def derived_seed(seed: int, key: str) -> int:
    """The seed of a key, derived from the study's seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:4], "big") // 2


class Folder:
    """`root/name/`, locked while a search runs in it.

    Args:
        searched: it is for a search, and not for a single training.

    Raises:
        BadInput: another process searches in it, it holds another study, or it cannot be written.
    """

    def __init__(self, tree: Tree, searched: bool = True):
        self.name = name_of(tree)
        self.path = Path(tree["root"]) / self.name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise BadInput(f"root={tree['root']}: {self.path} cannot be written: {error.strerror}") from error
        self.tree, self.identity, self.searched = tree, study_identity(tree), searched
        try:
            self.hold()
            self.compare()
        except BadInput:
            self.close()
            raise

    @property
    def finish(self) -> str:
        """The command that concludes the study."""
        return f"autoopt finish {reference(self.path)}{trusting(self.tree)}"

    def ways_on(self) -> str:
        """What an interrupted search has left, and how to go on."""
        if not (self.path / "journal.log").exists():
            return "nothing was tried yet; the same command begins again"
        return f"the same command resumes, `{self.finish}` concludes with the trials so far"

    def hold(self) -> None:
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if system.trials_here:
                asked = "what its own processes import begins it again: put the call under if __name__ == '__main__':"
                raise BadInput(f"{self.name} is being searched, and {asked}") from error
            process, _, host = os.pread(self.lock, 300, 0).decode().strip().partition(" ")
            owner = process if host in ("", gethostname()) else f"{process} on {host}"
            raise BadInput(f"{self.name} is being searched by process {owner}; wait for it, or give this search another name=") from error
        except OSError as error:
            remedy = "give a root= on another file system"
            raise BadInput(f"root={self.path.parent}: {self.path / 'lock'} cannot be locked ({error.strerror}): {remedy}") from error
        with suppress(OSError):  # the lock holds without the number, which a full disk does not take
            os.ftruncate(self.lock, 0)
            os.pwrite(self.lock, f"{os.getpid()} {gethostname()}".encode(), 0)

    @property
    def locked(self) -> dict[str, Any] | None:
        """The contents of space.yaml, settled when the study began and never changed; None before."""
        path = self.path / "space.yaml"
        return contents(path, ()) if path.exists() else None

    def compare(self) -> None:
        """Raise BadInput if the folder holds another study, or a study of another version."""
        before = self.locked
        if before is not None and before.get("format") != FORMAT:
            began = f"{self.name} was begun by another version of autoopt, whose trials cannot stand beside those of this one"
            raise BadInput(f"{began}: give this search another name=, or go on with that version")
        if before is not None:
            contents(self.path / "space.yaml", SETTLED)
            if before.get("searched", True) != self.searched:  # each would overwrite best/ of the other
                raise BadInput(f"{self.name} is a {'single training' if self.searched else 'search'}; give another name=")
        changes = [] if before is None else list(differences(before["identity"], self.identity))
        if changes:
            ways = f"give it another name=, or leave name= out, or repeat the settings of {self.path / 'config.yaml'}"
            raise BadInput(*(f"{self.name} was begun with {change}" for change in changes), f"A study keeps its space: {ways}.")

    def same_data(self, examples: str) -> None:
        """Raise BadInput if the study in this folder was begun with other examples."""
        before = (self.locked or {}).get("examples", examples)
        if before != examples:
            raise BadInput(f"the data of {self.name} has changed since it was begun: put it back, or give this search another name=")

    def changed_code(self, sources: Mapping[str, str]) -> list[str]:
        """The user's own techniques whose files have changed since the study began."""
        return altered((self.locked or {}).get("sources", {}), sources)

    def settle(self, settled: Settled, facts: Mapping[str, Any]) -> None:
        """Write config.yaml and, when the study begins, space.yaml."""
        node = self.tree["tracking"]
        kept = {**self.tree, "name": self.name, "tracking": {**node, "uri": node["uri"] and redacted(node["uri"], secrets(node["uri"]))}}
        replace_file(self.path / "config.yaml", yaml_file.written(kept), mode=0o600)
        if self.locked is None:
            space, goal = settled.space, settled.goal
            locked = {
                "format": FORMAT,
                "searched": self.searched,
                "identity": self.identity,
                "techniques": dict(versions(self.tree)),
                "objective": " ".join(objective.name for objective in goal.objectives),
                "direction": " ".join(goal.directions),
                "constraints": {bound.metric.name: [bound.metric.direction, bound.limit] for bound in goal.bounds},
                "part": settled.part,
                "untested": settled.untested,
                "left_out": dict(space.dropped),
                "quarantined": sorted(space.broken),
                "columns": searched_parameters(space),  # of the leaderboard in MLflow
                "unfit": {model: dict(reasons) for model, reasons in space.unfit.items()},
                **{key: facts[key] for key in ("examples", "sources")},
            }
            replace_file(self.path / "space.yaml", summed(yaml_file.written(locked)))

    def vanish(self) -> None:
        """Delete the files of a study that could not begin: its lock and the first log, and its folders if they are empty."""
        if self.locked is None:
            for name in ("lock", "template.log"):
                (self.path / name).unlink(missing_ok=True)
            with suppress(OSError):  # the folder holds other files
                self.path.rmdir()
                self.path.parent.rmdir()

    def close(self) -> None:
        os.close(self.lock)


def replace_file(path: Path, text: str, mode: int = 0o666) -> None:
    """Replace a file in one step, so that a crash leaves the old file or the new file.

    Args:
        mode: its permissions, before the user's umask.

    Raises:
        StoreError: the file cannot be written; the old file stays.
    """
    draft = path.with_suffix(f"{path.suffix}.new")
    try:
        draft.unlink(missing_ok=True)  # it may have other permissions
        draft.touch(mode)
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error


REMEDIES = dict.fromkeys(("space.yaml", "start.yaml"), "restore it from a backup, or give the search another name=")
"""What to do where a file of a study is spoilt; the others are written again by the same command."""
SUM = "# crc32 "
"""Begins the first line of a file that only its study writes; the checksum is of the rest."""


def summed(text: str) -> str:
    """A text under its checksum."""
    return f"{SUM}{crc32(text.encode())}\n{text}"


def contents(path: Path, needed: Collection[str]) -> dict[str, Any]:
    """The mapping in one of a study's YAML files.

    Args:
        needed: the keys that it has if it is whole; `a.b` is a key of the mapping under `a`.

    Raises:
        BadInput: the file is cut, empty, or another.
    """
    tree = parsed(path)
    if not isinstance(tree, dict):
        raise spoilt(path, "is empty" if tree is None else "is not as it was written")
    require(path, tree, needed)
    return tree


def require(path: Path, tree: Mapping[str, Any], needed: Collection[str]) -> None:
    """Raise BadInput where one of a study's YAML files lacks a key; `a.b` is a key of the mapping under `a`."""
    for key in needed:
        node: Any = tree
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                raise spoilt(path, f"lacks {key}")
            node = node[part]


def parsed(path: Path) -> Any:
    """What is written in one of a study's YAML files.

    Raises:
        BadInput: the file cannot be read, or has changed since the study wrote it.
    """
    try:
        text = path.read_bytes().decode()
        first, _, rest = text.partition("\n")
        if first.startswith(SUM) and first != f"{SUM}{crc32(rest.encode())}":
            raise spoilt(path, "is not as it was written")
        return yaml_file.read(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise spoilt(path, f"cannot be read ({one_line(error):.80})") from error


def spoilt(path: Path, seen: str) -> BadInput:
    return BadInput(f"{path} {seen}: {REMEDIES.get(path.name, 'the same search command writes it again')}")
