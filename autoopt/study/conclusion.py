"""How a study ended, as its own run in MLflow tells it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoopt.records.verdict import Side
from autoopt.tracking import Records


@dataclass(frozen=True)
class Conclusion:
    """The end of a study.

    Args:
        note: Markdown, which the run's page shows.
        artifacts: files and folders of the run.
        model: the folder of the trained model; if it is an MLflow model, it is logged as one, and not as an artifact.
        best: the trial that is marked.
        time: when the study was concluded; else now.
    """

    note: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifacts: Sequence[Path] = ()
    model: Path | None = None
    best: Side | None = None
    time: float | None = None

    def tell(self, tracker: Records, study: str) -> None:
        """Tell a tracker of it.

        Args:
            study: the name of the study.
        """
        tracker.note(self.note)
        model = self.model if self.model is not None and (self.model / "MLmodel").exists() else None
        for path in self.artifacts:
            if path != model:  # else its weights would be uploaded twice
                tracker.artifacts(path)
        if model is not None:
            tracker.model(model, study)
        tracker.conclude("FINISHED", self.metrics, self.tags, time=self.time)
