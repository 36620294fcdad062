"""What a search has left in its folder, for the benchmarks."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autoopt.records.journal import Journal
from autoopt.records.record import Record
from autoopt.records.stages import SEARCH


@dataclass(frozen=True)
class Searched:
    """The search stage of a study: its trials, and when the first began and the last ended."""

    records: list[Record]
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()

    @property
    def rate(self) -> float:
        """Trials a minute."""
        return 60 * len(self.records) / self.seconds


def searched(folder: Path) -> Searched:
    """Read the journal of a study that is over."""
    journal = Journal(folder / "journal.log", folder.name, write=False)
    trials = journal.trials(SEARCH)
    begun = [t.datetime_start for t in trials if t.datetime_start]
    ended = [t.datetime_complete for t in trials if t.datetime_complete]
    return Searched(journal.records(SEARCH), min(begun), max(ended))
