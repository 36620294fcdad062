"""The figures of a study, by Optuna and plotly."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from itertools import accumulate, islice
from math import inf, isfinite
from textwrap import wrap
from typing import Any

import plotly.graph_objects as go
from optuna.trial import TrialState
from optuna.visualization import plot_parallel_coordinate, plot_slice
from plotly.subplots import make_subplots

from autoopt.errors import BadInput, nearest
from autoopt.records.record import BASELINE, Record, added
from autoopt.records.stages import COMPRESS, SEARCH
from autoopt.records.stored import Stored
from autoopt.report.charted import charted, choice_keys, value_of
from autoopt.report.front import all_compressed
from autoopt.report.numbers import number
from autoopt.report.reasons import enumerated

WINNER, PLAIN, ACCENT, FAINT = "#0b7a5b", "#8a919c", "#2f6db5", "#c9ced6"
"""Colours of the winner, of the baseline, of what is shown, and of what is beside it."""
TEMPLATE = "plotly_white"
"""Plotly needs long to give it to a figure; a page gives it to all of its figures at once."""
SLICES = 3
MOST_BARS = 10
STEEP = 100.0
"""A positive value whose greatest is so many times its least is drawn on a logarithmic axis."""
OUTLYING = 5.0
"""The worst and the best tenth are cut off an axis that they make so many times as long."""


@dataclass(frozen=True)
class Plot:
    """A figure that a study may have.

    Args:
        about: what it shows, in a sentence.
        draw: makes it; `None` where the study has nothing to show.
    """

    name: str
    title: str
    about: str
    draw: Callable[[Stored], go.Figure | None]


def draw_seeds(study: Stored) -> go.Figure | None:
    """The scores of the baseline and the winner, a line for each seed."""
    verdict = study.verdict
    if verdict is None or verdict.winner.trial == verdict.baseline.trial:
        return None
    sides = ["baseline", f"{verdict.role} (trial {escape(verdict.winner.trial)})"]
    both = (verdict.baseline, verdict.winner)
    figure = go.Figure()
    for place, pair in enumerate(zip(*(side.scores for side in both), strict=False)):
        marks = {"size": 9, "color": [PLAIN, WINNER]}
        figure.add_scatter(x=sides, y=pair, mode="lines+markers", line_color=FAINT, marker=marks, name=f"seed {place}", showlegend=False)
    for side, score, colour in zip(sides, (side.score for side in both), (PLAIN, WINNER), strict=True):
        text, mark = [f"  mean {number(score, *(s.score for s in both))}"], {"size": 26, "symbol": "line-ew-open", "color": colour}
        figure.add_scatter(x=[side], y=[score], mode="markers+text", text=text, textposition="middle right", marker=mark, showlegend=False)
    figure.update_xaxes(range=[-0.5, 1.7])
    return figure.update_yaxes(title_text=escape(verdict.objective))


def draw_ablation(study: Stored) -> go.Figure | None:
    """What the winner loses without each of its changes."""
    if study.verdict is None or study.verdict.ablation is None:
        return None
    effects = [effect for effect in study.verdict.ablation.left_out if effect.gain is not None][::-1]
    if not effects:
        return None
    gains = [effect.gain or 0.0 for effect in effects]
    names = ["<br>".join(wrap(escape(enumerated(effect.changes)), 28, break_long_words=False)) for effect in effects]
    known = [effect.interval if isfinite(effect.interval[0]) else (gain, gain) for effect, gain in zip(effects, gains, strict=True)]
    above = [high - gain for (_, high), gain in zip(known, gains, strict=True)]
    below = [gain - low for (low, _), gain in zip(known, gains, strict=True)]
    colours = [FAINT if effect.unshown else WINNER for effect in effects]
    bars = go.Bar(x=gains, y=names, orientation="h", marker_color=colours, width=0.55, hovertemplate="%{x:+.4g}<extra>%{y}</extra>",
                  error_x={"type": "data", "array": above, "arrayminus": below, "color": "#4b5563", "thickness": 1.2})  # fmt: skip
    return go.Figure(bars).update_xaxes(title_text=f"gain in {escape(study.verdict.objective)}", zeroline=True)


def draw_importance(study: Stored) -> go.Figure | None:
    """The share of each searched value."""
    if study.verdict is None or study.verdict.importance is None:
        return None
    rows = [(key, share) for key, share in study.verdict.importance.shares.items() if share >= 0.005][:MOST_BARS][::-1]
    names, shares = [escape(key) for key, _ in rows], [share for _, share in rows]
    bars = go.Bar(x=shares, y=names, orientation="h", marker_color=ACCENT, width=0.55, hovertemplate="%{x:.1%}<extra>%{y}</extra>")
    return go.Figure(bars).update_xaxes(tickformat=".0%", rangemode="tozero")


def draw_history(study: Stored) -> go.Figure | None:
    """Each trial's score and the best so far, over trainings and over time."""
    first, epochs = study.goal.first, study.config["study"]["epochs"]
    records = sorted((r for r in study.records[SEARCH.name] if not r.origin), key=lambda r: r.elapsed)
    trained = [total / epochs for total in accumulate(added(records, lambda r: r.epochs))]
    ended = [(place, r) for place, r in enumerate(records) if r.state == "complete" and r.score is not None and isfinite(r.score)]
    if not ended:
        return None
    unit, name = unit_of(records[-1].elapsed)
    scores = [r.score or 0.0 for _, r in ended]
    kept = (-first.sign * inf if study.goal.violation(r.metrics) else r.score or 0.0 for _, r in ended)
    best = list(accumulate(kept, max if first.sign > 0 else min))  # plotly leaves out what is infinite
    texts = [f"trial {escape(r.key)}<br>{escape(r.point.title())}" for _, r in ended]
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    for column, title, xs in (
        (1, "whole trainings", [trained[place] for place, _ in ended]),
        (2, name, [r.elapsed / unit for _, r in ended]),
    ):
        end = trained[-1] if column == 1 else records[-1].elapsed / unit
        dots = {"color": ACCENT, "size": 6, "opacity": 0.6}
        hover = "%{text}<br>%{y:.5g}<extra></extra>"
        figure.add_scatter(x=xs, y=scores, mode="markers", marker=dots, text=texts, hovertemplate=hover, name="complete trials",
                           showlegend=column == 1, row=1, col=column)  # fmt: skip
        figure.add_scatter(x=[*xs, end], y=[*best, best[-1]], mode="lines", line={"color": WINNER, "width": 2, "shape": "hv"},
                           name="best so far", hoverinfo="skip", showlegend=column == 1, row=1, col=column)  # fmt: skip
        figure.update_xaxes(title_text=title, rangemode="tozero", row=1, col=column)
    if study.baseline is not None and study.baseline.score is not None:
        figure.add_hline(y=study.baseline.score, line_dash="dash", line_color=PLAIN)
        figure.add_scatter(x=[None], y=[None], mode="lines", line={"color": PLAIN, "dash": "dash"}, name="baseline")
    figure.update_yaxes(title_text=escape(first.name), col=1)
    return figure.update_yaxes(**axis_of(scores))


def unit_of(seconds: float) -> tuple[float, str]:
    """The unit of a time axis, in seconds, and its name."""
    return (3600.0, "hours") if seconds > 3 * 3600 else (60.0, "minutes") if seconds > 180 else (1.0, "seconds")


def axis_of(values: Iterable[float], kept: Iterable[float] = ()) -> dict[str, Any]:
    """The type and the range of an axis; the range leaves the outliers out, but none of the values `kept`."""
    ordered = sorted(filter(isfinite, values))
    if not ordered:
        return {}
    tenth = len(ordered) // 10
    low, high = ordered[tenth], ordered[-1 - tenth]
    low, high = min([low, *kept]), max([high, *kept])
    far = ordered[-1] - ordered[0] > OUTLYING * (high - low) > 0
    if not far:
        low, high = ordered[0], ordered[-1]
    log = low > 0 and high / low > STEEP
    pad = 0.1 * (high - low)
    return {"type": "log" if log else "linear"} | ({"range": [low - pad, high + pad]} if far and not log else {})


def draw_curves(study: Stored) -> go.Figure | None:
    """The objective of every trial by epoch, with the rungs at which trials were stopped."""
    first, records = study.goal.first, study.records[SEARCH.name]
    by_key = {r.key: curve for r in records if (curve := r.curve(first.name))}
    if not by_key:
        return None
    winner, role = (study.verdict.winner.trial, study.verdict.role) if study.verdict else (BASELINE, "")
    marked = {key: by_key.pop(key) for key in (BASELINE, winner) if key in by_key}
    rows = [(epoch, y, key) for key, curve in by_key.items() for epoch, y in [*curve.items(), (None, None)]]  # a gap after each trial
    figure, hover = go.Figure(), "trial %{text}, epoch %{x}: %{y:.5g}<extra></extra>"
    if rows:
        xs, ys, keys = zip(*rows, strict=True)
        figure.add_scatter(x=xs, y=ys, text=[escape(key) for key in keys], mode="lines+markers", marker_size=3, opacity=0.4,
                           line={"width": 1, "color": ACCENT}, name="the other trials", hovertemplate=hover)  # fmt: skip
    for key, curve in marked.items():
        name, colour, dash = ("baseline", PLAIN, "dash") if key == BASELINE else (role, WINNER, "solid")
        figure.add_scatter(x=list(curve), y=list(curve.values()), text=[escape(key)] * len(curve), mode="lines+markers", marker_size=5,
                           line={"width": 3, "color": colour, "dash": dash}, name=name, hovertemplate=hover)  # fmt: skip
    for epoch in sorted({r.epochs for r in records if r.state == "stopped"}):
        figure.add_vline(x=epoch, line_dash="dot", line_color="#d97706", annotation_text=f"rung {epoch}", annotation_font_size=11)
    values = [y for curve in (*by_key.values(), *marked.values()) for y in curve.values()]
    figure.update_yaxes(title_text=escape(first.name), **axis_of(values, [y for curve in marked.values() for y in curve.values()]))
    return figure.update_xaxes(title_text="epoch", dtick=1 if max(r.epochs for r in records) <= 12 else None)


def draw_choices(study: Stored) -> go.Figure | None:
    """What each complete trial chose, and its score."""
    made = charted(study, choice_keys(study))
    complete = [trial.params for trial in made.get_trials(deepcopy=False, states=[TrialState.COMPLETE])]
    names = dict.fromkeys(name for params in complete for name in params)
    params = [name for name in names if len({values.get(name) for values in complete}) > 1]
    if not params:
        return None
    return plot_parallel_coordinate(made, params, target_name=escape(study.goal.first.name)).update_layout(margin_l=70)


def draw_slices(study: Stored) -> go.Figure | None:
    """The score over the values that matter most."""
    found = study.verdict and study.verdict.importance
    keys = list(found.shares) if found else choice_keys(study)
    records = [r for r in study.records[SEARCH.name] if r.state == "complete" and r.score is not None]
    there = [key for key in keys if len({value_of(r.point, key) for r in records} - {None}) > 1][:SLICES]
    if not there:
        return None
    figure = plot_slice(charted(study, there), [escape(key) for key in there], target_name=escape(study.goal.first.name))
    figure.for_each_trace(lambda trace: trace.update(x=[x.strip("'") if isinstance(x, str) else x for x in trace.x]))
    figure.for_each_xaxis(lambda axis: axis.update(categoryarray=axis.categoryarray and [name.strip("'") for name in axis.categoryarray]))
    return (
        figure.update_traces(marker_size=7)
        .update_xaxes(nticks=4, tickfont_size=11)
        .update_yaxes(**axis_of(r.score or 0.0 for r in records))
    )


def draw_front(study: Stored) -> go.Figure | None:
    """The Pareto front among all that was measured, in the first two of its objectives; the third is told by a point's hover text."""
    if study.verdict is None or not study.verdict.front or len(study.verdict.front[0].values) < 2:
        return None
    names, points = list(study.verdict.front[0].values), study.verdict.front
    best, cost = names[:2]
    stages = (COMPRESS,) if all_compressed(study.verdict) else (SEARCH, COMPRESS)
    measured = [r for stage in stages for r in study.records[stage.name]]
    shown = {point.trial for point in points}
    others = [r for r in measured if r.key not in shown and r.state == "complete" and {best, cost} <= r.metrics.keys()]
    figure = go.Figure()
    dots = {"color": FAINT, "size": 8}
    figure.add_scatter(x=[r.metrics[cost] for r in others], y=[r.metrics[best] for r in others], mode="markers", name="the others",
                       text=[hover_text(r, names) for r in others], hovertemplate="%{text}<extra></extra>", marker=dots)  # fmt: skip
    line = sorted(points, key=lambda point: point.values[cost])
    texts = [f"trial {escape(p.trial)}: {escape(p.title)}<br>{value_lines(p.values)}" for p in line]
    figure.add_scatter(x=[p.values[cost] for p in line], y=[p.values[best] for p in line], mode="markers+lines+text", name="Pareto front",
                       text=[escape(p.trial) for p in line], textposition="top center", line={"color": WINNER, "width": 1, "dash": "dot"},
                       marker={"color": WINNER, "size": 10}, customdata=texts, hovertemplate="%{customdata}<extra></extra>",
                       cliponaxis=False)  # fmt: skip  # or the name of a point beside an axis is cut
    figure.update_xaxes(title_text=escape(cost), **axis_of(p.values[cost] for p in line))
    return figure.update_yaxes(title_text=escape(best))


def hover_text(record: Record, names: list[str]) -> str:
    values = {name: record.metrics[name] for name in names if name in record.metrics}
    return f"trial {escape(record.key)}: {escape(record.point.title())}<br>{value_lines(values)}"


def value_lines(values: Mapping[str, float]) -> str:
    return "<br>".join(f"{escape(name)} {value:.4g}" for name, value in values.items())


PLOTS = {
    plot.name: plot
    for plot in (
        Plot("ablation", "What each change gives", "What the winner loses without it; grey where no gain could be shown.", draw_ablation),
        Plot("history", "Best so far", "Every complete trial, over whole trainings and over the time of the study.", draw_history),
        Plot("seeds", "Baseline and winner on each seed", "Both on the same fresh seeds; a line joins the scores of one seed.", draw_seeds),
        Plot("importance", "What mattered in the search", "What each searched value explains (PED-ANOVA).", draw_importance),
        Plot("curves", "Learning curves", "Every trial of the search; at a rung, bad trials are stopped.", draw_curves),
        Plot("choices", "What was chosen", "A line for each complete trial, coloured by its score.", draw_choices),
        Plot("slices", "The values that matter most", "Every complete trial over each value; darker trials came later.", draw_slices),
        Plot("front", "Pareto front", "No other model is better than one of these in every objective.", draw_front),
    )
}
"""By name; the first two that a study has are shown in a notebook."""


def styled(study: Stored, plot: Plot) -> go.Figure | None:
    """A figure in the style of the report, without a title and the template; `None` where the study has nothing to show."""
    figure = plot.draw(study)
    if figure is None:
        return None
    bars = [len(trace.y) * max(44, *(18 * (name.count("<br>") + 1) for name in trace.y)) for trace in figure.data if trace.type == "bar"]
    height = 120 + max(bars) if bars else 400
    font = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": "#1f2937"}
    margin = {"l": max(10, figure.layout.margin.l or 0), "r": 10, "t": 30, "b": 10}
    figure.update_layout(template=None, title=None, height=height, font=font, margin=margin,
                         legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, hoverlabel={"align": "left"})  # fmt: skip
    return figure.update_xaxes(automargin=True).update_yaxes(automargin=True)


def figure_of(study: Stored, name: str) -> go.Figure:
    """A figure by its name, with its title.

    Raises:
        BadInput: there is no figure of this name, or the study has nothing to show in it.
    """
    if name not in PLOTS:
        raise BadInput(f"No figure named '{name}'. {nearest(name, PLOTS)}")
    if (figure := styled(study, PLOTS[name])) is None:
        there = [other for other, plot in PLOTS.items() if plot.draw(study) is not None]
        raise BadInput(f"{study.name} has nothing to show in the figure '{name}'. {nearest('', there)}")
    return titled(figure, PLOTS[name])


def titled(figure: go.Figure, plot: Plot) -> go.Figure:
    return figure.update_layout(template=TEMPLATE, title_text=plot.title, margin_t=70)


def drawn_figures(study: Stored) -> Iterator[tuple[str, go.Figure | Exception]]:
    """The figures that the study has, by name; for one that cannot be drawn, its fault: the others are worth having."""
    for name, plot in PLOTS.items():
        try:
            figure = styled(study, plot)
        except Exception as error:
            yield name, error
            continue
        if figure is not None:
            yield name, figure


def best_figures(study: Stored) -> list[go.Figure]:
    """The first two figures that the study has; they tell most."""
    drawn = ((name, figure) for name, figure in drawn_figures(study) if not isinstance(figure, Exception))
    return [titled(figure, PLOTS[name]) for name, figure in islice(drawn, 2)]
