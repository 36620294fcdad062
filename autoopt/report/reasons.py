"""Why the winner won: its ablation as rows of a table, and what mattered in the search in sentences."""

from collections.abc import Iterator, Mapping

from autoopt.grammar import spell
from autoopt.records.explanation import Ablation, Edge, Effect, Importance
from autoopt.records.verdict import Limit, Verdict
from autoopt.report.differences import brief
from autoopt.report.numbers import number, signed_interval, with_interval
from autoopt.report.sentence import shown
from autoopt.strategy import ENOUGH, TRUSTED

MOST_IMPORTANT = 4
FEW = 30


def ablation_rows(verdict: Verdict, ablation: Ablation) -> list[tuple[str, ...]]:
    """A table of what each change gives, left out of the winner and made one after the other; the first row is its header."""
    rows: list[tuple[str, ...]] = [("change", f"left out of trial {verdict.winner.trial}", "made in this order", "training time")]
    made = {effect.changes[-1]: gain_text(effect) for effect in ablation.path}
    for effect in ablation.left_out:
        step = made.get(effect.changes[-1], "with the next")
        rows.append((enumerated(effect.changes), gain_text(effect), step, time_text(effect.time)))
    return rows


def ablation_title(verdict: Verdict, ablation: Ablation) -> str:
    seeds = f"{ablation.seeds} seed{'' if ablation.seeds == 1 else 's'}"
    where = "training" if verdict.part == "training" else "validation"
    return f"What each change of the baseline gives in {verdict.objective} ({where}, {seeds}, 95 % intervals)"


def gain_text(effect: Effect) -> str:
    """`+0.0060 ± 0.0020`"""
    if effect.gain is None:
        return f"fails ({effect.fault.partition(':')[0]})" if effect.fault else "not measured"
    return with_interval(effect.gain, effect.interval, sign="+")


def time_text(share: float | None) -> str:
    return "" if share is None else f"{round(100 * share):+d} %"


def reasons(verdict: Verdict) -> Iterator[str]:
    """What failed, how sure the choice of the winner is, what was left out of it, what was important, and where its ranges end."""
    if verdict.quarantined:
        failed = (f"{key} ({verdict.dropped[key]})" if key in verdict.dropped else key for key in verdict.quarantined)
        yield f"Left out, because it failed: {', '.join(failed)}."
    for trial, problem in verdict.unsound.items():
        yield f"Trial {trial} was a candidate, and is left out: a training of it on a fresh seed failed ({problem})."
    if verdict.ended:
        yield f"The search ended {verdict.ended}."
    if verdict.searched is not None:
        yield choice_line(verdict, verdict.searched)
    if verdict.ablation:
        yield from ablation_lines(verdict, verdict.ablation)
    if verdict.importance:
        yield importance_line(verdict.importance, verdict.objective)
    if verdict.rungs:
        yield rungs_line(verdict.rungs)
    yield from map(edge_line, verdict.edges)
    yield from (limit_line(verdict, limit) for limit in verdict.limits)


def choice_line(verdict: Verdict, searched: float) -> str:
    """How much the winner's score shrank on fresh seeds, and how it stood to the next candidate on the seeds that chose it."""
    winner, rival = verdict.winner, verdict.rival
    before, after = number(searched, winner.validation), number(winner.validation, searched)
    when = f"when it was stopped after epoch {verdict.stopped_at}" if verdict.stopped_at else "in the search"
    words = f"Trial {winner.trial} had {verdict.objective} {before} {when}, and {after} on fresh seeds"
    ahead = number(rival.ahead, winner.validation, sign="+") if rival else ""
    beside = f"; its difference to trial {rival.trial}, the next, was {ahead} on the seeds that chose it" if rival else ""
    if rival and rival.chance is not None:
        beside += f", so that it is better with a chance of about {min(99, round(100 * rival.chance))} %"
    luck = f" Trial {verdict.highest} scored higher in the search; a single score is partly luck, so that all trials together choose, and"
    return f"{words}{beside}.{f'{luck} fresh seeds where several are left.' if verdict.highest else ''}"


def ablation_lines(verdict: Verdict, ablation: Ablation) -> Iterator[str]:
    unshown = [name for effect in ablation.left_out if effect.unshown for name in effect.changes]
    it = "it" if len(unshown) == 1 else "them"
    if unshown:
        yield f"No gain could be shown for {enumerated(unshown)}."
    if simpler := ablation.simpler:
        without = f"best/simple.yaml is the recipe without {it}"
        time = "" if simpler.time is None else f"; training time {time_text(simpler.time)}"
        yield f"{without}; no loss could be shown ({signed_interval(simpler.gain, simpler.interval)}{time})."
    elif unshown and not all(effect.unshown for effect in ablation.left_out):
        yield f"The recipe without {it} is not shown to be as good."
    seeds = len(verdict.winner.scores)
    together = any(len(effect.changes) > 1 for effect in ablation.left_out)
    fewer = f"on {ablation.seeds} of the {seeds} seeds" if ablation.seeds < seeds and len(ablation.left_out) > 1 else ""
    if together or fewer:
        how = "some changes were measured together" if together else f"the changes were measured {fewer}"
        yield f"To bound the number of trainings, {how}{f', and all of them {fewer}' if together and fewer else ''}."


def importance_line(importance: Importance, objective: str) -> str:
    """The slots that explain most of the objective at the rung that most trials have reached, each with its most important value."""
    slots: dict[str, dict[str, float]] = {}
    for key, share in importance.shares.items():
        slots.setdefault(key.partition(".")[0], {})[key] = share
    totals = sorted(((sum(values.values()), next(iter(values))) for values in slots.values()), reverse=True)
    names = [(total, *key.partition(".")[::2]) for total, key in totals[:MOST_IMPORTANT]]
    top = [f"{slot} {round(100 * total)} % ({f'mostly {value}' if value else 'the choice'})" for total, slot, value in names]
    rough = ", a rough estimate from so few" if importance.trials < FEW else ""
    told = f"What {objective} after epoch {importance.epoch} depended on in the search (PED-ANOVA, {importance.trials} trials{rough})"
    return f"{told}: {', '.join(top)}."


def rungs_line(rungs: Mapping[int, float]) -> str:
    """How well the rungs have foretold the end."""
    said = [f"{correlation:.2f} after epoch {epoch}" for epoch, correlation in rungs.items()]
    weak = f"; a rung stops nothing while it is less, once {ENOUGH} trials are complete" if min(rungs.values()) < TRUSTED else ""
    return f"Rank correlation of early values with the final score: {enumerated(said)} ({TRUSTED} is enough{weak})."


def edge_line(edge: Edge) -> str:
    """The end of the range at which a value lies, and the override that widens it."""
    upper = edge.value - edge.low > edge.high - edge.value
    end = f"upper end of its range ({spell(edge.high)})" if upper else f"lower end of its range ({spell(edge.low)})"
    return f"{edge.key}={brief(edge.value)} is at the {end}; '{edge.wider}' widens it."


def limit_line(verdict: Verdict, limit: Limit) -> str:
    """What both sides measured of a bounded metric."""
    beside = "" if verdict.alone else f"the {verdict.role} has {shown(limit.winner)}, "
    return f"Bound: {limit.bound}; {beside}the baseline {'has ' * bool(verdict.alone)}{shown(limit.baseline)}."


def enumerated(names: list[str] | tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
