"""The results of a concluded study: verdict.yaml, best/ with the model, and the end of its MLflow run."""

from collections.abc import Sequence
from pathlib import Path

from autoopt.report.comparison import as_markdown_text, markdown_table, write_comparison
from autoopt.report.reasons import ablation_rows, ablation_title, reasons
from autoopt.report.sentence import PART_WORDS, conclusion
from autoopt.study.conclusion import Conclusion
from autoopt.study.export import Advice, export
from autoopt.study.folder import replace_file
from autoopt.study.forms import write_forms
from autoopt.study.study import Study
from autoopt.study.verdict import Verdict

SIDE_METRICS = ("latency_ms", "size_mb", "parameters", "seconds")
"""The costs of both sides that the run's note shows, where both have them."""


def publish(study: Study, verdict: Verdict) -> None:
    """Write verdict.yaml, export the model that the verdict advises, and send the verdict to MLflow.

    Raises:
        StoreError: a file cannot be written.
    """
    path, best, text = study.folder.path, verdict.best, conclusion(verdict)
    replace_file(path / "verdict.yaml", verdict.yaml(conclusion=text))
    advice = Advice(verdict.study, text, verdict.objective, best.score)
    export(path / "best", best.point, study.runner.executor.store.weights(best.weights), study.facts, advice)
    if verdict.ablation and verdict.ablation.simpler:
        replace_file(path / "best" / "simple.yaml", verdict.ablation.simpler.point.yaml())
    write_forms(study.runner, "best", best.point, study.facts["lightning"])
    tables = write_comparison(path, verdict.comparison) if verdict.comparison else []
    study.runner.listener.conclude(conclusion_of(verdict, [path / "verdict.yaml", path / "best", *tables], path / "best"))


def conclusion_of(verdict: Verdict, artifacts: Sequence[Path], model: Path) -> Conclusion:
    """What the study's run in MLflow tells of the verdict."""
    tags = {"autoopt.state": "concluded", "autoopt.winner": verdict.winner.trial, "autoopt.part": verdict.part}
    return Conclusion(note_of(verdict), metrics_of(verdict), tags, artifacts, model, verdict.best)


def metrics_of(verdict: Verdict) -> dict[str, float]:
    """The verdict in numbers: of the recipe that it advises, those of the baseline, and what the study took.

    `objective` is measured on validation, as in all runs; the score on the test part is `test_score`.
    """
    low, high = verdict.interval
    both = {"": verdict.best, "baseline_": verdict.baseline}
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
    parts = (f"**{conclusion(verdict)}**", markdown_table(sides(verdict)), options, title, changes, *reasons(verdict))
    return "\n\n".join(part for part in parts if part) + f"\n\n```yaml\n{verdict.best.point.yaml()}```\n"


def sides(verdict: Verdict) -> list[tuple[str, ...]]:
    """Baseline and winner as the rows of a table, the header first."""
    both = (verdict.baseline, verdict.winner)
    known = [name for name in SIDE_METRICS if all(name in side.metrics for side in both)]
    tested = [(f"{verdict.objective} {PART_WORDS[verdict.part]}", *(f"{side.score:.4g}" for side in both))]
    return [
        ("", f"baseline: trial {both[0].trial}", f"winner: trial {both[1].trial}"),
        ("recipe", *(side.title for side in both)),
        *(tested if verdict.part != "validation" else ()),
        (f"{verdict.objective} {PART_WORDS['validation']}, fresh seeds", *(f"{side.validation:.4g}" for side in both)),
        *((name, *(f"{side.metrics[name]:.4g}" for side in both)) for name in known),
    ]
