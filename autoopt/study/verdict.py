"""The verdict: how much better the winner is than the baseline, with an interval, and what it cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import mean, variance
from typing import Any

import numpy as np
import yaml
from scipy.special import stdtrit

from autoopt.study.confirm import Candidate
from autoopt.study.journal import Record
from autoopt.study.objective import Objective

LEVEL = 0.95


@dataclass(frozen=True)
class Verdict:
    """What a study came to.

    `gain` is winner minus baseline on the part that decided nothing before (`part`), positive where the winner is
    better; `interval` holds it with 95 % confidence. `best` is the recipe that we advise: the winner's where the interval
    lies above 0, else the baseline's.
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
        said = f"gain in {self.objective.name} on the {self.part} split {self.gain:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
        if self.better:
            return f"Trial {self.winner.key} is better than the baseline: {said}."
        return f"The baseline is as good, since the interval holds 0: {said}."

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
        }

    def described(self, candidate: Candidate) -> dict[str, Any]:
        found = scores(candidate, self.part)
        metrics = [r.metrics for r in candidate.test] or [r.metrics for r in candidate.validation]
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
        return yaml.safe_dump(self.tree(), sort_keys=False)


def conclude(
    study: str,
    objective: Objective,
    baseline: Candidate,
    winner: Candidate,
    records: Sequence[Record],
    confirmed: int,
    seconds: float,
    dropped: Mapping[str, str],
    folder: str,
) -> Verdict:
    """Weigh the winner against the baseline."""
    part = "test" if all(scores(c, "test") for c in (baseline, winner)) else "validation"
    gain, interval = weigh(baseline, winner, part, objective)
    counts = {state: sum(r.state == state for r in records) for state in ("complete", "stopped", "failed")}
    reasons = Counter(r.reason for r in records if r.reason)
    return Verdict(
        study, objective, baseline, winner, gain, interval, part, counts, reasons, len(records) + confirmed, seconds, dropped, folder
    )


def scores(candidate: Candidate, part: str) -> list[float]:
    """The objective on each seed."""
    return [r.score for r in (candidate.test if part == "test" else candidate.validation) if r.score is not None]


def weigh(baseline: Candidate, winner: Candidate, part: str, objective: Objective) -> tuple[float, tuple[float, float]]:
    """The gain, and its 95 % interval by Student's t.

    Two sources of chance are added: the seeds (of each side its variance over the number of seeds) and the finite test
    split (the variance of the gain over resamples of it, the same ones for both sides). The degrees of freedom are
    Satterthwaite's (1946, doi:10.2307/3002019). Where single predictions are not to be had (a LightningModule measures
    itself), the seeds alone count.
    """
    if winner.key == baseline.key:
        return 0.0, (0.0, 0.0)
    theirs, ours = scores(baseline, part), scores(winner, part)
    gain = objective.sign * (mean(ours) - mean(theirs))
    parts = [(variance(side) / len(side), len(side) - 1) for side in (theirs, ours) if len(side) > 1]
    if part == "test" and all(r.resamples for c in (baseline, winner) for r in c.test):
        drawn = [np.mean([r.resamples for r in c.test], axis=0) for c in (winner, baseline)]
        parts.append((float(np.var(drawn[0] - drawn[1], ddof=1)), 10**6))
    return gain, spread(gain, parts)


def spread(gain: float, parts: list[tuple[float, int]]) -> tuple[float, float]:
    """The interval around a sum of independent variances, each with its degrees of freedom; one seed tells nothing."""
    total = sum(v for v, _ in parts)
    if not parts or len(parts) < 2:
        return -float("inf"), float("inf")
    if total == 0:
        return gain, gain
    freedom = total**2 / sum(v**2 / n for v, n in parts)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * sqrt(total)
    return gain - half, gain + half
