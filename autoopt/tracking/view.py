"""A study's leaderboard in MLflow: a view that is saved with the experiment, listed under "Views" and opened by its address.

MLflow keeps such a view as a tag of the experiment. Its pages read the tag; no client of MLflow writes it.
"""

import json
from collections.abc import Sequence
from typing import Any

VIEW_KEY = "mlflow.sharedViewState.{}"
"""The tag of an experiment that holds a view; the pages open it by the same name (`viewStateShareKey`)."""
IN_CHART, CURVES = 100, 10
"""The number of runs in a chart, and the number of learning curves."""
SECTION = {"uuid": "autoopt", "name": "autoopt", "display": True, "isReordered": False, "deleted": False, "isGenerated": False}
LAYOUT = {"columns": 2, "cardHeight": 420}
NOTE = "Training runs of autoopt."
"""The beginning of an experiment's description that autoopt wrote."""


def view_name(spool: str) -> str:
    """The name of a study's view, by the name of its spool: studies of one name in one experiment have views of their own."""
    return f"autoopt-{spool[:8]}"


def runs_page(experiment: str, view: str | None = None) -> str:
    """The path of an experiment's training runs in MLflow's pages, which open on pages for language models by themselves."""
    shown = f"&viewStateShareKey={view}" if view else ""
    return f"/experiments/{experiment}/runs?workflowType=machine_learning{shown}"


def described(note: str, words: str, link: str) -> str:
    """An experiment's description with a link to a study's page; the user's own description is unchanged.

    MLflow opens an experiment on its pages for language models unless the browser was told otherwise; the description stands above
    these pages, too.
    """
    if link in note or (note and not note.startswith(NOTE)):
        return note
    return f"{note or NOTE} [{words}]({link})"


def leaderboard_view(name: str, objective: str, direction: str, searched: Sequence[str], runs: str) -> dict[str, Any]:
    """The view of a study's search: its trials, the best first, and charts of them.

    Args:
        name: its name in the list of views.
        objective: the metric whose learning curves are drawn.
        direction: maximize or minimize, of the objective.
        searched: the parameters of the runs that the search chooses.
        runs: MLflow's search filter of the study's runs.
    """
    columns = [
        *(f"metrics.`{metric}`" for metric in ("objective", "gain")),
        *(f"params.`{parameter}`" for parameter in searched),
        "metrics.`epochs_trained`",
        "attributes.`Duration`",
        "tags.`autoopt.state`",
    ]
    charts = [
        chart("PARALLEL", "parallel", selectedParams=list(searched), selectedMetrics=["objective"], showAllRuns=True),
        curves(objective),
        chart("SCATTER", "gain", xaxis=axis("trial"), yaxis=axis("gain")),
        *([chart("SCATTER", "lr", xaxis=axis("log10_lr"), yaxis=axis("objective"))] if "lr" in searched else []),
    ]
    state = {
        "searchFilter": f"{runs} and tags.`autoopt.stage` = 'search'",
        "orderByKey": "metrics.`objective`",
        "orderByAsc": direction == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "runsPinned": [],
        "runsHidden": [],
        "runListHidden": False,
        "viewMaximized": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "compareRunSections": [SECTION | LAYOUT],
        "compareRunCharts": charts,
    }
    return {"name": name, "state": json.dumps(state)}


def chart(kind: str, key: str, runs: int = IN_CHART, **more: Any) -> dict[str, Any]:
    known = {"type": kind, "uuid": key, "runsCountToCompare": runs, "metricSectionId": SECTION["uuid"]}
    return {**known, "deleted": False, "isGenerated": False, **more}


def axis(metric: str) -> dict[str, str]:
    return {"type": "METRIC", "key": metric}


def curves(metric: str) -> dict[str, Any]:
    """The learning curves of the best runs."""
    scales = {"scaleType": "linear", "xAxisScaleType": "linear", "lineSmoothness": 0, "range": {}, "useGlobalLineSmoothing": True}
    axes = {"xAxisKey": "step", "selectedXAxisMetricKey": "", "useGlobalXaxisKey": True, "yAxisKey": "metric", "yAxisExpressions": []}
    return chart("LINE", "curves", CURVES, metricKey=metric, selectedMetricKeys=[metric], **axes, **scales)
