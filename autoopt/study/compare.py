"""The fair comparison of the options of a slot: the best recipe of each is trained on the same fresh seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, count
from math import sqrt
from statistics import mean, variance

import numpy as np
from scipy.special import stdtr

from autoopt.analysis.candidate import Candidate
from autoopt.analysis.weighing import (
    UNBOUNDED,
    Variances,
    both_resampled,
    degrees_of_freedom,
    interval,
    of_resamples,
    possible,
    repeats,
    special_interval,
    total,
    variances,
    weigh,
)
from autoopt.goal import Goal, Objective
from autoopt.records.comparison import Comparison, OptionResult
from autoopt.records.record import Record
from autoopt.records.stages import COMPARE, SEARCH, TEST
from autoopt.study.confirm import fresh_seeds, measure_candidates, replicate
from autoopt.study.sampling import history
from autoopt.study.study import Study
from autoopt.study.turns import turns_of

FEWEST_SEEDS = 5
"""Fewer seeds hardly show a difference after the correction for several options."""
Interval = tuple[float, float]


def compare(study: Study, confirmed: Mapping[str, Candidate]) -> Comparison:
    """Measure the confirmed best of each option on the test part, if the study compares on it, and weigh each against the first."""
    searched, part, objective = trials_of(study), study.part, study.goal.first
    limits = objective.limits(ours=not study.facts["lightning"])
    if on_test_part(study) and confirmed:
        part, confirmed = measured_options(study, confirmed)
    first = confirmed.get(next(iter(searched)))
    rows = [result_of(option, records, confirmed.get(option), first, part, study.goal, limits) for option, records in searched.items()]
    differences = {row.option: difference(first, confirmed[row.option], part, objective, limits) for row in rows[1:] if first and row.trial}
    corrected = holm({option: p for option, (_, _, p) in differences.items() if p is not None})
    for place, row in enumerate(rows):
        if row.option in differences:
            gain, around, _ = differences[row.option]
            rows[place] = replace(row, difference=gain, difference_interval=around, p=corrected.get(row.option))
    seeds = max((len(candidate.records) for candidate in confirmed.values()), default=0)
    return Comparison(study.settings["compare"], objective.name, objective.direction, part, seeds, tuple(rows))


def result_of(
    option: str,
    records: Sequence[Record],
    best: Candidate | None,
    first: Candidate | None,
    part: str,
    goal: Goal,
    limits: Interval,
) -> OptionResult:
    """The result of an option before it is compared with the first.

    Args:
        records: its trials.
        best: its best recipe on the fresh seeds, if it has one.
        first: that of the first option.
        limits: the least and the greatest value of the objective.
    """
    row = OptionResult(option, len(records), sum(record.blame == "recipe" for record in records), best_so_far(records, goal))
    if best is None:
        return row
    scores = best.scores(part)
    epochs, seconds = time_to_match(best, first, goal) if first else (None, None)
    row = replace(row, trial=best.key, title=best.recipe.title(), recipe=dict(best.recipe.tree), epochs=epochs, seconds=seconds)
    return replace(row, scores=scores, mean=mean(scores), interval=interval_of(best, part, limits))


def trials_of(study: Study) -> dict[str, list[Record]]:
    """The trials of each option in the turns before the first turn that lacks a trial: equally many of all, on the same seeds."""
    turns, ended = turns_of(study), {int(record.key): record for record in study.journal.records(SEARCH)}
    equal = turns.total(next(number for number in count() if number not in ended))
    return {arm.name: [ended[number] for number in range(place, equal, turns.count)] for place, arm in enumerate(turns.arms)}


def best_of_options(study: Study) -> dict[str, Candidate]:
    """The best trial of each option, trained on the same fresh seeds; where a training fails, the next best takes its place.

    Their weights are stored until they have been measured on the test part.
    """
    queues, keep, done_with = best_first(study), on_test_part(study), measured_keys(study)
    seeds = fresh_seeds(study.seed, COMPARE, seeds_of(study.settings["seeds"]))
    while True:
        heads = {option: queue[0] for option, queue in queues.items() if queue}
        recipes = {record.key: record.point for record in heads.values()}
        done = replicate(study.runner, study.journal, COMPARE, recipes, seeds, budget=study.budget, keep=keep, done_with=done_with)
        latest = study.journal.latest(COMPARE)
        failed = {COMPARE.trial_and_seed(key)[0] for key, record in latest.items() if record.state != "complete"}
        if not failed & recipes.keys():
            by_key = {candidate.key: candidate for candidate in done}
            return {option: by_key[record.key] for option, record in heads.items() if record.key in by_key}
        queues = {option: [record for record in queue if record.key not in failed] for option, queue in queues.items()}


def on_test_part(study: Study) -> bool:
    """Whether the options are compared on the test part."""
    return study.tests and study.part == "test"


def measured_keys(study: Study) -> set[str]:
    """The keys of the trainings on fresh seeds that have been measured on the test part."""
    tests = {record.key for record in study.journal.records(TEST) if record.state == "complete"}
    return {record.key for record in study.journal.records(COMPARE) if TEST.key.format(record.key) in tests}


def seeds_of(seeds: int) -> int:
    """How many fresh seeds each option's best is trained on, where so many are set."""
    return max(seeds, FEWEST_SEEDS)


def best_first(study: Study) -> dict[str, list[Record]]:
    """The complete trials of each option, the best first in the judgement of its strategy, else by their scores."""
    turns, trials = turns_of(study), list(history(study.journal, SEARCH, study.goal).values())
    strategy = turns.strategy(lambda space: study.strategy(space, study.goal))
    queues = {}
    for place, (option, records) in enumerate(trials_of(study).items()):
        places = {SEARCH.key.format(number): rank for rank, number in enumerate(strategy.best_first(trials, place))}
        queues[option] = sorted(study.goal.rank(records), key=lambda record: places.get(record.key, len(places)))
    return queues


def measured_options(study: Study, confirmed: Mapping[str, Candidate]) -> tuple[str, dict[str, Candidate]]:
    """The part on which the options are compared, and their confirmed recipes, measured on it; their weights are then deleted.

    Where the test part cannot be measured, the validation part decides.
    """
    done = measure_candidates(study.runner, study.journal, list(confirmed.values()), study.budget)
    if not all(candidate.tests and all(test.score is not None for test in candidate.tests) for candidate in done):
        study.runner.screen.say("the options cannot be measured on the test split, so they are compared on the validation split")
        return "validation", dict(confirmed)
    for candidate in done:
        for record in candidate.records:  # those that the end of the time left unmeasured keep theirs
            study.runner.executor.store.forget(record.key)
    return "test", dict(zip(confirmed, done, strict=True))


def best_so_far(records: Sequence[Record], goal: Goal) -> list[float | None]:
    """The best score after each trial, of complete trials within the bounds."""
    scores = [record.score if goal.rank([record]) else None for record in records]

    def better(best: float | None, score: float | None) -> float | None:
        return score if best is None or (score is not None and goal.first.better(score, best)) else best

    return list(accumulate(scores, better))


def interval_of(candidate: Candidate, part: str, limits: Interval) -> Interval:
    """The 95 % interval of the mean score, from the seeds and the finite test part, within the limits of the objective."""
    scores = candidate.scores(part)
    if len(scores) < 2 or repeats(candidate):
        return UNBOUNDED
    found = interval(mean(scores), [(variance(scores) / len(scores), len(scores) - 1), *of_test_part(candidate, part)])
    return (max(found[0], limits[0]), min(found[1], limits[1])) if found != UNBOUNDED and possible(scores, limits) else found


def of_test_part(candidate: Candidate, part: str) -> Variances:
    """The variance of the mean score due to the finite test part, where it is known."""
    if not both_resampled(candidate, candidate, part):
        return []
    return [of_resamples(np.mean([r.resamples for r in candidate.tests], axis=0), candidate.tests[0].units)]


def difference(
    first: Candidate, other: Candidate, part: str, objective: Objective, limits: Interval
) -> tuple[float, Interval, float | None]:
    """How much better an option is than the first on the same seeds, with its 95 % interval, as a verdict weighs them, and p.

    Where the verdict would not trust the variance (`special_interval`), there is no p.
    """
    gain, around = weigh(first, other, part, objective, limits)
    if special_interval(gain, first, other, part, objective) is not None:
        return gain, around, None
    of_seeds, of_test = variances(first, other, part)
    parts = [*of_seeds, *of_test]
    if not total(parts):
        return gain, around, None if gain else 1.0
    return gain, around, float(2 * stdtr(degrees_of_freedom(parts), -abs(gain) / sqrt(total(parts))))


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """The p-values of several tests, corrected for their number.

    Source: Holm 1979, doi:10.2307/4615733.
    """
    ordered = sorted(values, key=lambda name: values[name])
    corrected = accumulate((min(1.0, (len(ordered) - place) * values[name]) for place, name in enumerate(ordered)), max)
    return dict(zip(ordered, corrected, strict=True))


def time_to_match(candidate: Candidate, first: Candidate, goal: Goal) -> tuple[int | None, float | None]:
    """The epoch at which the mean validation score of a recipe reaches that of the first option at its end, and the seconds until then."""
    ends = list(mean_curve(first, goal).values())[-1:]
    for epoch, score in mean_curve(candidate, goal).items():
        if ends and goal.first.gain(score, ends[0]) >= 0:
            seconds = [r.metrics.get("seconds", r.seconds) * epoch / r.epochs for r in candidate.records]
            return epoch, round(mean(seconds), 3)
    return None, None


def mean_curve(candidate: Candidate, goal: Goal) -> dict[int, float]:
    """What a recipe is worth after each epoch on the validation part, the mean over its seeds."""
    curves = [goal.curve(record.curve(goal.first.name)) for record in candidate.records]
    return {epoch: mean(curve[epoch] for curve in curves) for epoch in sorted(set.intersection(*map(set, curves)))}
