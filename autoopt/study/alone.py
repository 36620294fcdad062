"""The trials that may win, and why none of them could be compared with the baseline."""

from collections import Counter
from collections.abc import Sequence

from autoopt.records.record import BASELINE, Record, taken_over
from autoopt.records.stages import COMPRESS, CONFIRM, FINAL, SEARCH
from autoopt.study.explore import enough
from autoopt.study.study import Study


def pool(study: Study) -> list[Record]:
    """The baseline and the trials that may win: only compressed models where a compression is pinned."""
    searched = study.journal.records(SEARCH)
    pinned = any(option.always for option in study.space.options["compression"].values())
    return [r for r in searched if r.key == BASELINE or not pinned] + study.journal.records(COMPRESS)


def why_alone(study: Study) -> str:
    """Why the baseline has no trial to be compared with, and what to do."""
    others = [r for r in pool(study) if r.key != BASELINE]
    if len(study.journal.records(SEARCH)) == 1:
        return f"only the baseline was tried, because {why_ended(study)}"
    if not any(r.state == "complete" for r in others):
        return f"no other trial was completed ({how_ended(others)}), and {why_ended(study)}"
    if nearest := study.goal.nearest_to_bounds(others):
        missed = study.goal.missed(nearest.metrics)
        return f"no trial keeps the bounds: trial {nearest.key}, the nearest, misses {missed}; loosen them, or widen the space"
    again = [r for stage in (CONFIRM, FINAL) for r in study.journal.records(stage) if r.state == "failed"]
    if again:
        return f"the best trials failed on fresh seeds, the last with {again[-1].reason}: {again[-1].detail}"
    if slot := study.settings["compare"]:
        return f"no option of {slot} has a recipe that is ahead of it on fresh seeds"
    return "every trial had its recipe; select several techniques, or give several values to a setting"


def how_ended(others: Sequence[Record]) -> str:
    """How many trials ended in which way: `2 stopped early, 1 failed with oom_host`."""
    ways = Counter("stopped early" if r.state == "stopped" else f"failed with {r.reason}" for r in others)
    return ", ".join(f"{count} {way}" for way, count in ways.items()) or "none was compressed"


def why_ended(study: Study) -> str:
    """Why the search began no further trial."""
    trials, limit = study.settings["trials"], study.settings["time"]
    if ended := enough(study, study.journal.records(SEARCH)):
        return ended
    if len(study.journal.records(SEARCH)) >= trials + taken_over(study.journal.records(SEARCH)):
        return f"study.trials={trials} allows no more"
    if study.budget.asking and study.budget.over(SEARCH):
        return f"the time ended (study.time={limit}); give a longer one"
    if study.budget.asking:
        return "no untried recipe was found; select several techniques, or give several values to a setting"
    return "the search was finished early; the same search command goes on"
