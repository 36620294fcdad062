"""Confirm: the best and the baseline on fresh seeds; the winner is chosen there, then the test split is opened once."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import mean

from autoopt.recipe import Recipe
from autoopt.study.explore import BASELINE, ranked, recorded
from autoopt.study.folder import derived_seed
from autoopt.study.journal import Journal, Record
from autoopt.study.objective import Objective
from autoopt.study.runner import Job, Runner

STAGE = "confirm"
TEST = "test"


@dataclass(frozen=True)
class Candidate:
    """A recipe on its fresh seeds: one record a seed, of the validation part and (for two of them) of the test part."""

    key: str
    recipe: Recipe
    validation: list[Record]
    test: list[Record]

    @property
    def score(self) -> float:
        return mean(r.score for r in self.validation if r.score is not None)


def how_many(trials: int, seeds: int, most: int) -> int:
    """Recipes to confirm beside the baseline: a fifth of the budget, but at least one."""
    return max(1, min(most, trials // 5 // seeds - 1))


def confirm(
    runner: Runner, journal: Journal, objective: Objective, found: list[Record], seeds: int, top: int, seed: int
) -> list[Candidate]:
    """Train the best `top` of what was found, and the baseline, on `seeds` fresh seeds each.

    Returns:
        the candidates whose every training came to a score, the best first; what was confirmed before is not trained again.
    """
    picked = candidates(found, objective, top)
    before = {r.key: r for r in journal.records(STAGE) if r.state == "complete"}
    jobs = [job for record in picked for job in trainings(record, seeds, seed, runner) if job.key not in before]
    runner.screen.stage(STAGE, len(picked) * seeds, len(picked) * seeds - len(jobs))
    runner.run(jobs, lambda result: journal.add(STAGE, recorded(result)))
    complete = {r.key: r for r in journal.records(STAGE) if r.state == "complete"}
    keys = {record.key: [f"{record.key}-seed-{i}" for i in range(seeds)] for record in picked}
    whole = [Candidate(r.key, r.point, [complete[k] for k in keys[r.key]], []) for r in picked if all(k in complete for k in keys[r.key])]
    return sorted(whole, key=lambda c: -objective.sign * c.score)


def candidates(found: list[Record], objective: Objective, top: int) -> list[Record]:
    """The baseline, and the best others; each recipe once."""
    picked = [r for r in found if r.key == BASELINE]
    for record in ranked(found, objective):
        if len(picked) <= top and all(record.recipe != other.recipe for other in picked):
            picked.append(record)
    return picked


def trainings(record: Record, seeds: int, seed: int, runner: Runner) -> Iterator[Job]:
    for i in range(seeds):
        key = f"{record.key}-seed-{i}"
        yield Job(key, STAGE, record.point, derived_seed(seed, key), {"save": str(runner.folder.weights(key))})


def open_test(runner: Runner, journal: Journal, candidates: list[Candidate]) -> list[Candidate]:
    """Measure candidates on the test part, by the weights that confirm trained, one at a time, so that latency counts."""
    before = {r.key for r in journal.records(TEST) if r.state == "complete"}
    jobs = [job for c in candidates for job in openings(c, runner) if job.key not in before]
    total = sum(len(c.validation) for c in candidates)
    runner.screen.stage(TEST, total, total - len(jobs))
    runner.run(jobs, lambda result: journal.add(TEST, recorded(result)), width=1)
    measured = {r.key: r for r in journal.records(TEST) if r.state == "complete"}
    return [replace(c, test=[measured[k] for r in c.validation if (k := f"{r.key}-{TEST}") in measured]) for c in candidates]


def openings(candidate: Candidate, runner: Runner) -> Iterator[Job]:
    for record in candidate.validation:
        order = {"load": str(runner.folder.weights(record.key)), "part": "test", "latency": True}
        yield Job(f"{record.key}-{TEST}", TEST, candidate.recipe, record.seed, order)
