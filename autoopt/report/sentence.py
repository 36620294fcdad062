"""The verdict in a sentence, and what it compares."""

from math import isfinite

from autoopt.goal import COSTS
from autoopt.records.stages import SEARCH
from autoopt.records.stored import Stored
from autoopt.records.verdict import Verdict
from autoopt.report.differences import recipe_differences
from autoopt.report.numbers import signed_interval

PART_WORDS = {"test": "on the test split", "validation": "on the validation split", "training": "of the trainings"}


def conclusion(verdict: Verdict) -> str:
    """The verdict in one sentence, for readers who read nothing else; a second one tells what would show a difference."""
    trial = verdict.winner.trial
    if trial == verdict.baseline.trial:
        return f"There is nothing to compare the baseline with: {verdict.alone}."
    low, high = verdict.interval
    gain = gain_of(verdict)
    if not verdict.keeps_bounds("winner"):
        return f"Trial {trial} missed {missed(verdict, 'winner')} in the last comparison: {gain}."
    if not verdict.keeps_bounds("baseline"):
        return f"Trial {trial} keeps the bounds; the baseline misses {missed(verdict, 'baseline')}: {gain}."
    if not isfinite(low):
        return f"It is unknown whether trial {trial} is better than the baseline: {gain}; {remedy(verdict)}."
    if low > 0 and verdict.part == "validation":
        return f"Trial {trial} looks better than the baseline, but only on the split that chose it: {gain}."
    if low > 0:
        return f"Trial {trial} is better than the baseline: {gain}."
    if high < 0:
        return f"The baseline is better than trial {trial}{', which was better only on validation' * ahead_on_validation(verdict)}: {gain}."
    unshown = f"No difference between trial {trial} and the baseline could be shown, since the interval includes 0: {gain}."
    return f"{unshown} {more_data(verdict)}".rstrip()


def ahead_on_validation(verdict: Verdict) -> bool:
    """Whether the winner's mean on the validation part is better than the baseline's."""
    ahead = verdict.winner.validation - verdict.baseline.validation
    return (ahead if verdict.direction == "maximize" else -ahead) > 0


def missed(verdict: Verdict, side: str) -> str:
    """The bounds that a side missed: `latency_ms at most 2 (2.41)`."""
    return " and ".join(f"{limit.bound} ({shown(getattr(limit, side))})" for limit in verdict.limits if side in limit.missed)


def shown(value: float | None) -> str:
    """A measurement in three digits."""
    return "not measured" if value is None else f"{value:.3g}"


def compared(verdict: Verdict) -> str:
    """What is compared: no two techniques, but two recipes, of which one was tuned; empty where there is nothing to compare."""
    if verdict.winner.trial == verdict.baseline.trial:
        return ""
    sides = f"the tuned recipe of trial {verdict.winner.trial} with the baseline, which was not tuned (defaults, or as you gave it)"
    return f"This compares {sides}. Trial {verdict.winner.trial} has {recipe_differences(verdict.winner.point, verdict.baseline.point)}."


def gain_of(verdict: Verdict) -> str:
    """The gain with its interval, and the limits of the comparison."""
    low, high = verdict.interval
    text = f"gain in {verdict.objective} {PART_WORDS[verdict.part]} {signed_interval(verdict.gain, verdict.interval)}"
    if low == high:
        text += ", the same for every seed"
    elif isfinite(low):
        text += chance(verdict)
    if verdict.seeds_planned:
        text += f" (the time ended after {len(verdict.baseline.scores)} of {verdict.seeds_planned} seeds)"
    return f"{text} ({verdict.untested})" if verdict.untested else text


def chance(verdict: Verdict) -> str:
    """Which chance the interval counts, where that is not both seeds and the examples that are measured."""
    if verdict.part == "training" or verdict.sampled == "examples" or verdict.objective in COSTS:
        return ""
    if verdict.sampled:
        return " over seeds and test batches"
    if verdict.part == "validation":
        return " over seeds alone"
    return f" over seeds alone, without the size of the test split ({verdict.objective} is not logged as a mean over several batches)"


def more_data(verdict: Verdict) -> str:
    """What would show a gain of the size that was seen: more seeds, or a larger test split; empty where there was no difference at all."""
    low, high = verdict.interval
    if low == high:
        return ""
    if verdict.gain < 0:
        return "As the baseline was ahead, more trials (study.trials) may find a gain; more seeds would not show one."
    if not verdict.test_needed:
        return f"It is so small that even a hundred times as many seeds{' and test examples' if verdict.sampled else ''} would not show it."
    ways = [f"about {verdict.seeds_needed} seeds (study.seeds={verdict.seeds_needed})"] if verdict.seeds_needed else []
    ways += [f"a test split about {round(verdict.test_needed, 1):g} times as large"] if verdict.test_needed > 1 else []
    return f"It would take {' and '.join(ways)} to show a difference of this size."


def remedy(verdict: Verdict) -> str:
    """What to do, or what is wrong, where the interval is infinite."""
    if min(len(verdict.baseline.scores), len(verdict.winner.scores)) < 2:
        return "set study.seeds=3 or more" if not verdict.seeds_planned else "set a longer study.time"
    return "every seed gave the same score: remove the fixed seed from the model or the data"


def unfinished(study: Stored) -> str:
    """How far a study without a verdict is."""
    if not study.searched:
        return f"A training, not a search: {'best/ holds the trained model' if study.state == 'trained' else 'it has not ended'}."
    return f"Not concluded yet: {len(study.records[SEARCH.name])} of {study.config['study']['trials']} trials."
