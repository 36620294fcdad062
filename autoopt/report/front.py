"""The Pareto front as rows of a table."""

from autoopt.records.stages import COMPRESS
from autoopt.records.verdict import Verdict
from autoopt.report.numbers import number
from autoopt.report.reasons import enumerated
from autoopt.report.sides import COST_ROWS

VALUES = {name: form for name, _, form in COST_ROWS}
HEADERS = {"latency_ms": "latency, ms", "size_mb": "size, MB"}


def front_kind(verdict: Verdict) -> str:
    """Of what the front is."""
    return "the compressed models" if all_compressed(verdict) else "the trials"


def all_compressed(verdict: Verdict) -> bool:
    """Whether the front holds compressed models alone."""
    return all(point.trial.startswith(COMPRESS.name) for point in verdict.front)


def front_title(verdict: Verdict) -> str:
    names = list(verdict.front[0].values)
    timed = "; latency of one example, measured alone" if any(name.startswith("latency") for name in names) else ""
    return f"Pareto front of {front_kind(verdict)} in {enumerated(names)} (validation{timed})"


def front_rows(verdict: Verdict) -> list[tuple[str, ...]]:
    """A row for each model, with its values in each objective; the first row is the header."""
    names = list(verdict.front[0].values)
    rows = [(p.trial, *(VALUES.get(name, number)(value) for name, value in p.values.items()), p.title) for p in verdict.front]
    return [("trial", *(HEADERS.get(name, name) for name in names), "recipe"), *rows]
