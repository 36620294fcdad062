"""The report of a study: one HTML file that needs no network."""

import gzip
import json
import secrets
import shlex
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.graph_objects import Figure
from plotly.io import templates
from plotly.offline import get_plotlyjs

from autoopt.config import as_overrides, trusting
from autoopt.config.yaml_file import written
from autoopt.errors import summary
from autoopt.recipe import Recipe
from autoopt.records.folder import reference, replace_file
from autoopt.records.record import BASELINE, Record
from autoopt.records.stages import FINAL, SEARCH
from autoopt.records.stored import Stored
from autoopt.records.verdict import Verdict
from autoopt.report.comparison import comparison_lines, comparison_tables
from autoopt.report.figures import PLOTS, TEMPLATE, drawn_figures
from autoopt.report.front import front_rows
from autoopt.report.leaderboard import leaderboard, leaderboard_rows
from autoopt.report.numbers import duration, number, signed_interval
from autoopt.report.reasons import ablation_rows, ablation_title, reasons
from autoopt.report.sentence import compared, conclusion, unfinished
from autoopt.report.sides import side_rows
from autoopt.report.terminal import spent

HERE = Path(__file__).parent
TEMPLATES = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
NAME = "report.html"


def write_page(study: Stored, path: Path) -> None:
    """Write the report of a study, concluded or not.

    Raises:
        StoreError: the file cannot be written.
    """
    replace_file(path, page_of(study))


def page_of(study: Stored) -> str:
    """The report as HTML; everything that comes from the study is escaped."""
    winner = study.verdict.winner.trial if study.verdict else BASELINE
    figures, undrawn = figures_of(study)
    return TEMPLATES.get_template("page.html").render(
        name=study.name,
        date=datetime.now().astimezone().strftime("%-d %B %Y, %H:%M"),
        nonce=secrets.token_urlsafe(),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
        plotly=packed_plotly(),
        template=template(),
        figures=figures,
        undrawn=undrawn,
        plots=PLOTS,
        verdict=study.verdict,
        trials=leaderboard_rows(study, leaderboard(study)),
        failures=failure_rows(study),
        left_out=left_out_rows(study),
        facts=list(fact_rows(study)),
        reproduce=f"autoopt reproduce {reference(study.path)} {winner}{trusting(study.config)}",
        config=written(study.config),
        **(verdict_parts(study, study.verdict) if study.verdict else unfinished_parts(study)),
    )


def figures_of(study: Stored) -> tuple[dict[str, Figure], dict[str, str]]:
    """The figures that the study has, and the faults of those that cannot be drawn: the page is worth having without them."""
    drawn = dict(drawn_figures(study))
    faults = {name: summary(error) for name, error in drawn.items() if isinstance(error, Exception)}
    return {name: figure for name, figure in drawn.items() if name not in faults}, faults


@cache
def template() -> str:
    """What all figures have in common, as JSON."""
    return json.dumps(templates[TEMPLATE].to_plotly_json())


@cache
def packed_plotly() -> str:
    """Plotly as gzip in base64, which is 2 MB instead of 5 in every report and every MLflow store."""
    return b64encode(gzip.compress(get_plotlyjs().encode(), 6)).decode()


def unfinished_parts(study: Stored) -> dict[str, Any]:
    """What the page shows of a study without a verdict."""
    return {"conclusion": unfinished(study), "compared": "", "spent": "", "recipe": ""}


def verdict_parts(study: Stored, verdict: Verdict) -> dict[str, Any]:
    """What the page shows of a verdict."""
    found, ablation = verdict.comparison, verdict.ablation
    side = "winner" if verdict.best is verdict.winner else "baseline"
    return {
        "conclusion": conclusion(verdict),
        "compared": compared(verdict),
        "cards": list(card_rows(verdict)),
        "sides": side_rows(verdict),
        "comparison": comparison_tables(found) if found else [],
        "comparison_lines": list(comparison_lines(found)) if found else [],
        "ablation": ablation_rows(verdict, ablation) if ablation else [],
        "ablation_title": ablation_title(verdict, ablation) if ablation else "",
        "reasons": list(reasons(verdict)),
        "front": front_rows(verdict) if verdict.front else [],
        "spent": spent(verdict),
        "recipe_title": f"The recipe of the {side}",
        "recipe": verdict.best.point.yaml(),
        "short_command": f"autoopt train recipe={reference(study.path)}{trusting(verdict.best.recipe)}",
        "command": command_of(verdict.best.point),
    }


def card_rows(verdict: Verdict) -> Iterator[tuple[str, str, str]]:
    """The figures that a reader looks for first: a label, a value and a note."""
    scores = [verdict.baseline.score, verdict.winner.score]
    yield f"baseline, {verdict.objective}", number(verdict.baseline.score, *scores), verdict.baseline.title
    if verdict.winner.trial != verdict.baseline.trial:
        yield f"{verdict.role}, trial {verdict.winner.trial}", number(verdict.winner.score, *scores), verdict.winner.title
        gain, _, interval = signed_interval(verdict.gain, verdict.interval).partition(", ")
        yield "gain", gain, interval
    counts = ", ".join(f"{count} {state}" for state, count in verdict.counts.items() if count)
    yield "trials", str(sum(verdict.counts.values())), counts
    yield "time", duration(verdict.elapsed), f"{duration(verdict.seconds)} of trial time"


def command_of(recipe: Recipe) -> str:
    """The command that trains a recipe, a setting a line."""
    return " \\\n  ".join(["autoopt train", *map(shlex.quote, as_overrides(dict(recipe.tree)))])


def failure_rows(study: Stored) -> list[tuple[str, ...]]:
    """The failed trials of all stages by reason and technique, each with the first message."""
    failed: dict[tuple[str, str], list[Record]] = {}
    for record in (r for records in study.records.values() for r in records if r.state == "failed"):
        failed.setdefault((record.reason or "", record.technique), []).append(record)
    rows = sorted(failed.items(), key=lambda row: -len(row[1]))
    return [("reason", "technique", "trials", "first message"),
            *((reason, technique, str(len(records)), records[0].detail) for (reason, technique), records in rows)]  # fmt: skip


def left_out_rows(study: Stored) -> list[tuple[str, ...]]:
    """The techniques that the search did not use, each with the reason."""
    return [("technique", "why"), *study.locked.get("left_out", {}).items()]


def fact_rows(study: Stored) -> Iterator[tuple[str, str]]:
    """What a training depends on: seeds, data, techniques, versions and machine."""
    records = [r for stage in study.records.values() for r in stage]
    yield "what", "value"
    yield "seed of the study", f"{study.config['seed']}; the split's seed is {study.config['split']['seed']}"
    if study.verdict:
        seeds = {r.key: str(r.seed) for r in study.records[FINAL.name] if r.key.startswith(f"{study.verdict.winner.trial}-")}
        yield "seeds of the comparison", ", ".join([*seeds.values()][: len(study.verdict.winner.scores)])
    yield "trials", str(Counter(r.stage for r in records)[SEARCH.name])
    yield "digest of the data", str(study.locked.get("examples", ""))
    environments = Counter(tuple(sorted(r.environment.items())) for r in records if r.environment)
    yield from environments.most_common(1)[0][0] if environments else ()
    if len(environments) > 1:
        yield "environments", f"{len(environments)}; the one of most trials is shown"
    yield "techniques", ", ".join(f"{key} ({owner})" for key, owner in study.locked.get("techniques", {}).items())
