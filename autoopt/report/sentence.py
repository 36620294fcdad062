"""The verdict in one sentence."""

from math import isfinite

from autoopt.study.verdict import Verdict

PART_WORDS = {"test": "on the test split", "validation": "on the validation split", "training": "of the trainings"}


def conclusion(verdict: Verdict) -> str:
    """What the study came to, for somebody who reads nothing else."""
    trial = verdict.winner.trial
    if trial == verdict.baseline.trial:
        return "No recipe but the baseline was confirmed, so that there is nothing to compare it with."
    low, high = verdict.interval
    gain = gain_of(verdict)
    if not isfinite(low):
        return f"Whether trial {trial} is better than the baseline cannot be told: {gain}; {remedy(verdict)}."
    if low > 0 and verdict.part == "validation":
        return f"Trial {trial} looks better than the baseline, on the split that the search chose it by: {gain}."
    if low > 0:
        return f"Trial {trial} is better than the baseline: {gain}."
    if high < 0:
        return f"The baseline is better than trial {trial}, which only validation preferred: {gain}."
    return f"No difference between trial {trial} and the baseline could be shown, since the interval includes 0: {gain}."


def gain_of(verdict: Verdict) -> str:
    """The gain with its interval, and what limits its meaning."""
    low, high = verdict.interval
    text = f"gain in {verdict.objective} {PART_WORDS[verdict.part]} {verdict.gain:+.4f}"
    if low == high:
        text += ", the same for every seed"
    elif isfinite(low):
        text += f", 95 % interval {low:+.4f} to {high:+.4f}"
        text += chance(verdict)
    if verdict.seeds_planned:
        text += f" (the time ended after {len(verdict.baseline.scores)} of {verdict.seeds_planned} seeds)"
    if verdict.part == "validation":
        text += f" ({'the test split does not tell it' if verdict.test_opened_for else 'there is no test split'})"
    return text


def chance(verdict: Verdict) -> str:
    """Which chance the interval counts, where that is not both seeds and test examples."""
    if verdict.part != "test" or verdict.sampled == "examples":
        return ""
    if verdict.sampled:
        return " over seeds and test batches"
    return f" over seeds alone, without the size of the test split ({verdict.objective} is logged as no mean over several batches)"


def remedy(verdict: Verdict) -> str:
    """What would tell whether the winner is better, where the interval is infinite."""
    if min(len(verdict.baseline.scores), len(verdict.winner.scores)) < 2:
        return "study.seeds=3 or more tells it" if not verdict.seeds_planned else "a longer study.time tells it"
    return "every seed gave the same score: the model or the data seeds itself, so that seeds tell nothing"
