"""A comparison of options as tables: for the terminal, in Markdown, CSV and LaTeX."""

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Any

from autoopt.records.comparison import Comparison, OptionResult
from autoopt.records.folder import replace_file
from autoopt.records.verdict import LEVEL
from autoopt.report.numbers import number, with_interval
from autoopt.report.sentence import PART_WORDS

TableRows = list[tuple[str, ...]]
"""The first row is the header."""
SIGNIFICANT = 1 - LEVEL
DASH = "–"
LATEX = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {"±": "$\\pm$", "–": "--", "<": "$<$"})


def comparison_title(comparison: Comparison) -> str:
    each = f"the best of {comparison.trials} trials each, trained on the same {comparison.seeds} fresh seeds"
    return f"Comparison of {comparison.slot} in {comparison.objective} {PART_WORDS[comparison.part]}: {each}, 95 % intervals"


def comparison_rows(comparison: Comparison) -> TableRows:
    """A row for each option: its mean, its difference to the first, how soon it is as good as that, and how often it fails."""
    first = comparison.options[0].option
    cells = f"difference to {first}", "p (Holm)", f"as good as {first}", "in a time of", "failed trials", "best trial"
    header = (comparison.slot, comparison.objective, *cells)
    never = DASH if comparison.options[0].epochs is None else "never"  # no epoch measures the objective, or the first was not confirmed
    return [header, *(option_row(row, row.option == first, never) for row in comparison.options)]


def option_row(row: OptionResult, first: bool, never: str) -> tuple[str, ...]:
    if row.mean is None:
        return (row.option, "no trial could be confirmed", DASH, DASH, DASH, DASH, failed_text(row), DASH)
    difference = DASH if first or row.difference is None else with_interval(row.difference, row.difference_interval, row.mean, sign="+")
    epochs = f"after {row.epochs} epoch{'' if row.epochs == 1 else 's'}" if row.epochs else never
    seconds = DASH if row.seconds is None else f"{row.seconds:.2f} s"
    p = DASH if row.p is None else f"{row.p:.3f}" if row.p >= 0.001 else "<0.001"
    return row.option, with_interval(row.mean, row.interval), difference, p, epochs, seconds, failed_text(row), row.trial


def failed_text(row: OptionResult) -> str:
    return f"{row.failed} of {row.trials}"


def tuning_title(comparison: Comparison) -> str:
    return f"How easy each is to tune: the best {comparison.objective} (validation) after so many trials"


def tuning_rows(comparison: Comparison) -> TableRows:
    """The best score of each option after 1, 2, 4, … trials."""
    most = comparison.trials
    counts = [*(2**i for i in range(most.bit_length()) if 2**i < most), *([most] if most else [])]
    header = (comparison.slot, *map(str, counts))
    return [header, *((row.option, *(score_text(row.best[count - 1]) for count in counts)) for row in comparison.options)]


def score_text(score: float | None) -> str:
    return DASH if score is None else number(score)


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """What the comparison shows, in sentences."""
    first, *others = comparison.options
    known = {row.option: (row.p, row.difference) for row in others if row.p is not None and row.difference is not None}
    groups = {
        f"Significantly better than {first.option}": [name for name, (p, gain) in known.items() if p < SIGNIFICANT and gain > 0],
        f"Significantly worse than {first.option}": [name for name, (p, gain) in known.items() if p < SIGNIFICANT and gain < 0],
        f"No difference to {first.option} could be shown": [name for name, (p, _) in known.items() if p >= SIGNIFICANT],
    }
    yield from (f"{words}: {', '.join(names)}." for words, names in groups.items() if names)
    if len(known) > 1:
        yield f"Each interval is for itself; p is corrected for the {len(known)} comparisons, and tells what is significant."
    if any(p >= SIGNIFICANT for p, _ in known.values()):
        yield f"More seeds than {comparison.seeds} (study.seeds) narrow the intervals; more trials (study.trials) tune each option better."
    if comparison.seeds == 1:
        yield "A single seed shows no variance; give a longer study.time."


def comparison_tables(comparison: Comparison) -> list[tuple[str, TableRows]]:
    """Both tables with their titles."""
    return [(comparison_title(comparison), comparison_rows(comparison)), (tuning_title(comparison), tuning_rows(comparison))]


def as_markdown_text(comparison: Comparison) -> str:
    """Both tables with their titles, and what they show."""
    parts = [part for title, rows in comparison_tables(comparison) for part in (title, markdown_table(rows))]
    return "\n\n".join([*parts, *comparison_lines(comparison)]) + "\n"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    header, *rest = rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ("---",) * len(header), *rest])


def as_latex(comparison: Comparison) -> str:
    """The first table as a `tabular` of booktabs, without the trials."""
    header, *rows = [[cell.translate(LATEX) for cell in row[:-1]] for row in comparison_rows(comparison)]
    lines = [f"  {' & '.join(row)} \\\\" for row in (header, *rows)]
    about = f"% {comparison_title(comparison)}\n% needs \\usepackage{{booktabs}}"
    body = "\n".join(["  \\toprule", lines[0], "  \\midrule", *lines[1:], "  \\bottomrule"])
    return f"{about}\n\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}\n{body}\n\\end{{tabular}}\n"


def comparison_records(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each option with all its figures."""
    return [option_record(row) for row in comparison.options]


def option_record(row: OptionResult) -> dict[str, Any]:
    (low, high), (difference_low, difference_high) = map(finite_ends, (row.interval, row.difference_interval))
    return {
        "option": row.option, "trial": row.trial, "recipe": row.title, "mean": row.mean, "low": low, "high": high,
        "difference": row.difference, "difference_low": difference_low, "difference_high": difference_high, "p_holm": row.p,
        "epochs_to_first": row.epochs, "seconds_to_first": row.seconds, "trials": row.trials, "failed": row.failed,
        **{f"seed_{place}": score for place, score in enumerate(row.scores)},
        **{f"best_of_{place}": score for place, score in enumerate(row.best, 1)},
    }  # fmt: skip


def finite_ends(interval: tuple[float, float]) -> tuple[float | None, float | None]:
    """Both ends of an interval; nothing where it is unknown."""
    return interval if isfinite(interval[0]) else (None, None)


def as_csv(comparison: Comparison) -> str:
    records = comparison_records(comparison)
    file = StringIO()
    writer = csv.DictWriter(file, [*dict.fromkeys(name for record in records for name in record)], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def write_comparison(folder: Path, comparison: Comparison) -> list[Path]:
    """Write comparison.md, .csv and .tex, and return their paths.

    Raises:
        StoreError: a file cannot be written.
    """
    texts = {"md": as_markdown_text(comparison), "csv": as_csv(comparison), "tex": as_latex(comparison)}
    for suffix, text in texts.items():
        replace_file(folder / f"comparison.{suffix}", text)
    return [folder / f"comparison.{suffix}" for suffix in texts]
