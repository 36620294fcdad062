"""From the trials of a study to its verdict: choose the winner, compare it with the baseline on other seeds, weigh."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import takewhile, zip_longest
from math import isfinite
from statistics import mean
from typing import Any

from autoopt.analysis.candidate import Candidate, mean_metrics
from autoopt.analysis.weighing import both_resampled, required_sizes, variances, weigh
from autoopt.config import trusting
from autoopt.errors import NotConcluded
from autoopt.goal import Goal
from autoopt.recipe import Recipe
from autoopt.records.record import BASELINE, Record, added
from autoopt.records.stages import COMPARE, COMPRESS, CONFIRM, FINAL, SEARCH, STORED, TEST, Stage
from autoopt.records.verdict import Limit, Point, Side, Verdict
from autoopt.study.alone import pool, why_alone
from autoopt.study.compress import compress_goal, pareto_front
from autoopt.study.confirm import (
    Plan,
    candidates,
    fresh_seeds,
    measure_candidates,
    planned,
    race,
    replicate,
    room_left,
    share_of,
)
from autoopt.study.explore import ended_early
from autoopt.study.sampling import history, quarantined
from autoopt.study.study import Study


def decide(study: Study, options: Mapping[str, Candidate] | None = None) -> Verdict:
    """Confirm the best trials, compare the winner with the baseline, and weigh.

    Args:
        options: the confirmed best of each option, where the study compares options; the winner is the best of these.

    Raises:
        NotConcluded: the baseline cannot be confirmed, or the test part cannot be measured; what was trained is kept.
    """
    plan = plan_of(study)
    pair = final_pair(study, plan, chosen(study, plan) if options is None else ranked(study, options.values()))
    if study.tests and study.part != "validation":  # else the test part does not measure the objective
        study, pair = tested_pair(study, pair)
    return verdict_of(study, pair[0], pair[-1], plan)


def plan_of(study: Study) -> Plan:
    """The plan that fits into confirm's share of the trainings and into the time that is left, with the trainings that it has had."""
    searched, seeds = study.journal.records(SEARCH), study.settings["seeds"]
    done = sum(len(study.journal.records(stage)) for stage in (CONFIRM, FINAL))
    room = done + room_left(FINAL, searched, study.budget, study.runner.workers)
    return planned(int(min(share_of(len(searched), seeds), room)), seeds, study.settings["confirm"])


def final_pair(study: Study, plan: Plan, winners: Iterable[Candidate]) -> list[Candidate]:
    """The baseline and the winner on the final seeds; the baseline alone where no candidate is left.

    Args:
        winners: the best first; where a training of the winner fails, the next best takes its place.

    Raises:
        NotConcluded: a training of the baseline failed.
    """
    baseline = study.baseline or study.space.without_compression().baseline()
    for winner in winners:
        pair = final(study, {BASELINE: baseline, winner.key: winner.recipe}, plan)
        if len(pair) == 2:
            return pair
        if all(c.key != BASELINE for c in pair):
            break  # it would fail beside any other, too
    else:
        pair = final(study, {BASELINE: baseline}, plan)
    if all(c.key != BASELINE for c in pair):
        raise NotConcluded(f"the baseline cannot be confirmed: {why(study, FINAL)} (logs: {study.folder.path / 'trials'})")
    return pair


def chosen(study: Study, plan: Plan) -> list[Candidate]:
    """The candidates, the winner of their race first; then those for which the race had no place, in case that all others fail."""
    best = candidates(pool(study), study.goal, study.settings["confirm"], believed(study))
    recipes = {r.key: r.point for r in best[: plan.candidates]}

    def train(left: Mapping[str, Recipe], count: int) -> list[Candidate]:
        seeds = fresh_seeds(study.seed, CONFIRM, count)
        return replicate(study.runner, study.journal, CONFIRM, left, seeds, budget=study.budget, keep=False)

    return [*race(recipes, train, study.goal), *(Candidate(r.key, r.point) for r in best[plan.candidates :])]


def ranked(study: Study, options: Iterable[Candidate]) -> list[Candidate]:
    """The best of each option, the best first on the fresh seeds, as far as they are ahead of the baseline, which may be one of them."""
    return list(takewhile(lambda c: c.key != BASELINE, sorted(options, key=lambda c: c.place(study.goal))))


def believed(study: Study) -> list[str]:
    """The trials of the search by the strategy's own ranking, if it has one; compressed models are ranked by their scores."""
    if study.journal.records(COMPRESS):
        return []
    trials = list(history(study.journal, SEARCH, study.goal).values())
    ranking = study.strategy(study.space.without_compression(), study.goal).ranking(trials)
    return [SEARCH.key.format(number) for number in ranking]


def final(study: Study, recipes: dict[str, Recipe], plan: Plan) -> list[Candidate]:
    """The recipes on the final seeds, with their weights stored; a recipe of which a training failed is missing."""
    seeds = fresh_seeds(study.seed, FINAL, plan.final)
    return replicate(study.runner, study.journal, FINAL, recipes, seeds, budget=study.budget, keep=True)


def tested_pair(study: Study, pair: list[Candidate]) -> tuple[Study, list[Candidate]]:
    """The pair with its measurements on the test part; validation decides where they lack the objective, or fail for `autoopt finish`.

    Raises:
        NotConcluded: a measurement failed.
    """
    measured = measure_candidates(study.runner, study.journal, pair, study.budget)
    tests = [test for c in measured for test in c.tests]
    if all(test.state == "complete" for test in tests):
        if study.part != "test" or all(test.score is not None for test in tests):
            return study, measured
        study.runner.screen.say(f"the test split does not measure {study.goal.first.name} after all: the validation split decides")
        return replace(study, part="validation"), pair
    problem = f"the test split cannot be measured: {why(study, TEST)} (logs: {study.folder.path / 'trials'})"
    if study.budget.asking:
        way = f"the same command tries again, `{study.folder.finish}` concludes on the validation split"
        raise NotConcluded(f"{problem}; {way}")
    study.runner.screen.say(problem)
    return replace(study, part="validation" if study.part == "test" else study.part, tests=False), pair


def why_untested(study: Study) -> str:
    """Why the test part does not compare winner and baseline."""
    if not study.facts["test"]:
        return "there is no test split"
    return "the test split does not measure it" if study.tests else "the test split cannot be measured"


def why(study: Study, stage: Stage) -> str:
    """How the last trial of a stage failed."""
    failed = [r for r in study.journal.records(stage) if r.state == "failed"]
    return f"{failed[-1].reason}: {failed[-1].detail}" if failed else "it was not measured"


def verdict_of(study: Study, baseline: Candidate, winner: Candidate, plan: Plan) -> Verdict:
    """Weigh the winner against the baseline, and count the trials of the study and their time."""
    first = study.goal.first
    gain, interval = weigh(baseline, winner, study.part, first, first.limits(ours=not study.facts["lightning"]))
    seeds_needed, test_needed = needed(baseline, winner, study.part, gain, interval)
    baseline_side, winner_side = side(baseline, study.part), side(winner, study.part)
    searched = study.journal.records(SEARCH)
    failing = set() if study.settings["compare"] else quarantined(searched)  # a comparison leaves none out
    tried = [r for r in (*searched, *study.journal.records(COMPRESS)) if not r.origin]
    return Verdict(
        study=study.folder.name,
        objective=first.name,
        direction=first.direction,
        part=study.part,
        gain=gain,
        interval=interval,
        sampled=("batches" if study.facts["lightning"] else "examples") if both_resampled(baseline, winner, study.part) else "",
        untested=why_untested(study) if study.part == "validation" else "",
        baseline=baseline_side,
        winner=winner_side,
        counts={state: sum(r.state == state for r in tried) for state in ("complete", "stopped", "failed")},
        reasons=dict(Counter(r.reason for r in tried if r.reason)),
        dropped=dict(study.space.dropped),
        quarantined=tuple(sorted(study.space.broken | failing)),
        unsound=unsound(study),
        front=front_of(study),
        ended=ended_early(study, searched),
        limits=tuple(Limit.of(bound, baseline_side.metrics, winner_side.metrics) for bound in study.goal.bounds),
        test_opened_for=len({r.key.rsplit("-", 3)[0] for r in study.journal.records(TEST)}),
        seeds_planned=study.settings["seeds"] if len(baseline.records) < study.settings["seeds"] else 0,
        seeds_needed=seeds_needed,
        test_needed=test_needed,
        alone=why_alone(study) if winner.key == baseline.key else "",
        folder=str(study.folder.path),
        trust=trusting(study.tree),
        **totals(study),
    )


def unsound(study: Study) -> dict[str, str]:
    """The candidates of which a training on a fresh seed failed, each with how it failed."""
    latest = [(stage, r) for stage in (COMPARE, CONFIRM, FINAL) for r in study.journal.latest(stage).values()]
    failed = {stage.trial_and_seed(r.key)[0]: f"{r.reason}: {r.detail}" for stage, r in latest if r.state == "failed"}
    return {trial: problem for trial, problem in failed.items() if trial != BASELINE}


def totals(study: Study) -> dict[str, Any]:
    """The trainings of a study so far, and their time."""
    records = {stage: [r for r in study.journal.records(stage) if not r.origin] for stage in STORED}
    return {
        "trainings": sum(not r.continues for stage, rows in records.items() if stage.trains for r in rows),
        "seconds": round(sum(sum(added(rows, lambda r: r.seconds)) for rows in records.values()), 1),
        "elapsed": round(study.budget.elapsed, 1),
    }


def needed(baseline: Candidate, winner: Candidate, part: str, gain: float, interval: tuple[float, float]) -> tuple[int, float]:
    """The seeds and the factor of the test part that would show a difference, where none could be shown."""
    low, high = interval
    if not isfinite(low) or low == high or not low <= 0 <= high:
        return 0, 0.0
    return required_sizes(gain, *variances(baseline, winner, part), len(winner.scores(part)))


def side(candidate: Candidate, part: str) -> Side:
    """A candidate as a side of the verdict, compared on a part."""
    measured = zip_longest(candidate.records, candidate.tests)
    metrics = [{name: value for record in pair if record for name, value in record.metrics.items()} for pair in measured]
    scores = candidate.scores(part)
    return Side(
        trial=candidate.key,
        title=candidate.recipe.title(),
        score=mean(scores),
        scores=scores,
        validation=candidate.score,
        metrics=mean_metrics(metrics),
        recipe=dict(candidate.recipe.tree),
        weights=candidate.records[0].key,
    )


def front_of(study: Study) -> tuple[Point, ...]:
    """The Pareto front: of the compressed models in score, latency and size, or in the objectives of all trials, if there are several."""
    several, compressed = len(study.goal.objectives) > 1, study.journal.records(COMPRESS)
    goal = study.goal if several else compress_goal(study.goal)
    return tuple(point(record, goal) for record in pareto_front(study, goal, pool(study) if several else compressed))


def point(record: Record, goal: Goal) -> Point:
    names = [objective.name for objective in goal.objectives]
    return Point(record.key, record.point.title(), dict(zip(names, goal.scores(record) or (), strict=True)))
