"""A search from its config to its verdict: the stages in their order."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autoopt.config import Tree, compose, seconds
from autoopt.errors import BadInput
from autoopt.executor.local import Local
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.compress import compress
from autoopt.study.confirm import BASELINE, confirm, how_many, open_test
from autoopt.study.explore import STAGE, explore
from autoopt.study.export import Advice, export
from autoopt.study.folder import Folder, write
from autoopt.study.journal import Journal, Record
from autoopt.study.mirror import Mirror, Nobody
from autoopt.study.objective import Objective
from autoopt.study.preflight import preflight
from autoopt.study.runner import Runner, Screen
from autoopt.study.verdict import Verdict, conclude
from autoopt.technique import LIVE
from autoopt.tracking import Tracker, experiment_name, store_uri

RESERVE = 0.175  # of the time, for confirm


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
    own_baseline(tree)  # a bad file is said before anything starts
    folder = Folder(tree)
    executor = None
    try:
        screen.say(f"{folder.name}: warming up (log: {folder.path / 'template.log'})")
        executor = local(tree, folder.path)
        facts = executor.facts
        runner = Runner(executor, folder, screen, Nobody(), executor.workers)
        with runner.signals():
            space, objective = preflight(Space(tree).fitting(facts["absent"]), runner, tree, alone)
            if space.dropped:
                screen.say(f"left out: {', '.join(space.dropped)} (autoopt plan says why)")
            runner.objective = screen.objective = objective
            if settle:
                folder.settle()
            yield Opened(tree, folder, runner, space, objective, facts)
    finally:
        if executor is not None:
            executor.close()
        folder.close()


def local(tree: Tree, folder: Path) -> Local:
    """The executor that the config names, on the GPUs that there are."""
    node = tree["executor"]
    gpus = visible_gpus() if {"auto", "cuda"} & tree["device"].keys() else []
    workers = node["workers"] or (max(1, int(len(gpus) / node["gpus_per_trial"])) if gpus else os.cpu_count() or 1)
    return Local(
        {"tree": tree},
        folder,
        workers=workers,
        trial_time=seconds(node["trial_time"]),
        gpus=gpus,
        gpus_per_trial=node["gpus_per_trial"],
        cpus_per_trial=node["cpus_per_trial"],
        fork=bool(LIVE),
    )


def visible_gpus() -> list[str]:
    """The NVIDIA devices that a trial may be given, told without starting CUDA."""
    if (said := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in said.split(",") if gpu]
    return sorted(p.name.removeprefix("nvidia") for p in Path("/dev").glob("nvidia[0-9]*"))


def own_baseline(tree: Tree) -> Recipe | None:
    """The recipe that `baseline=FILE` names."""
    if tree["baseline"] is None:
        return None
    found = Space(compose([], tree["baseline"]))
    if open_choices := [key for key, _ in found.parameters()]:
        raise BadInput(f"baseline={tree['baseline']}: a recipe leaves nothing to choose, but {open_choices[0]} is open")
    return found.baseline()


def search(tree: Tree, screen: Screen) -> Verdict:
    """Run the study, or what is left of it, to its verdict.

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
            verdict = stages(study, journal, start)
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
    params = {"objective": study.objective.name, "trials": study.tree["study"]["trials"], "epochs": study.tree["study"]["epochs"]}
    tags = {"autoopt.version": version("autoopt"), "autoopt.state": "running"}
    return Mirror(tracker, study.folder.name, tags, params, study.objective, baseline)


def stages(study: Opened, journal: Journal, start: float) -> Verdict:
    """Explore, compress, confirm, conclude."""
    tree, runner, objective = study.tree, study.runner, study.objective
    node, seed = tree["study"], tree["seed"]
    top = how_many(node["trials"], node["seeds"], node["confirm"])
    limit = seconds(node["time"])
    until = start + limit * (1 - RESERVE) if limit else float("inf")
    explore(runner, journal, study.space, objective, own_baseline(tree), seed, until, node["stopping"])
    compressed = compress(runner, journal, study.space, objective, top, seed)
    found = journal.records(STAGE)
    always = any(n.get("use") is True for n in tree["compression"].values())
    pool = [r for r in found if r.key == BASELINE or not always] + compressed
    confirmed = confirm(runner, journal, objective, pool, node["seeds"], top, seed)
    baseline = next((c for c in confirmed if c.key == BASELINE), None)
    if baseline is None:
        raise BadInput(f"the baseline cannot be confirmed: {why(journal, found)} (logs: {study.folder.path / 'trials'})")
    pair = open_test(runner, journal, [baseline] if confirmed[0] is baseline else [baseline, confirmed[0]])
    trained = len(journal.records("confirm"))
    records = [*found, *compressed]
    verdict = conclude(
        study.folder.name,
        objective,
        pair[0],
        pair[-1],
        records,
        trained,
        spent(records, journal),
        study.space.dropped,
        str(study.folder.path),
    )
    write(study.folder.path / "verdict.yaml", verdict.yaml())
    best = verdict.best
    text = Advice(study.folder.name, verdict.conclusion(), objective.name, verdict.score(best))
    export(study.folder.path / "best", best.recipe, study.folder.weights(best.validation[0].key), study.facts, text)
    return verdict


def why(journal: Journal, found: list[Record]) -> str:
    failed = [r for r in [*found, *journal.records("confirm")] if r.key.split("-")[0] == BASELINE and r.state == "failed"]
    return f"{failed[-1].reason}: {failed[-1].detail}" if failed else "it was never trained to its end"


def spent(records: list[Record], journal: Journal) -> float:
    """Seconds of all trials, confirm's too."""
    return sum(r.seconds for r in [*records, *journal.records("confirm"), *journal.records("test")])
