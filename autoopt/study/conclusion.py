"""How a study ended, as its own run in MLflow tells it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoopt.study.verdict import Side
from autoopt.tracking import Records


@dataclass(frozen=True)
class Conclusion:
    """The end of a study.

    Args:
        note: Markdown, which the run's page shows.
        model: the folder of the trained model, which is logged if it is an MLflow model.
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
        for path in self.artifacts:
            tracker.artifacts(path)
        if self.model is not None and (self.model / "MLmodel").exists():
            tracker.model(self.model, study)
        tracker.conclude("FINISHED", self.metrics, self.tags, time=self.time)
