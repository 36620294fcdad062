"""Baseline and winner side by side, as rows of a table."""

from collections.abc import Callable

from autoopt.records.verdict import Verdict
from autoopt.report.numbers import number
from autoopt.report.sentence import PART_WORDS


def megabytes(value: float) -> str:
    return f"{value:,.3f}" if value >= 0.01 else f"{value:.6f}"  # to the byte


COST_ROWS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("latency_ms", "latency of one example, ms", lambda value: f"{value:.3f}" if value >= 0.1 else f"{value:#.3g}"),
    ("size_mb", "size, MB", megabytes),
    ("parameters", "parameters", "{:,.0f}".format),
)


def side_rows(verdict: Verdict) -> list[tuple[str, ...]]:
    """The baseline beside the winner, or alone where it is compared with nothing; the first row is the header."""
    sides = {"baseline": verdict.baseline}
    if verdict.winner.trial != verdict.baseline.trial:
        sides[f"{verdict.role} (trial {verdict.winner.trial})"] = verdict.winner
    scores, validation = ([getattr(side, name) for side in sides.values()] for name in ("score", "validation"))
    rows = [("", *sides), (f"{verdict.objective} {PART_WORDS[verdict.part]}", *(number(score, *scores) for score in scores))]
    if verdict.part == "test":
        rows.append((f"{verdict.objective} on validation, fresh seeds", *(number(score, *validation) for score in validation)))
    for name, label, form in COST_ROWS:
        if all(name in side.metrics for side in sides.values()):
            rows.append((label, *(form(side.metrics[name]) for side in sides.values())))
    return [*rows, ("recipe", *(side.title for side in sides.values()))]
