"""The results of a concluded study: verdict.yaml, best/ with the model, and the end of its MLflow run."""

from autoopt.report.comparison import as_markdown_text, markdown_table, write_comparison
from autoopt.report.reasons import ablation_rows, reasons
from autoopt.report.sentence import conclusion
from autoopt.study.export import Advice, export
from autoopt.study.folder import replace_file, summed
from autoopt.study.forms import write_forms
from autoopt.study.study import Study
from autoopt.study.verdict import Verdict


def publish(study: Study, verdict: Verdict) -> None:
    """Write verdict.yaml, export the model that the verdict advises, and send the verdict to MLflow.

    Raises:
        StoreError: a file cannot be written.
    """
    path, best, text = study.folder.path, verdict.best, conclusion(verdict)
    replace_file(path / "verdict.yaml", summed(verdict.yaml(conclusion=text)))
    advice = Advice(verdict.study, text, verdict.objective, best.score)
    export(path / "best", best.point, study.runner.executor.store.weights(best.weights), study.facts, advice)
    if verdict.ablation and verdict.ablation.simpler:
        replace_file(path / "best" / "simple.yaml", verdict.ablation.simpler.point.yaml())
    write_forms(study.runner, "best", best.point, study.facts["lightning"])
    low, high = verdict.interval
    metrics = {"gain": verdict.gain, "gain_low": low, "gain_high": high, "objective": best.score}
    why = "".join(f"{line}\n\n" for line in (as_markdown_table(verdict), *reasons(verdict)) if line)
    options = f"{as_markdown_text(verdict.comparison)}\n" if verdict.comparison else ""
    note = f"**{text}**\n\n{options}{why}```yaml\n{best.point.yaml()}```\n"
    tags = {"autoopt.state": "concluded", "autoopt.winner": verdict.winner.trial}
    tables = write_comparison(path, verdict.comparison) if verdict.comparison else []
    study.runner.listener.conclude(note, metrics, tags, [path / "verdict.yaml", path / "best", *tables])


def as_markdown_table(verdict: Verdict) -> str:
    """What each change of the baseline gives, as a table of Markdown; empty where the winner did not win."""
    if verdict.ablation is None:
        return ""
    return markdown_table(ablation_rows(verdict, verdict.ablation))
