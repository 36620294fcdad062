"""The search stage: the baseline, then what the strategy proposes, with bad trials stopped at rungs."""

from collections.abc import Sequence
from functools import partial

from autoopt.config import Tree, compose
from autoopt.errors import BadInput, NotConcluded
from autoopt.orders import Order, Train
from autoopt.space import Space
from autoopt.strategy import AtRandom
from autoopt.study.memory import remembered
from autoopt.study.record import Record
from autoopt.study.runner import Job, Result
from autoopt.study.sampling import Proposal, Sampling, Values
from autoopt.study.stages import SEARCH
from autoopt.study.stored import recipe_overrides
from autoopt.study.study import Study
from autoopt.study.successor import predecessor, take_over
from autoopt.study.turns import check_sizes, turns_of

BASELINE = "0"
WARNED = 10
"""After so many trials of which none keeps the bounds, the search says so."""
CURABLE = ("timeout", "oom_host")
"""Failures that a longer `executor.trial_time` or a larger machine prevents."""


def explore(study: Study) -> None:
    """Propose, train and tell until the trials or the time are used up.

    Raises:
        NotConcluded: the baseline failed, or did not end in time; there is nothing to compare with.
    """
    sampling = sampling_for(study)

    def stop(job: Job, epoch: int, metrics: dict[str, float]) -> bool:
        return sampling.stop(job, epoch, metrics) and job.key != BASELINE

    def done(result: Result) -> None:
        if result.job.key == BASELINE:
            tell_baseline(result, sampling)
        else:
            sampling.tell(result)
        records = study.journal.records(SEARCH)
        if len(records) == WARNED and (nearest := study.goal.nearest_to_bounds(records)):
            missed = study.goal.missed(nearest.metrics)
            study.runner.screen.say(f"none of {WARNED} trials keeps the bounds so far: trial {nearest.key}, the nearest, misses {missed}")

    def over(job: Job) -> bool:
        return study.budget.ended if job.key == BASELINE else study.budget.over(SEARCH)

    records = study.journal.records(SEARCH)
    study.runner.screen.stage(SEARCH, sampling.total, len(records))
    study.runner.screen.earlier(records)
    refuse_failed_baseline(records)
    study.runner.run(sampling.jobs(), done, stop, over=over)
    if not study.journal.records(SEARCH):
        raise NotConcluded(f"the time ended before the baseline did (study.time={study.settings['time']}); give a longer one")
    if sampling.exhausted:
        study.runner.screen.say(f"{len(sampling.history)} trials, not {sampling.total}: every recipe of the space was tried")
    elif (records := study.journal.records(SEARCH)) and len(records) < sampling.total and (why := enough(study, records)):
        study.runner.screen.say(f"{len(records)} trials, not {sampling.total}: {why}")


def sampling_for(study: Study) -> Sampling:
    """The sampling of the search: by one strategy, or by one for each option that is compared."""
    space, total, first = study.space.trained(), study.settings["trials"], study.baseline
    turns = turns_of(study) if study.settings["compare"] else None
    strategy = turns.strategy(partial(study.strategy, goal=study.goal)) if turns else study.strategy(space, study.goal)
    rungs = strategy.rungs if study.settings["stopping"] else ()
    keep = bool(study.space.options["compression"])

    def order(key: str, seed: int, proposal: Proposal) -> Order:
        return Train(key=key, recipe=proposal.recipe, seed=seed, keep=keep, rungs=rungs)

    rest = (SEARCH, study.journal, study.goal, study.budget, space, strategy, order)
    if turns is None:
        return with_earlier(study, Sampling(*rest, total, study.seed, first, start(study.tree, space), partial(enough, study)))
    total = turns.total(total)
    check_sizes(turns, study.settings["compare"], total)
    names = ", ".join(arm.name for arm in turns.arms)
    study.runner.screen.say(f"comparing {study.settings['compare']}: {total // turns.count} trials each of {names}")
    return Sampling(*rest, total, study.seed, first, turns.start, partial(enough, study), turns.strategy(AtRandom), turns.count)


def with_earlier(study: Study, sampling: Sampling) -> Sampling:
    """The sampling with the recipes and the trials that other studies lend."""
    if study.settings["memory"]:
        sampling.start = [*sampling.start, *(values for values in remembered(study) if values not in sampling.start)]
    if (old := predecessor(study.tree, study.folder, study.facts)) is not None:
        sampling.start = [*sampling.start, *take_over(study, old, sampling)]
    return sampling


def enough(study: Study, records: Sequence[Record]) -> str:
    """Why the search needs no further trial: it has trained enough, or trials no longer get better; empty where it goes on."""
    settings, newest = study.settings, max((int(r.key) for r in study.goal.front(records)), default=None)
    own = [r for r in records if not r.origin]
    trained = sum(r.epochs for r in own) / settings["epochs"]
    if settings["trainings"] is not None and trained >= settings["trainings"]:
        return f"they had {trained:.1f} whole trainings' worth of epochs (study.trainings={settings['trainings']:g})"
    if settings["compare"]:
        return ""  # an option may still get better, though the best of all does not
    since = 0 if newest is None else sum(int(r.key) > newest for r in own)
    if settings["patience"] is not None and since >= settings["patience"]:
        return f"the last {since} were no better than trial {newest} (study.patience={settings['patience']})"
    return ""


def start(tree: Tree, space: Space) -> list[Values]:
    """The values of the recipes that `study.start` names: files, `STUDY` for its winner, or `STUDY/17`; each once.

    Raises:
        BadInput: there is no such recipe, or it does not lie in the space.
    """
    found: list[Values] = []
    for reference in (tree["study"]["start"] or "").split():
        recipe = Space.of(compose(recipe_overrides(reference, tree["root"]))).trained().baseline()
        try:
            values = space.values_of(recipe)
        except ValueError as error:
            raise BadInput(f"study.start={reference} does not lie in the space: {error}") from error
        if values not in (*found, space.defaults()):
            found.append(values)
    return found


def tell_baseline(result: Result, sampling: Sampling) -> None:
    """Record the baseline's result; if another run may succeed, leave the trial as running, so that the next session repeats it.

    Raises:
        NotConcluded: the baseline failed.
    """
    problem = result.problem
    if problem is not None and (problem.blame != "recipe" or problem.reason in CURABLE):
        raise NotConcluded(f"the baseline failed, so there is nothing to compare with ({problem}); the same command runs it again")
    sampling.tell(result)
    refuse_failed_baseline([result.record()])


def refuse_failed_baseline(records: Sequence[Record]) -> None:
    """Raise NotConcluded if the baseline is among these trials and failed."""
    for record in records:
        if record.key == BASELINE and record.state == "failed":
            failed = f"{record.reason}: {record.detail}"
            raise NotConcluded(f"the baseline failed, so there is nothing to compare with ({failed}); begin another study with name=")
