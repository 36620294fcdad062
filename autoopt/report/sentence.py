"""The verdict in one sentence."""

from math import isfinite

from autoopt.study.verdict import Verdict

PART_WORDS = {"test": "on the test split", "validation": "on the validation split", "training": "of the trainings"}


def conclusion(verdict: Verdict) -> str:
    """The verdict in one sentence, for readers who read nothing else."""
    trial = verdict.winner.trial
    if trial == verdict.baseline.trial:
        return "Only the baseline was confirmed, so there is nothing to compare it with."
    low, high = verdict.interval
    gain = gain_of(verdict)
    if not isfinite(low):
        return f"It is unknown whether trial {trial} is better than the baseline: {gain}; {remedy(verdict)}."
    if low > 0 and verdict.part == "validation":
        return f"Trial {trial} looks better than the baseline, but only on the split that chose it: {gain}."
    if low > 0:
        return f"Trial {trial} is better than the baseline: {gain}."
    if high < 0:
        return f"The baseline is better than trial {trial}, which was better only on validation: {gain}."
    return f"No difference between trial {trial} and the baseline could be shown, since the interval includes 0: {gain}."


def gain_of(verdict: Verdict) -> str:
    """The gain with its interval, and the limits of the comparison."""
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
        text += f" ({'the test split does not measure it' if verdict.test_opened_for else 'there is no test split'})"
    return text


def chance(verdict: Verdict) -> str:
    """Which chance the interval counts, where that is not both seeds and test examples."""
    if verdict.part != "test" or verdict.sampled == "examples":
        return ""
    if verdict.sampled:
        return " over seeds and test batches"
    return f" over seeds alone, without the size of the test split ({verdict.objective} is logged as no mean over several batches)"


def remedy(verdict: Verdict) -> str:
    """What to do, or what is wrong, where the interval is infinite."""
    if min(len(verdict.baseline.scores), len(verdict.winner.scores)) < 2:
        return "set study.seeds=3 or more" if not verdict.seeds_planned else "set a longer study.time"
    return "every seed gave the same score: remove the fixed seed from the model or the data"
