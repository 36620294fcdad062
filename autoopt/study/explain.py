"""Why the winner won: what mattered in the search, where its ranges end, and what each of its parts gives."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from statistics import variance

from autoopt.analysis.edges import edges_of
from autoopt.analysis.importance import importance_of
from autoopt.analysis.partial_pooling import chance_better
from autoopt.analysis.two_way import TwoWay
from autoopt.records.explanation import Rival
from autoopt.records.record import BASELINE
from autoopt.records.stages import COMPRESS, CONFIRM, FINAL, SEARCH, Stage
from autoopt.records.verdict import Verdict
from autoopt.strategy import rung_correlation
from autoopt.study.ablation import ablate
from autoopt.study.decide import totals
from autoopt.study.sampling import history
from autoopt.study.study import Study


def explain(study: Study, verdict: Verdict) -> Verdict:
    """The verdict with its reasons; for the ablation, recipes between the baseline and the winner are trained."""
    importance = importance_of(study.journal.trials(SEARCH), study.goal)
    compared = verdict.winner.trial != verdict.baseline.trial
    edges = tuple(edges_of(study.space, verdict.winner.point)) if compared else ()
    ablation = ablate(study, verdict, importance.shares if importance else {})
    if compared:
        trial = verdict.winner.trial
        rival = rival_of(study, trial, verdict.unsound)
        record = next((r for stage in (SEARCH, COMPRESS) for r in study.journal.records(stage) if r.key == trial), None)
        score, stopped_at = (record.score, record.epochs if record.state == "stopped" else 0) if record else (None, 0)
        verdict = replace(verdict, searched=score, stopped_at=stopped_at, highest=ahead_of(study, trial), rival=rival)
    return replace(verdict, importance=importance, rungs=rungs_of(study), edges=edges, ablation=ablation, **totals(study))


def rungs_of(study: Study) -> dict[int, float]:
    """How well the value at each rung has foretold the final score; nothing where too few trials are complete."""
    if not study.settings["stopping"]:
        return {}
    trials = list(history(study.journal, SEARCH, study.goal).values())
    found = {epoch: rung_correlation(trials, epoch) for epoch in study.strategy(study.space.without_compression(), study.goal).rungs}
    return {epoch: round(correlation, 3) for epoch, correlation in found.items() if correlation is not None}


def ahead_of(study: Study, trial: str) -> str:
    """The trial with the best score of the stage that chose the winner, if that is another trial; else empty."""
    for stage in (SEARCH, COMPRESS):
        scores = {r.key: r.score for r in study.goal.rank(study.journal.records(stage)) if r.key != BASELINE}
        if trial in scores:
            first = next(iter(scores))
            return "" if scores[first] == scores[trial] else first
    return ""


def rival_of(study: Study, trial: str, unsound: Container[str]) -> Rival | None:
    """The best candidate beside the winner, by the seeds on which the winner was chosen; `None` where there was no choice."""
    scores = {key: row for key, row in scores_by_seed(study, CONFIRM).items() if key not in unsound}
    if trial not in scores or len(scores) < 2:
        return None
    layout = TwoWay(scores)
    ahead, other = min((layout.difference(trial, key)[0], key) for key in scores.keys() - {trial})
    noise = noise_of(list(scores_by_seed(study, FINAL).values()))
    if not noise:
        return Rival(other, ahead)
    chance = chance_better(layout.means(), {key: len(row) for key, row in scores.items()}, noise, trial, other)
    return Rival(other, ahead, round(chance, 2))


def scores_by_seed(study: Study, stage: Stage) -> dict[str, dict[int, float]]:
    """The scores of a stage of whole trainings by trial and number of the seed; more is better."""
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for record in study.journal.records(stage):
        key, seed = stage.trial_and_seed(record.key)
        if record.score is not None:
            scores[key][seed] = study.goal.first.sign * record.score
    return scores


def noise_of(scores: Sequence[Mapping[int, float]]) -> float:
    """The variance of the score of a training around the mean of its recipe; 0 where no recipe was trained twice."""
    several = [list(row.values()) for row in scores if len(row) > 1]
    freedom = sum(len(row) - 1 for row in several)
    return sum(variance(row) * (len(row) - 1) for row in several) / freedom if freedom else 0.0
