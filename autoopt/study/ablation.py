"""Ablation: what each change of the baseline gives, by trainings of recipes between the baseline and the winner.

Each change is left out of the winner, and then the changes are made one after the other, first those without which the winner loses
most. All recipes are trained on the seeds of the last comparison, whose trainings of the baseline and the winner count, too.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from math import inf

from autoopt.analysis.changes import Changes
from autoopt.analysis.two_way import TwoWay
from autoopt.records.explanation import Ablation, Effect, Simpler
from autoopt.records.record import Record
from autoopt.records.stages import ABLATION, FINAL, SEARCH
from autoopt.records.verdict import Side, Verdict
from autoopt.study.confirm import replicate, room_left
from autoopt.study.study import Study

Group = tuple[str, ...]
"""Changes that are measured together."""
ENOUGH_SEEDS = 2
"""One seed tells nothing of the noise: rather are changes measured together."""


def trainings_for(trials: int, seeds: int) -> int:
    """How many trainings the ablation takes: a tenth of the search's, but enough for five recipes."""
    return max(trials // 10, 5 * min(ENOUGH_SEEDS, seeds))


def recipes_and_seeds(changes: int, room: int, seeds: int) -> tuple[int, int]:
    """How many recipes between the ends are trained, on how many seeds.

    Args:
        changes: between the baseline and the winner.
        room: the number of trainings.
        seeds: of both ends.
    """
    whole = max(1, 2 * changes - 2)
    each = min(seeds, max(ENOUGH_SEEDS, room // whole))
    return min(whole, room // each), each


def grouped(changes: Sequence[str], recipes: int) -> list[Group]:
    """Each change by itself, or the last of them together where the recipes are too few; one recipe is kept for the path."""
    count = len(changes) if len(changes) < recipes else max(2, recipes - 1) if recipes > 1 else 1
    return [*((change,) for change in changes[: count - 1]), tuple(changes[count - 1 :])]


@dataclass(frozen=True)
class Trainings:
    """The trainings of an ablation: of the recipes between the ends, and those of the ends from the last comparison.

    Args:
        ends: by the keys of their trials in the search.
        seeds: how many of the ends' seeds the recipes between them are trained on.
    """

    study: Study
    changes: Changes
    ends: Mapping[str, Sequence[Record]]
    seeds: int

    def key(self, kept: Collection[str]) -> str:
        """The recipe with these changes: an end by the key of its trial, another by its contents, so that none is trained twice."""
        recipe = self.changes.recipe(kept)
        for key, (first, *_) in self.ends.items():
            if recipe == first.point:
                return key
        return f"{ABLATION.name}-{hashlib.sha256(json.dumps(recipe.tree, sort_keys=True).encode()).hexdigest()[:8]}"

    def train(self, wanted: Iterable[Collection[str]]) -> None:
        """Train recipes, but for the time's end; what failed by the recipe's fault is not tried again."""
        recipes = {key: self.changes.recipe(kept) for kept in wanted if (key := self.key(kept)) not in self.ends}
        sound = {key: recipe for key, recipe in recipes.items() if not self.fault(key)}
        study, (_, winner) = self.study, self.ends.values()
        seeds = [record.seed for record in winner[: self.seeds]]
        replicate(study.runner, study.journal, ABLATION, sound, seeds, budget=study.budget, keep=False, least=0)

    def records(self, key: str) -> dict[int, Record]:
        """The finished trainings of a recipe by seed; none where one of them failed."""
        if key in self.ends:
            return dict(enumerate(self.ends[key]))
        records = self._latest(key)
        return {} if any(r.state != "complete" for r in records.values()) else records

    def fault(self, key: str) -> str:
        """Why a recipe cannot be trained, where it is to blame itself."""
        return next((f"{r.reason}: {r.detail}" for r in self._latest(key).values() if r.blame == "recipe"), "")

    def layout(self, keys: Iterable[str]) -> TwoWay:
        """The scores, greater where they are better, of the recipes that have some."""
        first = self.study.goal.first
        rows = {key: self.records(key) for key in (*self.ends, *keys)}
        scores = {k: {i: first.sign * (r.score or 0.0) for i, r in records.items()} for k, records in rows.items() if records}
        return TwoWay(scores, exact=first.cost is not None and first.cost.exact)

    def slower(self, ours: str, theirs: str) -> float | None:
        """By which share of its time one recipe trains longer than another, on the seeds that both have; `None` without such seeds."""
        sides = [self.records(key) for key in (ours, theirs)]
        seeds = sides[0].keys() & sides[1].keys()
        with_it, without = (sum(side[i].metrics.get("seconds", side[i].seconds) for i in seeds) for side in sides)
        return with_it / without - 1 if without else None

    def _latest(self, key: str) -> dict[int, Record]:
        latest = self.study.journal.latest(ABLATION)
        return {i: latest[name] for i in range(self.seeds) if (name := ABLATION.key.format(key, i)) in latest}


def ablate(study: Study, verdict: Verdict, importance: Mapping[str, float]) -> Ablation | None:
    """Take the winner apart; `None` where it did not win, or where nothing is to be taken apart.

    Args:
        importance: of the searched values, by key; where the budget is too small, changes of values alone and what matters little
            are measured together.
    """
    if not study.settings["ablation"] or verdict.best is not verdict.winner:
        return None
    changes = Changes(study.space, verdict.baseline.point, verdict.winner.point)
    ordered = sorted(changes.names, key=lambda change: (not changes.chooses(change), -share(change, importance)))
    if not ordered:
        return None
    ends = {side.trial: end_records(study, side) for side in (verdict.baseline, verdict.winner)}
    recipes, seeds = recipes_and_seeds(len(ordered), room_of(study), len(verdict.winner.scores))
    work = Trainings(study, changes, ends, seeds)
    whole = frozenset(ordered)
    groups = grouped(ordered, recipes)
    work.train(whole - {*group} for group in groups)
    layout = work.layout(work.key(whole - {*group}) for group in groups)
    without = {group: effect(work, layout, group, whole, whole - {*group}) for group in groups}
    groups.sort(key=lambda group: (without[group].unshown, -(inf if without[group].fault else without[group].gain or 0.0)))
    shown = sum(not without[group].unshown for group in groups)
    path = walked(work, groups, recipes - len(groups), shown)
    return Ablation(seeds, tuple(without[group] for group in groups), tuple(path), simpler(work, groups[:shown], len(groups)))


def share(change: str, importance: Mapping[str, float]) -> float:
    """The importance of a change: of a choice together with the values of all its options."""
    return sum(value for key, value in importance.items() if key == change or key.startswith(f"{change}."))


def end_records(study: Study, side: Side) -> list[Record]:
    """The trainings of the baseline or of the winner in the last comparison."""
    records = study.journal.latest(FINAL)
    return [records[FINAL.key.format(side.trial, i)] for i in range(len(side.scores))]


def room_of(study: Study) -> int:
    """How many trainings the ablation may take, with those that it has had."""
    searched, done = study.journal.records(SEARCH), len(study.journal.records(ABLATION))
    room = done + room_left(ABLATION, searched, study.budget, study.runner.workers)
    return int(min(trainings_for(len(searched), study.settings["seeds"]), room))


def effect(work: Trainings, layout: TwoWay, group: Group, ours: Collection[str], theirs: Collection[str]) -> Effect:
    """What a group of changes gives: the recipe with it, compared with the recipe without it."""
    names = tuple(work.changes.names[change] for change in group)
    with_it, without = work.key(ours), work.key(theirs)
    if not (work.records(with_it) and work.records(without)):
        return Effect(names, None, (-inf, inf), None, without, work.fault(without))
    gain, interval = layout.difference(with_it, without)
    return Effect(names, gain, interval, work.slower(with_it, without), without)


def walked(work: Trainings, groups: Sequence[Group], recipes: int, shown: int) -> Iterator[Effect]:
    """The path: the changes are made one group after the other; steps that were not trained are taken together.

    Args:
        recipes: how many may be trained: that with the changes whose gain was shown, then from the winner backwards.
        shown: the number of their groups.
    """
    steps = [frozenset(change for group in groups[:count] for change in group) for count in range(len(groups) + 1)]
    left_out = {work.key(steps[-1] - {*group}) for group in groups}
    untrained = {key: step for step in [steps[shown], *reversed(steps)] if (key := work.key(step)) not in {*work.ends, *left_out}}
    work.train(islice(untrained.values(), max(0, recipes)))
    trained = [count for count, step in enumerate(steps) if work.records(work.key(step))]
    layout = work.layout(work.key(steps[count]) for count in trained)
    for before, count in pairwise(trained):
        together = tuple(change for group in groups[before:count] for change in group)
        yield effect(work, layout, together, steps[count], steps[before])


def simpler(work: Trainings, kept: Sequence[Group], groups: int) -> Simpler | None:
    """The winner without the changes whose gain was not shown, if it is better than the baseline, keeps the bounds, and no loss could be
    shown."""
    changes = [change for group in kept for change in group]
    baseline, winner = work.ends
    key = work.key(changes)
    records = work.records(key)
    if not 0 < len(kept) < groups or not records or any(work.study.goal.violation(r.metrics) for r in records.values()):
        return None
    layout = work.layout([key])
    gain, interval = layout.difference(key, winner)
    if interval[1] < 0 or layout.difference(key, baseline)[1][0] <= 0:
        return None
    return Simpler(dict(work.changes.recipe(changes).tree), gain, interval, work.slower(key, winner))
