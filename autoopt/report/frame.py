"""The trials of a study as a table of pandas."""

from typing import Any

import pandas

from autoopt.study.record import Record
from autoopt.study.stages import COMPRESS, SEARCH
from autoopt.study.stored import Stored


def table_of(study: Stored) -> pandas.DataFrame:
    """A row for each trial of a study, by its key: how it ended, its metrics, its techniques and values."""
    rows = [record_row(record) for stage in (SEARCH, COMPRESS) for record in study.records[stage.name]]
    return pandas.DataFrame(rows).set_index("trial")


def record_row(record: Record) -> dict[str, Any]:
    recipe = record.point
    ended = {"stage": record.stage, "state": record.state, "reason": record.reason, "score": record.score, "epochs": record.epochs}
    return {"trial": record.key, **ended, **record.metrics, **recipe.names(), **recipe.flat()}
