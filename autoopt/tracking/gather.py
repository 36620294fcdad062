"""Gathers the records of the spool by run, in a form that MLflow accepts."""

import json
import logging
import math
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from autoopt.tracking.spool import RECORD

logger = logging.getLogger(__package__)
KEY_SIZE, NAME_SIZE, PARAM_SIZE, TAG_SIZE = 250, 250, 6000, 8000
CUT = " … [cut]"


def legal(key: str) -> str:
    """The key in a form that MLflow accepts: a plain relative path of the allowed characters."""
    path = posixpath.normpath("/" + re.sub(r"[^\w.\- :/]", "_", key)).lstrip("/")
    return path[:KEY_SIZE].rstrip("/") or "_"


def truncated(value: object, size: int) -> str:
    """The value as text that a database accepts: no NUL, no lone surrogates, no more than `size` characters."""
    text = str(value).replace("\0", "").encode(errors="replace").decode()
    return text if len(text) <= size else text[: size - len(CUT)] + CUT


def as_texts(values: dict[str, Any], size: int) -> dict[str, str]:
    return {legal(key): truncated(value, size) for key, value in values.items()}


@dataclass
class RunUpdate:
    """The new records of one run.

    Args:
        offset: the place of its first record in the spool.
        start: the time of its first record, in milliseconds since 1970.
        step: the last step of its metrics.
        end: the time of the last record with a status.
        view: the arguments of the study's leaderboard.
        model: the `folder` of the study's trained model, and the name of the `study`.
    """

    offset: int
    start: int
    step: int = 0
    end: int = 0
    name: str = ""
    status: str = ""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    artifacts: list[Path] = field(default_factory=list)
    data: dict[str, str] = field(default_factory=dict)
    view: dict[str, Any] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)

    def add(self, record: dict[str, Any]) -> None:
        self.name = truncated(record.get("name", self.name), NAME_SIZE)
        self.status, self.end = (record["status"], record["time"]) if "status" in record else (self.status, self.end)
        # The first value of a parameter counts, since MLflow never changes it.
        self.params = as_texts(record.get("params", {}), PARAM_SIZE) | self.params
        self.tags |= as_texts(record.get("tags", {}), TAG_SIZE)
        self.data = record.get("data") or self.data
        self.view = record.get("view") or self.view
        self.model = record.get("model") or self.model
        self.artifacts += [Path(record["artifacts"])] if "artifacts" in record else []
        step = record.get("step", 0)
        if 0 < step <= self.step:  # a trial that is run again repeats its epochs; the first values count
            return
        self.step = max(step, self.step)
        for key, value in record.get("metrics", {}).items():
            self._measure(legal(key), value, step, record["time"])

    def _measure(self, key: str, value: Any, step: int, time: int) -> None:
        """Add a point, or a tag if the value is not finite: sqlite would store inf as 1.797e308."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            self.metrics.append(Metric(key, number, time, step))
        else:
            self.tags[legal(f"autoopt.nonfinite.{key}")] = truncated(f"{value} at step {step}", TAG_SIZE)


def gather(lines: Iterable[tuple[int, bytes]], steps: Mapping[str, int]) -> dict[str, RunUpdate]:
    """The runs in these lines, in the order of their first records. A damaged line is left out.

    Args:
        steps: the last step of each run in earlier lines.
    """
    runs: dict[str, RunUpdate] = {}
    for offset, line in lines:
        if line.startswith(RECORD):
            try:
                record = json.loads(line)
                key = record["key"]
                runs.setdefault(key, RunUpdate(offset, record["time"], steps.get(key, 0))).add(record)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                logger.warning("spool, line before byte %d: left out: %r", offset, error)
    return runs
