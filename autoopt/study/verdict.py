"""The verdict: how much better the winner is than the baseline, with an interval, and what it cost."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from math import isfinite, sqrt
from pathlib import Path
from statistics import mean, variance
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from scipy.special import stdtrit

from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.compress import COSTS, front
from autoopt.study.confirm import Candidate
from autoopt.study.folder import Folder
from autoopt.study.journal import Journal, Record
from autoopt.study.objective import Objective

if TYPE_CHECKING:
    import pandas

LEVEL = 0.95


class Repeating(yaml.SafeDumper):
    """Writes what stands in two places twice, for people to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@dataclass(frozen=True)
class Verdict:
    """What a study came to.

    `gain` is winner minus baseline on the part that decided nothing before (`part`), positive where the winner is
    better; `interval` holds it with 95 % confidence. It takes the winner as given: that it was the best of several on
    these very seeds is not taken off (among equal recipes "better" was said in 1.7 % of simulated studies with two
    candidates and in 4 % with four; 2.5 % is nominal). `front` is what the compressions came to, in the validation's score,
    the latency and the size, where nothing is as good in all three. `opened` counts the recipes that the test split was
    ever opened for. `best` is the recipe that we advise: the winner's where the interval lies above 0, else the baseline's.
    """

    study: str
    objective: Objective
    baseline: Candidate
    winner: Candidate
    gain: float
    interval: tuple[float, float]
    part: str
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    trainings: int
    seconds: float
    dropped: Mapping[str, str] = field(default_factory=dict)
    quarantined: Sequence[str] = ()
    front: Sequence[Record] = ()
    opened: int = 0
    folder: str = ""

    @property
    def better(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.winner.key != self.baseline.key and self.interval[0] > 0

    @property
    def best(self) -> Candidate:
        return self.winner if self.better else self.baseline

    def score(self, candidate: Candidate) -> float:
        return mean(scores(candidate, self.part))

    def conclusion(self) -> str:
        """The verdict in one sentence."""
        if self.winner.key == self.baseline.key:
            return "The baseline is as good: no recipe that was confirmed beat it."
        low, high = self.interval
        said = f"gain in {self.objective.name} on the {self.part} split {self.gain:+.4f}"
        said += f", 95 % interval {low:+.4f} to {high:+.4f}" if isfinite(low) else "; on so few seeds nothing can be said of chance"
        if self.part == "validation":
            why = "the test split does not tell it" if self.opened else "there is no test split"
            said += f" ({why}: this one chose the winner, so the gain is flattered)"
        if self.better:
            return f"Trial {self.winner.key} is better than the baseline: {said}."
        if high < 0:
            return f"The baseline is better than trial {self.winner.key}, which only validation preferred: {said}."
        if not isfinite(low):
            return f"Whether trial {self.winner.key} is better than the baseline cannot be told: {said}; study.seeds=3 or more tells."
        return f"The baseline is as good, as far as can be told, since the interval holds 0: {said}."

    def tree(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "conclusion": self.conclusion(),
            "objective": self.objective.name,
            "direction": self.objective.direction,
            "part": self.part,
            "gain": self.gain,
            "interval": list(self.interval),
            "level": LEVEL,
            "better": self.better,
            "baseline": self.described(self.baseline),
            "winner": self.described(self.winner),
            "trials": {**self.counts, "reasons": dict(self.reasons)},
            "trainings": self.trainings,
            "seconds": round(self.seconds, 1),
            "dropped": dict(self.dropped),
            "quarantined": list(self.quarantined),
            "front": [pointed(record) for record in self.front],
            "test_opened_for": self.opened,
        }

    def described(self, candidate: Candidate) -> dict[str, Any]:
        found = scores(candidate, self.part)
        measured = zip_longest(candidate.validation, candidate.test)
        metrics = [{key: value for record in pair if record for key, value in record.metrics.items()} for pair in measured]
        return {
            "trial": candidate.key,
            "title": candidate.recipe.title(),
            "score": mean(found),
            "scores": found,
            "validation": candidate.score,
            "metrics": {name: mean(m[name] for m in metrics) for name in metrics[0] if all(name in m for m in metrics)},
            "recipe": dict(candidate.recipe.tree),
        }

    def yaml(self) -> str:
        return yaml.dump(self.tree(), Dumper=Repeating, sort_keys=False)

    def trials(self) -> "pandas.DataFrame":
        """A row for each trial of the search: how it ended, what was measured, what was chosen."""
        import pandas  # half a second that only a notebook needs

        journal = Journal(Path(self.folder) / "journal.log", self.study, write=False)
        return pandas.DataFrame([row(r) for stage in ("search", "compress") for r in journal.records(stage)]).set_index("trial")

    def _repr_html_(self) -> str:
        sides = {"baseline": self.described(self.baseline), f"winner (trial {self.winner.key})": self.described(self.winner)}
        rows = [
            ("", *sides),
            ("recipe", *(side["title"] for side in sides.values())),
            (f"{self.objective.name}, {self.part} split", *(f"{side['score']:.4f}" for side in sides.values())),
            ("validation, fresh seeds", *(f"{side['validation']:.4f}" for side in sides.values())),
        ]
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows)
        return f"<p><b>{html.escape(self.study)}</b>: {html.escape(self.conclusion())}</p><table>{body}</table>"


def pointed(record: Record) -> dict[str, Any]:
    """One point of the front, in short."""
    costs = {cost: record.metrics[cost] for cost in COSTS}
    return {"trial": record.key, "title": Recipe(record.recipe).title(), "validation": record.score, **costs}


def row(record: Record) -> dict[str, Any]:
    """One trial as a row of a table."""
    recipe = Recipe(record.recipe)
    ended = {"stage": record.stage, "state": record.state, "reason": record.reason, "score": record.score, "epochs": record.epochs}
    return {"trial": record.key, **ended, **record.metrics, **recipe.names(), **recipe.flat()}


def conclude(folder: Folder, objective: Objective, pair: tuple[Candidate, Candidate], journal: Journal, space: Space) -> Verdict:
    """Weigh the winner against the baseline (`pair`: baseline, winner)."""
    baseline, winner = pair
    part = "test" if all(scores(c, "test") for c in pair) else "validation"
    gain, interval = weigh(baseline, winner, part, objective)
    searched = [*journal.records("search"), *journal.records("compress")]
    after = [*journal.records("confirm"), *journal.records("test")]
    return Verdict(
        study=folder.name,
        objective=objective,
        baseline=baseline,
        winner=winner,
        gain=gain,
        interval=interval,
        part=part,
        counts={state: sum(r.state == state for r in searched) for state in ("complete", "stopped", "failed")},
        reasons=Counter(r.reason for r in searched if r.reason),
        trainings=sum(r.stage in ("search", "confirm") for r in [*searched, *after]),
        seconds=sum(r.seconds for r in [*searched, *after]),
        dropped=space.dropped,
        quarantined=sorted(space.broken),
        front=front(journal.records("compress"), objective),
        opened=len({r.key.partition("-seed-")[0] for r in journal.records("test")}),
        folder=str(folder.path),
    )


def scores(candidate: Candidate, part: str) -> list[float]:
    """The objective on each seed."""
    return [r.score for r in (candidate.test if part == "test" else candidate.validation) if r.score is not None]


def weigh(baseline: Candidate, winner: Candidate, part: str, objective: Objective) -> tuple[float, tuple[float, float]]:
    """The gain, and its 95 % interval by Student's t.

    Two sources of chance are added: the seeds (of each side its variance over the number of seeds) and the finite test
    split (the variance of the gain over resamples of its examples, or of its groups where it was split by groups; the same
    ones for both sides). The degrees of freedom are Satterthwaite's (1946, doi:10.2307/3002019). Where single predictions
    are not to be had (a LightningModule measures itself), the seeds alone count.
    """
    if winner.key == baseline.key:
        return 0.0, (0.0, 0.0)
    theirs, ours = scores(baseline, part), scores(winner, part)
    gain = objective.gain(mean(ours), mean(theirs))
    if min(len(theirs), len(ours)) < 2:  # one seed tells nothing of the seeds' part
        return gain, (-float("inf"), float("inf"))
    parts = [(variance(side) / len(side), len(side) - 1) for side in (theirs, ours)]
    if part == "test" and all(r.resamples for c in (baseline, winner) for r in c.test):
        drawn = [np.mean([r.resamples for r in c.test], axis=0) for c in (winner, baseline)]
        units = max(2, winner.test[0].units)
        parts.append((float(np.var(drawn[0] - drawn[1], ddof=1)) * units / (units - 1), min(len(drawn[0]), units) - 1))
    return gain, spread(gain, parts)


def spread(gain: float, parts: list[tuple[float, int]]) -> tuple[float, float]:
    """The interval around a sum of independent variances, each with its degrees of freedom."""
    total = sum(v for v, _ in parts)
    if total == 0:  # seeds that agree to the last digit tell nothing of chance, unless there is no difference at all
        return (gain, gain) if gain == 0 else (-float("inf"), float("inf"))
    freedom = total**2 / sum(v**2 / n for v, n in parts)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * sqrt(total)
    return gain - half, gain + half
