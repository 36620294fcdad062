"""The leaderboard that MLflow shows of a study."""

import json

import pytest

from autoopt.tracking.view import described, leaderboard_view, runs_page, view_name

LINK = "#/experiments/1/runs"


def state(*searched, direction="maximize"):
    view = leaderboard_view("s", "val_accuracy", direction, searched, "tags.a = 'b'")
    return json.loads(view["state"])


def test_its_columns_are_what_is_searched_between_the_score_and_the_state():
    assert state("optimizer", "lr")["selectedColumns"] == [
        "metrics.`objective`",
        "metrics.`gain`",
        "params.`optimizer`",
        "params.`lr`",
        "metrics.`epochs_trained`",
        "attributes.`Duration`",
        "tags.`autoopt.state`",
    ]


@pytest.mark.parametrize(("direction", "ascending"), [("maximize", False), ("minimize", True)])
def test_the_best_comes_first(direction, ascending):
    assert state(direction=direction)["orderByAsc"] is ascending


@pytest.mark.parametrize(("searched", "more"), [(("lr",), ["lr"]), (("optimizer",), [])])
def test_its_charts(searched, more):
    found = {chart["uuid"]: chart for chart in state(*searched)["compareRunCharts"]}
    assert list(found) == ["parallel", "curves", "gain", *more]
    assert (found["parallel"]["selectedParams"], found["curves"]["metricKey"]) == (list(searched), "val_accuracy")


def test_it_fits_into_a_tag_of_an_experiment():
    names = [f"model.{'n' * 200}.{number}" for number in range(8)]
    assert len(json.dumps(leaderboard_view("s", "val_accuracy", "maximize", names, "f" * 100))) < 20_000


def test_the_page_and_the_name_of_a_view():
    assert view_name("0123456789abcdef") == "autoopt-01234567"
    assert runs_page("7") == "/experiments/7/runs?workflowType=machine_learning"
    assert runs_page("7", "autoopt-01234567") == "/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=autoopt-01234567"


def test_an_experiment_of_several_studies_links_each_once():
    first = described("", "Leaderboard of a", f"{LINK}?a")
    both = described(first, "Run of b", f"{LINK}?b")
    assert both == f"Training runs of autoopt. [Leaderboard of a]({LINK}?a) [Run of b]({LINK}?b)"
    assert described(both, "a", f"{LINK}?a") == both


def test_the_users_own_description_stays():
    assert described("Our baseline runs.", "a", LINK) == "Our baseline runs."
