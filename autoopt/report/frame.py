"""The trials of a study as a table of pandas."""

from typing import Any

import pandas

from autoopt.records.record import Record
from autoopt.records.stages import COMPRESS, SEARCH
from autoopt.records.stored import Stored


def table_of(study: Stored) -> pandas.DataFrame:
    """A row for each trial of a study, by its key: how it ended, its metrics, its techniques and values.

    A metric that a module logs under the name of another column, such as `loss`, the slot, is in `metrics.loss`.
    """
    rows = [record_row(record) for stage in (SEARCH, COMPRESS) for record in study.records[stage.name]]
    return pandas.DataFrame(rows).set_index("trial")


def record_row(record: Record) -> dict[str, Any]:
    chosen = {**record.point.names(), **record.point.flat()}
    ended: dict[str, Any] = {"trial": record.key, "stage": record.stage, "state": record.state, "reason": record.reason}
    ended |= {"score": record.score, "epochs": record.epochs}
    metrics = {f"metrics.{name}" if name in chosen or name in ended else name: value for name, value in record.metrics.items()}
    return {**ended, **metrics, **chosen}
