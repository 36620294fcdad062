"""The trials of a study as a table of pandas."""

from pathlib import Path
from typing import Any

import pandas

from autoopt.study.journal import Journal
from autoopt.study.record import Record
from autoopt.study.stages import COMPRESS, SEARCH


def table_of(folder: Path) -> pandas.DataFrame:
    """A row for each trial of a study, by its key: how it ended, what was measured, what was chosen."""
    journal = Journal(folder / "journal.log", folder.name, write=False)
    rows = [record_row(record) for stage in (SEARCH, COMPRESS) for record in journal.records(stage)]
    return pandas.DataFrame(rows).set_index("trial")


def record_row(record: Record) -> dict[str, Any]:
    recipe = record.point
    ended = {"stage": record.stage, "state": record.state, "reason": record.reason, "score": record.score, "epochs": record.epochs}
    return {"trial": record.key, **ended, **record.metrics, **recipe.names(), **recipe.flat()}
