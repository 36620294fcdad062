"""Why the winner won: what mattered in the search, where its ranges end, and what each of its parts gives."""

from dataclasses import replace

from autoopt.study.ablation import ablate
from autoopt.study.decide import spent
from autoopt.study.edges import edges_of
from autoopt.study.importance import importance_of
from autoopt.study.stages import SEARCH
from autoopt.study.study import Study
from autoopt.study.verdict import Verdict


def explain(study: Study, verdict: Verdict) -> Verdict:
    """The verdict with its reasons; for the ablation, recipes between the baseline and the winner are trained."""
    importance = importance_of(study.journal.trials(SEARCH), study.goal.first)
    compared = verdict.winner.trial != verdict.baseline.trial
    edges = tuple(edges_of(study.space, verdict.winner.point)) if compared else ()
    ablation = ablate(study, verdict, importance.shares if importance else {})
    return replace(verdict, importance=importance, edges=edges, ablation=ablation, **spent(study))
