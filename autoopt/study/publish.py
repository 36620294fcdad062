"""The results of a concluded study: verdict.yaml, best/ with the model, the report, and the end of its MLflow run."""

from collections.abc import Sequence
from pathlib import Path

from autoopt.errors import summary
from autoopt.records.folder import reference, replace_file, summed
from autoopt.records.stored import open_stored
from autoopt.records.verdict import Verdict
from autoopt.report.comparison import as_markdown_text, markdown_table, write_comparison
from autoopt.report.reasons import ablation_rows, ablation_title, reasons
from autoopt.report.sentence import conclusion
from autoopt.report.sides import side_rows
from autoopt.study.conclusion import Conclusion
from autoopt.study.export import Advice, export
from autoopt.study.forms import write_forms
from autoopt.study.study import Study


def publish(study: Study, verdict: Verdict) -> None:
    """Export the model that the verdict advises, write verdict.yaml, the report, and send the verdict to MLflow.

    With verdict.yaml the study is concluded: until then best/ may be missing, or be that of an earlier verdict.

    Raises:
        StoreError: a file cannot be written.
    """
    path, best, text = study.folder.path, verdict.best, conclusion(verdict)
    which = "the baseline" if best is verdict.baseline else f"trial {best.trial}"
    title, folds = f"{verdict.study}: {which}, {best.title}", study.tree["split"]["folds"] or 1
    advice = Advice(title, text, verdict.objective, best.score, len(best.scores), folds)
    export(path / "best", best.point, study.runner.executor.store.weights(best.weights), study.facts, advice)
    if verdict.ablation and verdict.ablation.simpler:
        replace_file(path / "best" / "simple.yaml", verdict.ablation.simpler.point.yaml())
    replace_file(path / "verdict.yaml", summed(verdict.yaml(conclusion=text)))
    write_forms(study.runner, "best", best.point, study.facts["lightning"])
    tables = write_comparison(path, verdict.comparison) if verdict.comparison else []
    artifacts = [path / "verdict.yaml", path / "best", *tables, *write_report(study)]
    study.runner.listener.conclude(conclusion_of(verdict, artifacts, path / "best"))


def write_report(study: Study) -> list[Path]:
    """Write report.html and return its path, in a list; it is empty where that fails, since a search does not fail for a figure."""
    from autoopt.report.page import NAME, write_page  # loads plotly, which takes a second

    path = study.folder.path
    try:
        write_page(open_stored(path.name, str(path.parent)), path / NAME)
    except Exception as error:
        problem = summary(error)
        study.runner.screen.say(f"the report cannot be written ({problem}); autoopt report {reference(path)} tries again")
        return []
    return [path / NAME]


def conclusion_of(verdict: Verdict, artifacts: Sequence[Path], model: Path) -> Conclusion:
    """What the study's run in MLflow tells of the verdict."""
    advised = "winner" if verdict.best is verdict.winner else "baseline"
    sides = {"autoopt.winner": verdict.winner.trial, "autoopt.advised": advised}
    tags = {"autoopt.state": "concluded", "autoopt.part": verdict.part, **sides}
    return Conclusion(note_of(verdict), metrics_of(verdict), tags, artifacts, model, verdict.best)


def metrics_of(verdict: Verdict) -> dict[str, float]:
    """The verdict in numbers: of the winner, advised or not, whose `gain` is over the baseline; those of the baseline; what the study took.

    `objective` is measured on validation, as in all runs; the score on the test part is `test_score`.
    """
    low, high = verdict.interval
    both = {"": verdict.winner, "baseline_": verdict.baseline}
    scores = {f"{prefix}objective": side.validation for prefix, side in both.items()}
    tested = {f"{prefix}test_score": side.score for prefix, side in both.items()} if verdict.part == "test" else {}
    spent = {"trainings": verdict.trainings, "trial_seconds": verdict.seconds, "elapsed_seconds": verdict.elapsed}
    counts = {f"trials_{state}": count for state, count in verdict.counts.items()}
    measured = {f"{prefix}{name}": value for prefix, side in both.items() for name, value in side.metrics.items()}
    return {"gain": verdict.gain, "gain_low": low, "gain_high": high, **scores, **tested, **spent, **counts, **measured}


def note_of(verdict: Verdict) -> str:
    """The verdict as Markdown: in a sentence, both sides, the options, what each change gives, why, and the recipe."""
    options = as_markdown_text(verdict.comparison) if verdict.comparison else ""
    changes = markdown_table(ablation_rows(verdict, verdict.ablation)) if verdict.ablation else ""
    title = f"**{ablation_title(verdict, verdict.ablation)}**" if verdict.ablation else ""
    parts = (f"**{conclusion(verdict)}**", markdown_table(side_rows(verdict)), options, title, changes, *reasons(verdict))
    return "\n\n".join(part for part in parts if part) + f"\n\n```yaml\n{verdict.best.point.yaml()}```\n"
