"""The trials of a search, the best first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoopt.records.record import BASELINE, Record
from autoopt.records.stages import SEARCH
from autoopt.records.stored import Stored
from autoopt.report.numbers import duration, number


@dataclass(frozen=True)
class Place:
    """A trial among those of its search.

    Args:
        rank: 1 for the best; `None` where the trial is not complete, or misses a bound.
        role: baseline, winner (candidate, where it is not advised), or neither.
        gain: over the baseline, positive where the trial is better; `None` where one of them has no score.
    """

    rank: int | None
    record: Record
    gain: float | None
    role: str = ""

    @property
    def ended(self) -> str:
        """How the trial ended, in a few words."""
        record = self.record
        if record.state == "failed":
            return f"failed ({record.reason})"
        state = self.role or (f"stopped at epoch {record.epochs}" if record.state == "stopped" else record.state)
        return f"{state} (misses a bound)" if self.rank is None and record.state == "complete" else state


def leaderboard(study: Stored) -> list[Place]:
    """The trials by the study's own direction: complete ones, those that miss a bound, stopped ones, failed ones."""
    goal, records, baseline = study.goal, study.records[SEARCH.name], study.baseline
    ranked = goal.rank(records)
    rank_of = {record.key: rank for rank, record in enumerate(ranked, 1)}
    unranked = [record for record in records if record.key not in rank_of]
    states = ("complete", "stopped", "failed")

    def worst_last(record: Record) -> tuple[int, float]:
        return states.index(record.state), -goal.first.sign * (record.score or 0.0)

    start = None if baseline is None else baseline.score
    roles = ({study.verdict.winner.trial: study.verdict.role} if study.verdict else {}) | {BASELINE: "baseline"}
    return [
        Place(rank_of.get(r.key), r, None if r.score is None or start is None else goal.first.gain(r.score, start), roles.get(r.key, ""))
        for r in [*ranked, *sorted(unranked, key=worst_last)]
    ]


def place_of(study: Stored, record: Record) -> Place:
    """The place of a trial; one of another stage has no rank."""
    places = {place.record.key: place for place in leaderboard(study)}
    return places.get(record.key) or Place(None, record, None)


def leaderboard_rows(study: Stored, places: Sequence[Place]) -> list[tuple[str, ...]]:
    """The trials as rows of a table; the first row is the header, the last column is as wide as it likes."""
    first = study.goal.first.name
    scores = [place.record.score for place in places if place.record.score is not None and place.rank is not None]
    best = scores[:1]
    header = ("rank", "trial", first, "gain", "state", "time", "recipe")
    return [header, *(place_row(place, best) for place in places)]


def place_row(place: Place, beside: Sequence[float]) -> tuple[str, ...]:
    record = place.record
    score = "" if record.score is None else number(record.score, *beside)
    gain = "" if place.gain is None else number(place.gain, *beside, sign="+")
    what = record.detail if record.state == "failed" and record.detail else ""
    title = f"{record.point.title()}{f': {what}' if what else ''}"
    return (str(place.rank or ""), record.key, score, gain, place.ended, duration(record.seconds), title)


def leaderboard_records(places: Sequence[Place]) -> list[dict[str, Any]]:
    """The trials with their whole figures, for programs."""
    return [
        {
            "rank": place.rank,
            "trial": place.record.key,
            "score": place.record.score,
            "gain": place.gain,
            "state": place.record.state,
            "reason": place.record.reason,
            "detail": place.record.detail,
            "epochs": place.record.epochs,
            "seconds": place.record.seconds,
            "recipe": place.record.point.title(),
        }
        for place in places
    ]
