"""What a stretch of the spool says, run by run, in a form that MLflow takes."""

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


def legal(key: str) -> str:
    """The key as MLflow takes it: of a few characters, and a plain relative path."""
    path = posixpath.normpath("/" + re.sub(r"[^\w.\- :/]", "_", key)).lstrip("/")
    return path[:KEY_SIZE].rstrip("/") or "_"


def truncated(value: object, size: int, mark: str = " … [cut]") -> str:
    """The value as text that a database takes: no NUL, no lone surrogates, no more than `size` characters."""
    text = str(value).replace("\0", "").encode(errors="replace").decode()
    return text if len(text) <= size else text[: size - len(mark)] + mark


def as_texts(values: dict[str, Any], size: int) -> dict[str, str]:
    return {legal(key): truncated(value, size) for key, value in values.items()}


@dataclass
class RunUpdate:
    """Part of what is to be told about one run; `offset` is where in the spool it comes up, `step` the last one told."""

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

    def add(self, record: dict[str, Any]) -> None:
        self.end = record["time"]
        self.name = self.name or truncated(record.get("name", ""), NAME_SIZE)
        self.status = record.get("status", self.status)
        # The first value of a parameter stands, as in MLflow, where it can never be changed.
        self.params = as_texts(record.get("params", {}), PARAM_SIZE) | self.params
        self.tags |= as_texts(record.get("tags", {}), TAG_SIZE)
        self.data = record.get("data") or self.data
        self.artifacts += [Path(record["artifacts"])] if "artifacts" in record else []
        step = record.get("step", 0)
        if 0 < step <= self.step:  # a trial begun again: its epochs come again, and the first ones stand
            return
        self.step = max(step, self.step)
        for key, value in record.get("metrics", {}).items():
            self._measure(legal(key), value, step)

    def _measure(self, key: str, value: Any, step: int) -> None:
        """Add a point, or a tag for what is not finite: sqlite would keep inf as 1.797e308."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            self.metrics.append(Metric(key, number, self.end, step))
        else:
            self.tags[legal(f"autoopt.nonfinite.{key}")] = truncated(f"{value} at step {step}", TAG_SIZE)


def gather(lines: Iterable[tuple[int, bytes]], steps: Mapping[str, int]) -> dict[str, RunUpdate]:
    """The runs that these lines tell about, in the order in which they come up. A spoilt line is left out.

    Args:
        steps: the last step of each run that earlier lines told of.
    """
    runs: dict[str, RunUpdate] = {}
    for offset, line in lines:
        if line.startswith(RECORD):
            try:
                record = json.loads(line)
                key = record["key"]
                runs.setdefault(key, RunUpdate(offset, record["time"], steps.get(key, 0))).add(record)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                logger.warning("spool, line before byte %d: left out: %r", offset, error)
    return runs
