"""The search stage: the baseline, then what the strategy proposes, with bad trials stopped at rungs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from autoopt.config import Tree, as_overrides, compose
from autoopt.config.yaml_file import written
from autoopt.errors import BadInput, NotConcluded
from autoopt.orders import Order, Train
from autoopt.records.folder import contents, replace_file, summed
from autoopt.records.record import BASELINE, Epochs, Record, added, taken_over
from autoopt.records.stages import SEARCH
from autoopt.records.stored import recipe_overrides
from autoopt.space import Space
from autoopt.strategy import AtRandom, Strategy
from autoopt.study.jobs import Job, Result
from autoopt.study.memory import remembered
from autoopt.study.sampling import Proposal, Sampling, Values
from autoopt.study.study import Study
from autoopt.study.successor import predecessor, take_over
from autoopt.study.turns import check_sizes, turns_of

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

    def stop(job: Job, epoch: int, epochs: Epochs) -> bool:
        return sampling.stop(job, epoch, epochs) and job.key != BASELINE

    def done(result: Result) -> None:
        if result.job.key == BASELINE:
            tell_baseline(result, sampling)
        else:
            sampling.tell(result)
        if not study.goal.bounds:
            return
        records = study.journal.records(SEARCH)
        if len(records) == WARNED and (nearest := study.goal.nearest_to_bounds(records)):
            missed = study.goal.missed(nearest.metrics)
            study.runner.screen.say(f"none of {WARNED} trials keeps the bounds so far: trial {nearest.key}, the nearest, misses {missed}")

    def over(job: Job) -> bool:
        return study.budget.ended if job.key == BASELINE else study.budget.over(SEARCH)

    records = study.journal.records(SEARCH)
    study.runner.screen.stage(SEARCH, sampling.total if study.budget.asking else len(records), len(records))
    if study.budget.asking and len(records) >= sampling.total:
        more = f"a greater study.trials adds to the {len(records)} that are there, another name= begins anew"
        study.runner.screen.say(f"{study.folder.name} has had all its trials: {more}")
    study.runner.screen.earlier(records)
    refuse_failed_baseline(records)
    study.runner.run(sampling.jobs(), done, stop, over=over)
    for record in study.journal.records(SEARCH):
        study.runner.executor.store.forget_checkpoints(record.key)  # of stopped trials, which nothing continues from here on
    if not study.journal.records(SEARCH):
        raise NotConcluded(f"the time ended before the baseline did (study.time={study.settings['time']}); give a longer one")
    if sampling.exhausted:
        study.runner.screen.say(f"{len(sampling.history)} trials, not {sampling.total}: {sampling.exhausted}")
    elif ended := ended_early(study, study.journal.records(SEARCH)):
        study.runner.screen.say(f"the search ends {ended}")


def sampling_for(study: Study) -> Sampling:
    """The sampling of the search: by one strategy, or by one for each option that is compared."""
    space, total, first = study.space.without_compression(), study.settings["trials"], study.baseline
    turns = turns_of(study) if study.settings["compare"] else None
    strategy = turns.strategy(partial(study.strategy, goal=study.goal)) if turns else study.strategy(space, study.goal)
    rungs = strategy.rungs if study.settings["stopping"] else ()
    keep = bool(study.space.options["compression"])

    def order(key: str, seed: int, proposal: Proposal) -> Order:
        continues = "" if proposal.continues is None else SEARCH.key.format(proposal.continues)
        return Train(key=key, recipe=proposal.recipe, seed=seed, keep=keep, rungs=rungs, continues=continues)

    kept = kept_at_rungs(study, strategy, rungs)
    rest = (SEARCH, study.journal, study.goal, study.budget, space, strategy, order)
    if turns is None:
        return with_earlier(study, Sampling(*rest, total, study.seed, first, (), partial(enough, study), kept=kept))
    total = turns.total(total)
    check_sizes(turns, study.settings["compare"], total)
    names = ", ".join(arm.name for arm in turns.arms)
    study.runner.screen.say(f"comparing {study.settings['compare']}: {total // turns.count} trials each of {names}")
    return Sampling(*rest, total, study.seed, first, turns.start, partial(enough, study), turns.strategy(AtRandom), turns.count)


def kept_at_rungs(study: Study, strategy: Strategy, rungs: Sequence[int]) -> Callable[[str], bool] | None:
    """Whether a stopped trial, by its key, has a checkpoint. Where no trial is continued, None: if that was asked for, the screen
    says why it has no effect.
    """
    asked, promote = study.runner.keeps_rungs, strategy.promotes
    hindrances = {
        "options that take turns continue no trial (study.compare)": study.settings["compare"],
        "this strategy continues no trial; strategy=random strategy.random.promote=true does": asked and not promote,
        "no trial is stopped: the strategy has no rungs, or study.stopping=false": not rungs,
        "without executor.checkpoint none is kept": study.tree["executor"]["checkpoint"] is None,
        "give executor.keep=rung, too": not asked,
    }
    why = next((reason for reason, holds in hindrances.items() if holds), None)
    if why is None:
        store = study.runner.executor.store
        return lambda key: bool(store.checkpoints(key))
    if asked or promote:
        study.runner.screen.say(f"{'executor.keep=rung' if asked else 'promote=true'} has no effect: {why}")
    return None


def with_earlier(study: Study, sampling: Sampling) -> Sampling:
    """The sampling with the recipes that are given, and with the recipes and the trials that other studies lend.

    What is tried first is settled when the study begins, so that a resumed search tries the same, whatever other studies do meanwhile.
    """
    path, settings, say = study.folder.path / "start.yaml", study.settings, study.runner.screen.say
    old = predecessor(study.tree, study.folder, study.facts)
    best = take_over(study, old, sampling) if old else []
    taken = taken_over(study.journal.records(SEARCH))
    sampling.total += taken
    asked = settings["start"] or settings["memory"] or best
    if path.exists():
        kept = contents(path, ["recipes"])
        sampling.start = kept["recipes"]
        if (given := settings["start"]) and given != kept.get("given", given):
            say(f"study.start={given} is not tried: {study.folder.name} has settled what it tries first; give this search another name=")
    elif asked and len(study.journal.trials(SEARCH)) > taken + 1:
        say(f"{study.folder.name} has begun without recipes to try first, so that study.start, study.memory and study.from give it none")
    elif asked:
        sampling.start = tried_first(study, sampling, best)
        settled = {"given": settings["start"], "recipes": [dict(values) for values in sampling.start]}
        replace_file(path, summed(written(settled)))
    return sampling


def tried_first(study: Study, sampling: Sampling, best: Sequence[Values]) -> list[Values]:
    """The recipes to try after the baseline, each once: those given, those of earlier studies, and the best of the predecessor."""
    space = study.space.without_compression()
    lent = remembered(study) if study.settings["memory"] else []
    given = [*start(study.tree, space), *lent, *best]
    known = [space.defaults(), *(trial.values for trial in sampling.history.values())]
    first = [values for place, values in enumerate(given) if values not in (*known, *given[:place])]
    if count := sum(values in lent for values in first):
        study.runner.screen.say(f"{count} recipe{'s are' if count > 1 else ' is'} tried first, of earlier studies (study.memory=true)")
    return first


def enough(study: Study, records: Sequence[Record]) -> str:
    """Why the search needs no further trial: it has trained enough, or trials no longer get better; empty where it goes on.

    Of equal trials the smaller model is better, as everywhere (`Goal.rank`); one that is equal in that, too, is not.
    """
    settings = study.settings
    trainings, patience = settings["trainings"], None if settings["compare"] else settings["patience"]
    own = [r for r in records if not r.origin]
    if trainings is not None and (trained := sum(added(own, lambda r: r.epochs)) / settings["epochs"]) >= trainings:
        return f"they had {trained:.1f} whole trainings' worth of epochs (study.trainings={trainings:g})"
    if patience is None:
        return ""  # as it is where options are compared: one may still get better, though the best of all does not
    newest = max((int(r.key) for r in study.goal.front(records)), default=None)
    since = 0 if newest is None else sum(int(r.key) > newest for r in own)
    lately = "the last was" if since == 1 else f"the last {since} were"
    return f"{lately} no better than trial {newest} (study.patience={patience})" if since >= patience else ""


def ended_early(study: Study, records: Sequence[Record]) -> str:
    """Why the search ended before its last trial: `after 83 of 200 trials: …`; empty where it did not."""
    total, why = study.settings["trials"] + taken_over(records), enough(study, records)
    return f"after {len(records)} of {total} trials: {why}" if why and len(records) < total else ""


def start(tree: Tree, space: Space) -> list[Values]:
    """The values of the recipes that `study.start` names: files, `STUDY` for its winner, or `STUDY/17`.

    What such a file does not say is as in the baseline.

    Raises:
        BadInput: there is no such recipe, or it does not lie in the space.
    """
    found: list[Values] = []
    baseline = space.baseline().tree
    for reference, given in given_first(tree):
        said = {line.partition("=")[0].partition(".")[0] for line in given}
        rest = as_overrides({root: node for root, node in baseline.items() if root not in said})
        with usable(reference):
            recipe = Space.of(compose(rest, base=given)).without_compression().baseline()
        try:
            values = space.values_of(recipe)
        except ValueError as error:
            raise BadInput(f"study.start={reference} does not lie in the space: {error}") from error
        found.append(values)
    return found


def given_first(tree: Tree) -> list[tuple[str, list[str]]]:
    """Each recipe that `study.start` names, with its overrides.

    Raises:
        BadInput: there is no such recipe.
    """
    found = []
    for reference in (tree["study"]["start"] or "").split():
        with usable(reference):
            found.append((reference, recipe_overrides(reference, tree["root"])))
    return found


@contextmanager
def usable(reference: str) -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        raise BadInput(f"study.start={reference} is no recipe that can be used: {error}") from error


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
