"""A search from its config to its verdict: warm up, settle the space, and go through the stages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path

from autoopt.config import Tree, seconds
from autoopt.errors import BadInput
from autoopt.executor import Executor
from autoopt.records.folder import is_begun, name_of
from autoopt.records.intact import check_journal, check_recipes
from autoopt.records.journal import Journal
from autoopt.records.settled import Settled
from autoopt.records.stages import SEARCH, STORED
from autoopt.records.stored import study_path
from autoopt.records.verdict import Verdict
from autoopt.space import Space
from autoopt.study.budget import Budget
from autoopt.study.compare import best_of_options, compare
from autoopt.study.compress import compress
from autoopt.study.confirm import planned, share_of
from autoopt.study.decide import decide
from autoopt.study.explain import explain
from autoopt.study.explore import explore, given_first, start
from autoopt.study.mirror import search_listener
from autoopt.study.publish import publish
from autoopt.study.runner import Listener, Screen
from autoopt.study.study import Study
from autoopt.study.successor import predecessor
from autoopt.study.warm import Warm, warm
from autoopt.tracking.spool import LOG


@contextmanager
def open_study(ready: Warm, settled: Settled, asking: bool, listener: Callable[..., Listener]) -> Iterator[Study]:
    """The study with its journal, its budget and its mirror; at the end the journal is closed and MLflow is written.

    Args:
        listener: makes the mirror.
    """
    folder, screen, first = ready.folder, ready.runner.screen, settled.goal.first
    journal = Journal(folder.path / "journal.log", folder.name, first.direction, write=folder.searched)  # a training has none
    try:
        check_recipes([record for stage in STORED for record in journal.records(stage)], Space.of(ready.tree), ready.baseline)
        budget = budget_of(ready, settled, journal, asking)
        mirror = listener(ready.tree, folder, settled, journal, ready.facts)
        screen.goal = settled.goal
        runner = replace(ready.runner, goal=settled.goal, listener=mirror, elapsed=lambda: budget.elapsed)
        try:
            tests = ready.facts["test"] and not settled.untested
            rest = (settled.space, settled.goal, ready.baseline, ready.facts, settled.part, tests)
            yield Study(ready.tree, folder, runner, journal, budget, *rest)
        finally:
            if behind := mirror.close():
                why = last_line(folder.path / LOG)
                screen.say(f"MLflow lacks {behind} records so far; the next run of this command tries again ({why})")
    finally:
        journal.close()


def last_line(log: Path) -> str:
    """The end of a log, and where the rest is."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return f"log: {log}{f', which ends with: {lines[-1]:.300}' if lines else ''}"


def budget_of(ready: Warm, settled: Settled, journal: Journal, asking: bool) -> Budget:
    spent = max((r.elapsed for stage in STORED for r in journal.records(stage)), default=0.0)
    return Budget(
        limit=seconds(ready.tree["study"]["time"]) or inf,
        clock=ready.runner.executor.now,
        start=ready.start,
        spent=spent,
        compressing=bool(settled.space.options["compression"]),
        asking=asking,
        ablating=ready.tree["study"]["ablation"],
    )


def search(tree: Tree, screen: Screen, executor: Executor | None = None, asking: bool = True) -> Verdict:
    """Run a study, or the rest of it, to its verdict.

    Args:
        executor: where the trials run; else the one that the config names.
        asking: begin new trials; else conclude with the trials so far.

    Raises:
        BadInput: nothing can be searched with this config; nothing was started.
        NotConcluded: it ran, but there is nothing to conclude from; the trained models are kept.
        Interrupted: a signal came; the same call resumes.
    """
    check_lenders(tree)
    with warm(tree, screen, executor) as ready:
        predecessor(tree, ready.folder, ready.facts)  # what other studies cannot lend is told before anything is tried
        if ready.folder.locked is None:
            start(tree, ready.space.without_compression())
        with open_study(ready, ready.begin(), asking, search_listener) as study:
            if not study.journal.trials(SEARCH):
                check_journal(study.folder.path)
            explore(study)
            compress(study, top=most_confirmed(study))
            options = best_of_options(study) if study.settings["compare"] else None
            comparison = None if options is None else compare(study, options)
            verdict = replace(explain(study, decide(study, options)), comparison=comparison)
            publish(study, verdict)
            return verdict


def check_lenders(tree: Tree) -> None:
    """Look for the studies and the files that this one is to learn from, before anything is warmed up.

    Raises:
        BadInput: one does not exist, or is this study.
    """
    if lender := tree["study"]["from"]:
        if lender == name_of(tree):
            raise BadInput(f"study.from={lender} is this study itself: give the successor another name=")
        study_path(lender, tree["root"])
    if tree["study"]["start"] and not is_begun(Path(tree["root"]) / name_of(tree)):  # else it is settled, and its file may be gone
        given_first(tree)


def most_confirmed(study: Study) -> int:
    """How many trials may be confirmed, if there is time for all."""
    seeds, trials = study.settings["seeds"], len(study.journal.records(SEARCH))
    return planned(share_of(trials, seeds), seeds, study.settings["confirm"]).candidates
