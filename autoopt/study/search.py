"""A search from its config to its verdict: the stages in their order."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import Any

from autoopt.config import Tree, compose, is_live, seconds
from autoopt.errors import BadInput, NotConcluded
from autoopt.executor.local import Local
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.compress import STAGE as COMPRESS
from autoopt.study.compress import compress
from autoopt.study.confirm import STAGE as CONFIRM
from autoopt.study.confirm import TEST, confirm, how_many, open_test
from autoopt.study.explore import BASELINE, STAGE, explore
from autoopt.study.export import Advice, export
from autoopt.study.folder import Folder, write
from autoopt.study.graph import write_graph
from autoopt.study.journal import Journal, Record
from autoopt.study.mirror import Mirror
from autoopt.study.objective import Objective
from autoopt.study.preflight import preflight
from autoopt.study.runner import Nobody, Runner, Screen
from autoopt.study.verdict import Verdict, conclude
from autoopt.tracking import Tracker, experiment_name, store_uri

CONFIRM_SHARE, COMPRESS_SHARE = 0.175, 0.2  # of the time


@dataclass
class Opened:
    """A study whose space and objective are settled, with its processes running."""

    tree: Tree
    folder: Folder
    runner: Runner
    space: Space
    objective: Objective
    facts: dict[str, Any]


@contextmanager
def opened(tree: Tree, screen: Screen, settle: bool = True, alone: bool = False) -> Iterator[Opened]:
    """Lock the study's folder, warm the executor, and settle by a preflight what works here.

    Args:
        settle: write down which study this is.
        alone: try the baseline only.

    Raises:
        BadInput: nothing can be searched this way.
    """
    baseline = own_baseline(tree)  # bad settings are said before anything starts
    if tree["tracking"]["enabled"]:
        store_uri(tree["tracking"]["uri"])
    folder = Folder(tree)
    executor = None
    try:
        screen.say(f"{folder.name}: warming up (log: {folder.path / 'template.log'})")
        try:
            executor = local(tree, folder.path)
            facts = executor.facts
        except BadInput:  # told in whole; its log says no more
            folder.vanish()
            raise
        folder.same_data(facts["examples"])
        if changed := folder.changed_code(facts["sources"]):
            words = f"{', '.join(changed)}: its file has changed since {folder.name} was begun"
            screen.say(f"{words}; trials before and after may not compare, and name= begins another study")
        runner = Runner(executor, folder, screen, Nobody(), executor.workers)
        with runner.signals():
            for note in facts["notes"]:
                screen.say(note)
            tree = {**tree, "objective": tree["objective"] or facts["objective"]}
            fitting = Space(tree).fitting(facts["absent"])
            space, objective = recalled(fitting, folder.locked) if folder.locked else preflight(fitting, runner, tree, baseline, alone)
            if settle:
                announce(space, objective, screen)
            runner.objective = screen.objective = objective
            if settle:
                folder.settle(space, objective, facts)
            yield Opened(tree, folder, runner, space, objective, facts)
    finally:
        if executor is not None:
            executor.close()
        folder.close()


def recalled(space: Space, locked: dict[str, Any]) -> tuple[Space, Objective]:
    """The space and the objective as they were settled when the study was begun."""
    for key, reason in locked["left_out"].items():
        slot, name = key.split("/")
        if name in space.tree[slot]:
            space = space.without(slot, name, reason, broken=key in locked["quarantined"])
    return replace(space, unfit=locked.get("unfit", {})), Objective(locked["objective"], locked["direction"])


def announce(space: Space, objective: Objective, screen: Screen) -> None:
    """What is optimised, and what was left out: by name where that is in order, with its reason where something is broken."""
    screen.say(f"objective: {objective.direction} {objective.name}")
    if fine := [key for key in space.dropped if key not in space.broken]:
        screen.say(f"left out: {', '.join(fine)} (autoopt plan says why)")
    for key in sorted(space.broken):
        screen.say(f"quarantined: {key}: {space.dropped[key]}")


def local(tree: Tree, folder: Path) -> Local:
    """The executor that the config names, on the GPUs that there are."""
    node = tree["executor"]
    gpus = visible_gpus() if {"auto", "cuda"} & tree["device"].keys() else []
    devices = max((n["devices"] for n in tree["device"].values() if isinstance(n.get("devices"), int)), default=1)
    if gpus and devices > len(gpus):
        raise BadInput(f"devices={devices}, but the GPUs there are: {', '.join(gpus)}")
    gpus_per_trial = max(node["gpus_per_trial"], devices) if devices > 1 else node["gpus_per_trial"]
    room = len(gpus) / gpus_per_trial if gpus else cores() / max(devices, node["cpus_per_trial"])
    workers = node["workers"] or max(1, int(room))
    return Local(
        {"tree": tree},
        folder,
        workers=workers,
        trial_time=seconds(node["trial_time"]),
        gpus=gpus,
        gpus_per_trial=gpus_per_trial,
        cpus_per_trial=node["cpus_per_trial"],
        fork=is_live(tree),
    )


def cores() -> float:
    """How many this process may use: those that it may run on, within the quota of its control group."""
    free = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with suppress(OSError, ValueError):  # none, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        free = min(free, int(quota) / int(period))
    return free


def visible_gpus() -> list[str]:
    """The NVIDIA devices that a trial may be given, told without starting CUDA."""
    if version("torch").endswith("+cpu"):
        return []
    if (said := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return list(takewhile(lambda gpu: gpu not in ("", "-1"), said.split(",")))
    count = sum(1 for _ in Path("/dev").glob("nvidia[0-9]*"))
    return [str(number) for number in range(count)]  # CUDA counts what it sees: a container's only one may be nvidia3


def own_baseline(tree: Tree) -> Recipe | None:
    """The recipe that `baseline=FILE` names, on the study's own data, split and epochs."""
    if tree["baseline"] is None:
        return None
    found = Space(compose([], tree["baseline"]))
    if open_choices := [key for key, _ in found.parameters()]:
        raise BadInput(f"baseline={tree['baseline']}: a recipe leaves nothing to choose, but {open_choices[0]} is open")
    study = Space(tree).baseline()
    return found.baseline().replace(**{key: study.tree[key] for key in ("data", "split", "study")})


def search(tree: Tree, screen: Screen, asking: bool = True) -> Verdict:
    """Run the study, or what is left of it, to its verdict.

    Args:
        asking: ask for new trials; else conclude with those that there are.

    Raises:
        BadInput: nothing can be searched this way; nothing was started.
        Interrupted: a signal came; the same call goes on.
    """
    start = time.time()
    with opened(tree, screen) as study:
        journal = Journal(study.folder.path / "journal.log", study.folder.name, study.objective.direction)
        study.runner.mirror = mirror = mirrored(study, journal)
        behind = 0
        try:
            verdict = stages(study, journal, start, asking)
            mirror.conclude(verdict, study.folder.path)
            return verdict
        finally:
            journal.close()
            behind = mirror.close()
            if behind:
                log = study.folder.path / "tracking.log"
                screen.say(f"MLflow has not got {behind} records yet; the next run of this command writes them (log: {log})")


def mirrored(study: Opened, journal: Journal) -> Mirror | Nobody:
    node = study.tree["tracking"]
    if not node["enabled"]:
        return Nobody()
    tracker = Tracker(study.folder.path, uri=store_uri(node["uri"]), experiment=experiment_name(node["experiment"], study.folder.name))
    baseline = next((r.score for r in journal.records(STAGE) if r.key == BASELINE), None)
    params = {
        "objective": study.objective.name,
        "data": ",".join(study.tree["data"]),
        "trials": study.tree["study"]["trials"],
        "epochs": study.tree["study"]["epochs"],
    }
    commit = {"mlflow.source.git.commit": found} if (found := git_commit()) else {}
    source = {"mlflow.source.name": "autoopt search", "mlflow.source.type": "LOCAL"}
    tags = {"autoopt.version": version("autoopt"), "autoopt.state": "running", **source, **commit}
    data = {"name": params["data"], "digest": study.facts["examples"]} if study.facts["examples"] else None
    return Mirror(tracker, study.folder.name, tags, params, study.objective, baseline, data)


def git_commit() -> str:
    """The commit of the working directory, where it is under git."""
    try:
        return subprocess.run(["git", "rev-parse", "--verify", "-q", "HEAD"], capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def stages(study: Opened, journal: Journal, start: float, asking: bool) -> Verdict:
    """Explore, compress, confirm, conclude."""
    tree, runner, objective = study.tree, study.runner, study.objective
    node, seed = tree["study"], tree["seed"]
    limit = (seconds(node["time"]) or float("inf")) if asking else -float("inf")
    used = sum(r.seconds for stage in (STAGE, COMPRESS) for r in journal.records(stage)) / runner.workers  # by earlier sessions
    until = start + limit * (1 - CONFIRM_SHARE) - used
    sooner = start + limit * (1 - CONFIRM_SHARE - COMPRESS_SHARE) - used
    explore(runner, journal, study.space, objective, own_baseline(tree), seed, sooner if tree["compression"] else until, node["stopping"])
    found = journal.records(STAGE)
    top = how_many(len(found), node["seeds"], node["confirm"])
    compressed = compress(runner, journal, study.space, objective, top, seed, until)
    always = any(n.get("use") is True for n in tree["compression"].values())
    pool = [r for r in found if r.key == BASELINE or not always] + compressed
    confirmed = confirm(runner, journal, objective, pool, node["seeds"], top, seed)
    baseline = next((c for c in confirmed if c.key == BASELINE), None)
    if baseline is None:
        raise NotConcluded(f"the baseline cannot be confirmed: {why(journal.records(CONFIRM))} (logs: {study.folder.path / 'trials'})")
    pair = [baseline] if confirmed[0] is baseline else [baseline, confirmed[0]]
    if study.facts["test"]:
        pair = open_test(runner, journal, pair)
        if any(len(c.test) < len(c.validation) for c in pair):
            raise NotConcluded(f"the test split cannot be measured: {why(journal.records(TEST))} (logs: {study.folder.path / 'trials'})")
    verdict = conclude(study.folder, objective, (pair[0], pair[-1]), journal, study.space)
    write(study.folder.path / "verdict.yaml", verdict.yaml())
    best = verdict.best
    text = Advice(study.folder.name, verdict.conclusion(), objective.name, verdict.score(best))
    export(study.folder.path / "best", best.recipe, study.folder.weights(best.validation[0].key), study.facts, text)
    write_graph(runner, study.folder.path / "best", best.recipe)
    return verdict


def why(records: list[Record]) -> str:
    """How the last of them failed."""
    failed = [r for r in records if r.state == "failed"]
    return f"{failed[-1].reason}: {failed[-1].detail}" if failed else "it was not measured"
