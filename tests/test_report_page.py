"""The report of a study as one HTML file, and its figures."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from scripted import Fails, closed, learn, record, studied
from test_report import ABLATION, IMPORTANCE, side, verdict

from autoopt.cli import main
from autoopt.config import FROM
from autoopt.errors import BadInput
from autoopt.goal import Bound
from autoopt.records.record import BASELINE
from autoopt.records.settled import Settled
from autoopt.records.stored import open_stored
from autoopt.records.verdict import Point
from autoopt.report.figures import PLOTS, axis_of, best_figures, figure_of
from autoopt.report.page import fact_rows, figures_of, page_of, write_page
from autoopt.study.explore import explore
from autoopt.study.publish import write_report

HOSTILE = '</script><script>window.hacked=1</script><img src=x onerror="hacked=1">\'"&<b>{{7*7}}%{y}'


def play(order):
    """Every fifth trial fails with a text that is to be shown as it is."""
    if order.key.endswith("4"):
        raise Fails("error", HOSTILE)
    return (yield from learn(order))


@pytest.fixture(scope="module")
def searched_study(tmp_path_factory):
    """A study of 20 trials without a verdict."""
    made = studied(tmp_path_factory.mktemp("runs") / "s", play, "study.trials=20", "study.epochs=3")
    made.folder.settle(Settled(made.space, made.goal, "test"), made.runner.executor.facts)
    explore(made)
    closed(made)
    return made.folder.path


def concluded(path, **changes):
    """The study as read, with a verdict whose winner is a trial of it."""
    study = open_stored(path.name, str(path.parent))
    best = max((r for r in study.records["search"] if r.score is not None and r.key != BASELINE), key=lambda r: r.score)
    winner = replace(side(best.key, 0.8), recipe=dict(best.recipe))
    fields = {"winner": winner, "ablation": ABLATION, "importance": IMPORTANCE, "folder": str(path)}
    return replace(study, verdict=verdict(**(fields | changes)))


class Tags(HTMLParser):
    """Collects the tags of a page, and what they load."""

    def __init__(self, text):
        super().__init__()
        self.names, self.loaded = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href") or name.startswith("on")]


@pytest.mark.slow
def test_a_page_has_every_figure_that_the_study_has(searched_study):
    point = Point("1", "sgd", {"val_accuracy": 0.5, "latency_ms": 1.0})
    study = concluded(searched_study, front=(point, replace(point, trial="2")))
    text = page_of(study)
    shown = re.findall(r'data-plot="plot-(\w+)"', text)
    assert sorted(shown) == sorted(PLOTS)
    beside, _ = figure_of(study, "front").data
    assert beside.name == "the others", "what misses a bound is not dominated"
    assert f"autoopt train recipe=s root={searched_study.parent}" in text and "Trial" in text


def test_names_in_figures_have_room(searched_study):
    """Those of changes that were measured together take several lines; that of a point beside an axis would be cut by it."""
    changes = ("schedule cosine", "compression half", "cnn (width, depth, convolution)", "cross_entropy (label_smoothing)")
    together = replace(ABLATION, left_out=tuple(replace(effect, changes=changes) for effect in ABLATION.left_out))
    study = concluded(searched_study, front=(Point("compress-1", "sgd", {"val_accuracy": 0.5, "latency_ms": 1.0}),))
    low = figure_of(study, "ablation")
    high = figure_of(concluded(searched_study, ablation=together), "ablation")
    lines = max(name.count("<br>") + 1 for name in high.data[0].y)
    each = [(figure.layout.height - 120) / len(figure.data[0].y) for figure in (low, high)]
    assert lines > 3 and each == [44, 18 * lines]
    assert figure_of(study, "front").data[1].cliponaxis is False


def test_a_page_tells_each_seed_of_the_comparison_once(searched_study):
    """The machine ended a training, which ran again, and the time ended before the last seed was measured on the test part."""
    study = concluded(searched_study)
    seeds = ((0, 5), (0, 5), (1, 6), (2, 7), (3, 8))
    final = [replace(record(f"{study.verdict.winner.trial}-final-{i}", 0.5), seed=seed) for i, seed in seeds]
    told = dict(fact_rows(replace(study, records={**study.records, "final": final})))
    assert told["seeds of the comparison"] == "5, 6, 7"


@pytest.mark.slow
def test_a_page_loads_nothing_and_runs_no_text_of_the_study(searched_study):
    """Names and messages are data: the page of a hostile study has the tags of a harmless page."""
    tree = {HOSTILE: {}}
    harmless = concluded(searched_study)
    hostile = replace(
        harmless,
        path=harmless.path,
        verdict=replace(
            harmless.verdict,
            study=HOSTILE,
            objective=HOSTILE,
            winner=replace(harmless.verdict.winner, title=HOSTILE, recipe={**harmless.verdict.winner.recipe, "optimizer": tree}),
            ablation=replace(ABLATION, left_out=tuple(replace(e, changes=(HOSTILE,)) for e in ABLATION.left_out)),
            importance=replace(IMPORTANCE, shares={HOSTILE: 1.0}),
        ),
    )
    plain, attacked = (Tags(page_of(study)) for study in (harmless, hostile))
    assert attacked.loaded == plain.loaded == []
    assert plain.names.count("script") == len(PLOTS) - 1 + 3, "no front; the template, plotly and our own"
    assert attacked.names.count("script") == len(PLOTS) - 2 + 3, "no recipe has the value of that name, so there are no slices"
    assert "img" not in attacked.names and "b" not in attacked.names
    assert "49%{y}" not in page_of(hostile), "no template in a name is filled in"


def test_the_commands_of_a_page_name_the_code_that_they_need(searched_study):
    study = concluded(searched_study)
    plain = page_of(study)
    own = {"data": {"digits": {"train": 5}}, "model": {"Net": {FROM: "my_models:Net"}}, "metrics": "my_metrics:score"}
    recipe = {**study.verdict.winner.recipe, "optimizer": {"mine": {FROM: "my_parts:mine"}}}
    winner = replace(study.verdict.winner, recipe=recipe)
    text = page_of(replace(study, config={**study.config, **own}, verdict=replace(study.verdict, winner=winner)))
    where = f"s root={searched_study.parent}"
    assert f"autoopt train recipe={where} trust=my_parts:mine</pre>" in text
    assert f"autoopt reproduce {where} {winner.trial} trust=my_models:Net,my_metrics:score</pre>" in text
    assert f"<pre>autoopt reproduce {where} {winner.trial}</pre>" in plain and f"<pre>autoopt train recipe={where}</pre>" in plain


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.slow
def test_a_browser_draws_the_figures_and_runs_no_text_of_the_study(searched_study, tmp_path):
    study = concluded(searched_study, objective=HOSTILE)
    page = tmp_path / "report.html"
    write_page(study, page)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", f"--user-data-dir={tmp_path / 'chromium'}"]
    done = subprocess.run(["chromium", *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    body = done.stdout
    assert body.count('class="main-svg"') >= len(PLOTS) - 1 and "<img" not in body
    assert "rgb(235, 240, 248)" in body, "the grid of the one template"
    printed = tmp_path / "report.pdf"
    subprocess.run(["chromium", *flags, f"--print-to-pdf={printed}", page.as_uri()], capture_output=True, timeout=120, check=True)
    assert printed.read_bytes().startswith(b"%PDF") and printed.stat().st_size > 50_000


def test_a_study_that_is_not_concluded_has_a_page(searched_study, capsys):
    assert main(["report", "s", f"root={searched_study.parent}"]) == 0
    path = searched_study / "report.html"
    assert capsys.readouterr().out == f"{path}\n"
    text = path.read_text()
    assert "Not concluded yet: 20 of 20 trials." in text
    assert re.findall(r'data-plot="plot-(\w+)"', text) == ["history", "curves", "choices", "slices"]
    assert "<td>error</td>" in text and "&lt;/script&gt;&lt;script&gt;window.hacked" in text, "the failures are listed"


def test_figures_that_are_refused(searched_study):
    study = open_stored("s", str(searched_study.parent))
    with pytest.raises(BadInput, match=r"No figure named 'importanc'\. Did you mean 'importance'"):
        figure_of(study, "importanc")
    with pytest.raises(BadInput, match=r"s has nothing to show in the figure 'front'\. Known: choices, curves, history, slices"):
        figure_of(study, "front")
    assert figure_of(study, "curves").layout.title.text == "Learning curves"


def test_a_figure_that_cannot_be_drawn_leaves_a_line(searched_study, monkeypatch):
    def fail(study):
        raise ValueError(HOSTILE)

    monkeypatch.setitem(PLOTS, "curves", replace(PLOTS["curves"], draw=fail))
    text = page_of(concluded(searched_study))
    assert "This figure cannot be drawn: ValueError: &lt;/script&gt;&lt;script&gt;window.hacked" in text
    assert "curves" not in re.findall(r'data-plot="plot-(\w+)"', text) and 'data-plot="plot-history"' in text


def test_the_best_figures_are_the_first_two_each_drawn_once(searched_study, monkeypatch):
    drawn = []

    def counting(plot):
        def draw(study):
            drawn.append(plot.name)
            return plot.draw(study)

        return replace(plot, draw=draw)

    for name, plot in PLOTS.items():
        monkeypatch.setitem(PLOTS, name, counting(plot))
    titles = [figure.layout.title.text for figure in best_figures(open_stored("s", str(searched_study.parent)))]
    assert titles == ["Best so far", "Learning curves"]
    assert drawn == ["ablation", "history", "seeds", "importance", "curves"]


def test_long_labels_leave_room_for_the_bars_of_a_narrow_screen(searched_study):
    bars = PLOTS["ablation"].draw(concluded(searched_study)).data[0]
    assert list(bars.y) == ["augmentation mixup and<br>batches.size", "optimizer sgd"]


def test_a_figure_that_cannot_be_drawn_is_left_out_of_a_notebook_as_of_a_page(searched_study, monkeypatch):
    def fail(study):
        raise ZeroDivisionError("no figure")

    monkeypatch.setitem(PLOTS, "history", replace(PLOTS["history"], draw=fail))
    study = open_stored("s", str(searched_study.parent))
    assert [figure.layout.title.text for figure in best_figures(study)] == ["Learning curves", "What was chosen"]
    assert figures_of(study)[1] == {"history": "ZeroDivisionError: no figure"}


def test_the_curve_of_the_winner_and_the_rungs_are_marked(searched_study):
    study = concluded(searched_study)
    figure = figure_of(study, "curves")
    curves = {trace.name: dict(zip(trace.x, trace.y, strict=True)) for trace in figure.data if trace.name != "the other trials"}
    assert curves == {
        "baseline": study.record("0").curve("val_accuracy"),
        "winner": study.record(study.verdict.winner.trial).curve("val_accuracy"),
    }
    stopped = {r.epochs for r in study.records["search"] if r.state == "stopped"}
    assert {shape.x0 for shape in figure.layout.shapes} == stopped != set()


def test_the_best_so_far_follows_the_direction(searched_study):
    study = open_stored("s", str(searched_study.parent))
    over_trainings = next(trace for trace in figure_of(study, "history").data if trace.name == "best so far")
    assert list(over_trainings.y) == sorted(over_trainings.y) and over_trainings.y[-1] == max(
        r.score for r in study.records["search"] if r.state == "complete"
    )
    assert list(over_trainings.x) == sorted(over_trainings.x)


def test_the_best_so_far_keeps_the_bounds(searched_study):
    """With the limit of a trial in the middle, no better trial counts."""
    study = open_stored("s", str(searched_study.parent))
    scores = sorted(r.score for r in study.records["search"] if r.state == "complete")
    limit = scores[len(scores) // 2]
    study.__dict__["goal"] = replace(study.goal, bounds=(Bound(replace(study.goal.first, direction="minimize"), limit),))
    best = next(trace for trace in figure_of(study, "history").data if trace.name == "best so far")
    assert best.y[-1] == limit < scores[-1]


@pytest.mark.parametrize(
    ("values", "axis"),
    [
        ([], {}),
        ([0.1, 0.2, 0.9], {"type": "linear"}),
        ([0.001, 0.1, 2.0], {"type": "log"}),
        ([float("nan"), -1.0, 1.0], {"type": "linear"}),
        ([*range(50, 70), 1e9], {"type": "linear", "range": [pytest.approx(50.4), pytest.approx(69.6)]}),
    ],
)
def test_an_axis_leaves_outliers_out(values, axis):
    assert axis_of(values) == axis


def test_a_report_that_cannot_be_written_does_not_fail_the_search(tmp_path, monkeypatch):
    made = studied(tmp_path / "s", learn, "study.trials=2")
    (tmp_path / "s" / "space.yaml").write_text("spoilt: [")
    try:
        assert write_report(made) == []
    finally:
        closed(made)
    (line,) = made.runner.screen.lines
    assert line.startswith("the report cannot be written (BadInput: ") and line.endswith(f"root={tmp_path} tries again")


def test_a_study_without_trials_has_no_report(tmp_path, capsys):
    made = studied(tmp_path / "s", learn, "study.trials=2")
    made.folder.settle(Settled(made.space, made.goal, "test"), made.runner.executor.facts)
    closed(made)
    assert main(["report", "s", f"root={tmp_path}"]) == 2
    assert capsys.readouterr().err == "autoopt: s has no finished trial yet; there is nothing to show\n"
    assert main(["report", "--help"]) == 0 and "HTML file that needs no network" in capsys.readouterr().out
