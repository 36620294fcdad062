"""Confirm: candidates race on fresh seeds, winner and baseline are trained on further seeds, and both are measured on the test part.

The winner is chosen and compared on different seeds, so that the choice does not bias the comparison.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from math import ceil
from statistics import median

from autoopt.analysis.candidate import Candidate
from autoopt.errors import NotConcluded
from autoopt.goal import Goal
from autoopt.orders import Measure, Train
from autoopt.recipe import Recipe
from autoopt.records.folder import derived_seed
from autoopt.records.journal import Journal
from autoopt.records.record import BASELINE, Record
from autoopt.records.stages import TEST, Stage
from autoopt.study.budget import Budget
from autoopt.study.jobs import Job
from autoopt.study.runner import Runner


@dataclass(frozen=True)
class Plan:
    """How many recipes are confirmed beside the baseline, and on how many seeds.

    Args:
        candidates: the number of recipes that race to be the winner; a single candidate is the winner.
        final: the further seeds of the winner and of the baseline.
    """

    candidates: int
    final: int

    @property
    def trainings(self) -> int:
        return race_trainings(self.candidates) + 2 * self.final


def race_trainings(candidates: int) -> int:
    """How many trainings a race takes: in each round one of every candidate that is left, of which the better half goes on."""
    return candidates + race_trainings(ceil(candidates / 2)) if candidates > 1 else 0


def planned(room: int, seeds: int, most: int) -> Plan:
    """The largest plan that fits into a number of trainings; the smallest plan has one candidate on one seed.

    Args:
        room: the number of trainings.
        seeds: the seeds of the final comparison, where there is room for them.
        most: the greatest number of candidates.
    """
    racing = [count for count in range(2, most + 1) if race_trainings(count) + 2 * seeds <= room]
    return Plan(max(racing), seeds) if racing else Plan(1, min(seeds, max(1, room // 2)))


def share_of(trials: int, seeds: int) -> int:
    """How many trainings confirm takes: those of the final comparison, and for the race an eighth of the search's."""
    return 2 * seeds + trials // 8


def room_left(stage: Stage, searched: Sequence[Record], budget: Budget, workers: int) -> float:
    """How many trainings of the usual length fit into the time that is left for a stage."""
    usual = median([r.seconds for r in searched if r.state == "complete"] or [0.0])
    return max(0.0, budget.left(stage)) * workers / usual if usual else float("inf")


def fresh_seeds(seed: int, stage: Stage, count: int) -> list[int]:
    """Seeds that no other stage has; all recipes of the stage share them, so that a seed that is easy is easy for all."""
    return [derived_seed(seed, f"{stage.name} {i}") for i in range(count)]


def candidates(searched: Sequence[Record], goal: Goal, most: int, ranking: Sequence[str] = ()) -> list[Record]:
    """The best trials but the baseline; each recipe once. Where no other trial is complete, those that a rung has stopped.

    Args:
        ranking: the keys of trials, the best first, in the strategy's judgement; else the scores decide.
    """
    ranked = goal.rank(searched)
    if all(r.key == BASELINE for r in ranked) and not goal.bounds:
        sign = goal.first.sign
        ranked = sorted((r for r in searched if r.state == "stopped"), key=lambda r: (-r.epochs, -sign * (r.score or 0.0)))
    picked: list[Record] = []
    baseline = next((r.recipe for r in searched if r.key == BASELINE), None)
    places = {key: place for place, key in enumerate(ranking)}
    for record in sorted(ranked, key=lambda r: places.get(r.key, len(places))):
        if len(picked) < most and all(record.recipe != recipe for recipe in (baseline, *(p.recipe for p in picked))):
            picked.append(record)
    return picked


def race(recipes: Mapping[str, Recipe], train: Callable[[Mapping[str, Recipe], int], Sequence[Candidate]], goal: Goal) -> list[Candidate]:
    """The recipes by their place in a race, the winner first; those without a sound training are missing.

    In each round the recipes that are left are trained on one more seed, and the better half goes on, first those that keep the bounds:
    sequential halving, which is nearly optimal for finding the best of several with a fixed number of noisy trials.

    Args:
        recipes: by the keys of their trials in the search.
        train: trains recipes on the first so many seeds.

    Source: Karnin et al. 2013, Proceedings of Machine Learning Research 28(3), 1238-1246.
    """
    left, seeds = [Candidate(key, recipe) for key, recipe in recipes.items()], 0
    out: list[Candidate] = []
    while len(left) > 1:
        seeds += 1
        ranked = sorted(train({c.key: c.recipe for c in left}, seeds), key=lambda c: c.place(goal))
        places = ceil(len(ranked) / 2)
        left, out = ranked[:places], [*ranked[places:], *out]
    return [*left, *out]


def replicate(
    runner: Runner,
    journal: Journal,
    stage: Stage,
    recipes: Mapping[str, Recipe],
    seeds: Sequence[int],
    *,
    budget: Budget,
    keep: bool,
    done_with: Container[str] = (),
    least: int = 1,
) -> list[Candidate]:
    """Train recipes on the same seeds: all recipes on the first seed, then all on the second; finished trainings are not repeated,
    unless weights that were kept are damaged or gone.

    Args:
        recipes: by the keys of their trials in the search.
        budget: after its end, only trainings on the `least` first seeds begin and go on.
        keep: store the weights.
        done_with: the keys of trainings whose weights are not needed any more.

    Returns:
        the recipes without a failed training, in their order, each with the records of the first seeds, as far as all have them.

    Raises:
        NotConcluded: the machine ended a training that the verdict needs; it is no reason to leave its recipe out.
    """
    keys = {key: [stage.key.format(key, i) for i in range(len(seeds))] for key in recipes}
    store = runner.executor.store
    before = {
        r.key for r in journal.records(stage) if r.state == "complete" and (not keep or r.key in done_with or store.has_weights(r.key))
    }

    def jobs() -> Iterable[Job]:
        for i, seed in enumerate(seeds):
            for key, recipe in recipes.items():
                name = keys[key][i]
                if name not in before and not (i >= least and budget.over(stage)):
                    yield Job(Train(key=name, recipe=recipe, seed=seed, keep=keep), stage, i)

    total = len(seeds) * len(recipes)
    runner.screen.stage(stage, total, sum(name in before for names in keys.values() for name in names))
    runner.run(jobs(), lambda result: journal.add(stage, result.record()), over=lambda job: job.context >= least and budget.over(stage))
    latest = journal.latest(stage)
    failed = {key for key in recipes if any(n in latest and latest[n].state != "complete" for n in keys[key])}
    lost = [r for key in failed for n in keys[key] if (r := latest.get(n)) and r.blame == "machine"]
    if lost and least and budget.asking:
        raise NotConcluded(f"training {lost[0].key} has not ended ({lost[0].reason}: {lost[0].detail}); the same command trains it again")
    sound = {key: [latest[n] for n in takewhile(latest.__contains__, keys[key])] for key in recipes if key not in failed}
    equal = min(map(len, sound.values()), default=0)
    return [Candidate(key, recipes[key], records[:equal]) for key, records in sound.items() if equal]


def measure_candidates(runner: Runner, journal: Journal, pair: Sequence[Candidate], budget: Budget) -> list[Candidate]:
    """Measure the stored weights of candidates on the test part, one at a time, so that latencies can be compared.

    Args:
        budget: after its end, only measurements of the first seed begin and go on.

    Returns:
        the candidates with the measurements of the seeds that all of them have.
    """
    before = {r.key for r in journal.records(TEST) if r.state == "complete"}

    def jobs() -> Iterable[Job]:
        for i, records in enumerate(zip(*(c.records for c in pair), strict=True)):
            for candidate, record in zip(pair, records, strict=True):
                name = TEST.key.format(record.key)
                if name not in before and not (i and budget.over(TEST)):
                    yield Job(Measure(key=name, recipe=candidate.recipe, seed=record.seed, weights=record.key, latency=True), TEST, i)

    names = [TEST.key.format(record.key) for c in pair for record in c.records]
    runner.screen.stage(TEST, len(names), len(before & {*names}))

    def over(job: Job) -> bool:
        return bool(job.context) and budget.over(TEST)

    runner.run(jobs(), lambda result: journal.add(TEST, result.record()), width=1, over=over)
    tests = journal.latest(TEST)
    measured = [replace(c, tests=[tests[k] for r in c.records if (k := TEST.key.format(r.key)) in tests]) for c in pair]
    equal = min(len(c.tests) for c in measured)
    return [replace(c, records=c.records[:equal], tests=c.tests[:equal]) for c in measured]
