"""The compress stage: the selected compressions are tried on the trained weights of the best trials."""

import json
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, sqrt
from statistics import mean

from autoopt.domain import Choice
from autoopt.errors import BadInput
from autoopt.goal import Goal, Objective
from autoopt.orders import BEFORE, Compress, Order, Train
from autoopt.recipe import Recipe
from autoopt.records.record import Record
from autoopt.records.stages import COMPRESS, PREFLIGHT, SEARCH
from autoopt.space import Condition, Domain, Pick, Space
from autoopt.space.condition import NEVER, Used
from autoopt.store import Store
from autoopt.study.jobs import Job
from autoopt.study.preflight import charged, try_out_job
from autoopt.study.sampling import Proposal, Sampling
from autoopt.study.study import Study

LATENCY = "latency_ms"
CERTAIN = 1.96 * sqrt(2)
"""Two measurements of one latency differ by less than so many of its standard deviations, 19 times of 20."""
ABOVE_CHANCE = 0.05
"""The least share of the best model's gain over a constant prediction that a compressed model on the front has."""
TRAINED = "trial"
"""The path of the domain from which the trained trial is chosen."""


def compress_goal(goal: Goal) -> Goal:
    """The study's objectives, the latency and the size together."""
    costs = (Objective(LATENCY, "minimize"), Objective("size_mb", "minimize"))
    return replace(goal, objectives=tuple(dict.fromkeys((*goal.objectives, *costs))))


def pareto_front(study: Study, goal: Goal, records: Sequence[Record]) -> list[Record]:
    """The Pareto front of trials, without models that are hardly better than chance; latencies within their noise are equal."""
    first, complete = goal.first, goal.rank(records)
    chance = study.facts["chance"].get(first.name)
    if complete and chance is not None:
        gains = {r.key: first.gain(r.score or 0.0, chance) for r in complete}
        complete = [r for r in complete if gains[r.key] >= ABOVE_CHANCE * max(gains.values())]
    return goal.front(complete, {LATENCY: CERTAIN * latency_noise(records)})


def latency_noise(records: Sequence[Record]) -> float:
    """The relative standard deviation of the latencies of a trained model, which is timed again before each compression of it."""
    times: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if latency := record.metrics.get(BEFORE + LATENCY, None if record.recipe["compression"] else record.metrics.get(LATENCY)):
            times[json.dumps(record.recipe["model"], sort_keys=True)].append(log(latency))
    squares = sum((time - mean(alike)) ** 2 for alike in times.values() for time in alike)
    repeats = sum(len(alike) - 1 for alike in times.values())
    return sqrt(squares / repeats) if repeats else 0.0


@dataclass(frozen=True)
class Compressions:
    """The space of (which of the trained trials, which compressions).

    Args:
        trained: the trials by key, the best first.
        spaces: by trial, the space of the compressions that work with it; a trial without one is not compressed.
        names: of all compressions, in the order in which they are chosen.
    """

    trained: Mapping[str, Record]
    spaces: Mapping[str, Space]
    names: Sequence[str]

    def walk(self, pick: Pick) -> Recipe:
        """The recipe of a trained trial with the compressions that `pick` chooses."""
        key = self.trial if isinstance(self.trial, str) else pick(self.trial)
        return self.trained[key].point.replace(compression=self.spaces[key].walk(pick).tree["compression"])

    @property
    def trial(self) -> Domain | str:
        """Which of the trained trials: a choice, or the only one."""
        keys = tuple(self.spaces)
        return keys[0] if len(keys) == 1 else Domain(TRAINED, Choice(*keys), str, keys[0])

    def domains(self) -> list[Domain]:
        """Every domain once; a compression's arguments are needed with the trials that it works with."""
        domains: dict[str, Domain] = {}
        for key, space in self.spaces.items():
            with_trial = Condition(((Used(TRAINED, (key,)),),))
            for domain in space.domains():
                other = domains.get(domain.path, replace(domain, condition=NEVER))
                domains[domain.path] = replace(domain, condition=other.condition | (with_trial & domain.condition))
        ordered = sorted(domains.values(), key=lambda domain: self.names.index(domain.key.split(".")[1]))
        return [*(() if isinstance(self.trial, str) else (self.trial,)), *ordered]


def compress(study: Study, top: int) -> None:
    """Search over the compressions of the best trials for the objective, the latency and the size together.

    One training serves many compressions. They run one at a time, so that latencies can be compared. Trial 0 is the best model
    with the compressions at their defaults; a compression that may be off is off there.

    Args:
        top: how many of the trained models are compressed, but not a baseline that is compressed already; the weights of the others
            are deleted, and those of compressed models that are not on the Pareto front.
    """
    if not study.space.options["compression"]:
        return
    goal, store = compress_goal(study.goal), study.runner.executor.store
    searched = study.journal.records(SEARCH)
    trained = [r for r in study.goal.unbounded.rank(searched) if not r.recipe["compression"]]  # a bound is for what they become
    best = {r.key: r for r in trained[:top]}
    keep_weights(store, searched, best)
    begun = len(study.journal.records(COMPRESS))
    wanted = begun < study.settings["compress"] and (not begun or not study.budget.over(COMPRESS))
    if wanted:
        best = with_weights(study, best)
    if wanted and best and (spaces := fitting_spaces(study, best)):
        sample(study, Compressions(best, spaces, list(study.space.options["compression"])), goal)
    records = study.journal.records(COMPRESS)
    keep_weights(store, records, {r.key for r in pareto_front(study, goal, records)})


def with_weights(study: Study, trained: Mapping[str, Record]) -> dict[str, Record]:
    """The trials whose weights are there; those whose weights are damaged or gone are trained again, while there is time."""
    store, screen = study.runner.executor.store, study.runner.screen

    def jobs() -> Iterator[Job]:
        for key, record in trained.items():
            if store.has_weights(key):
                continue
            if study.budget.over(COMPRESS):
                screen.say(f"the weights of trial {key} are damaged or gone: no time is left to train it again")
            else:
                screen.say(f"the weights of trial {key} are damaged or gone: it is trained again")
                yield Job(Train(key=key, recipe=record.point, seed=record.seed, keep=True), SEARCH)

    study.runner.collect(jobs(), over=lambda _: study.budget.over(COMPRESS))
    return {key: record for key, record in trained.items() if store.has_weights(key)}


def keep_weights(store: Store, records: Sequence[Record], keys: Container[str]) -> None:
    """Delete the weights of all trials but these."""
    for record in records:
        if record.key not in keys:
            store.forget(record.key)


def sample(study: Study, space: Compressions, goal: Goal) -> None:
    """Propose, compress and tell up to the total, or until hardly any untried compressions are left."""

    def order(key: str, seed: int, proposal: Proposal) -> Order:
        return Compress(key=key, recipe=proposal.recipe, seed=seed, weights=proposal.values.get(TRAINED, space.trial), latency=True)

    total, runner = study.settings["compress"], study.runner
    strategy = study.strategy(space, goal)
    sampling = Sampling(COMPRESS, study.journal, goal, study.budget, space, strategy, order, total, study.seed)
    runner.screen.stage(COMPRESS, total, len(study.journal.records(COMPRESS)))
    runner.run(sampling.jobs(), sampling.tell, width=1, over=lambda job: bool(job.context) and study.budget.over(COMPRESS))
    if sampling.exhausted:
        done = len(study.journal.records(COMPRESS))
        runner.screen.say(f"{done} compressions, not {total}: {sampling.exhausted}")


def fitting_spaces(study: Study, trained: Mapping[str, Record]) -> dict[str, Space]:
    """For each trained trial, the space of the compressions that work with it; each is tried at its defaults on two batches.

    The preflight tried them with every model at its defaults, but the search may have changed the model. A trial is left out
    if a pinned compression does not work with it.
    """
    spaces = {key: study.space.compressing(next(iter(record.recipe["model"]))) for key, record in trained.items()}
    jobs = []
    for key, record in trained.items():
        for name in spaces[key].options["compression"]:
            recipe = record.point.replace(compression=spaces[key].with_option("compression", name).baseline().tree["compression"])
            jobs.append(try_out_job(study.tree, recipe, f"{key}-{name}", (key, name), weights=key))
    study.runner.screen.stage(PREFLIGHT, len(jobs), 0)
    for result in study.runner.collect(jobs):
        key, name = result.job.context
        if (problem := charged(result)) is not None and key in spaces:
            try:
                spaces[key] = spaces[key].without("compression", name, problem.detail)
            except BadInput as error:
                study.runner.screen.say(f"trial {key} is not compressed: {error}")
                del spaces[key]
    return spaces
