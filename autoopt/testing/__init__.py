"""The contract of each slot, as named checks that run on any technique, built-in or not.

from autoopt.technique import find
from autoopt.testing import check

def test_mine():
    assert [f for f in check(find("optimizer", "my_plugin.optimizers:mine")) if not f.skipped] == []
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch

from autoopt.domain import Unavailable
from autoopt.errors import summary
from autoopt.technique import Technique
from autoopt.testing import (
    activation,
    augmentation,
    compression,
    data,
    device,
    executor,
    general,
    initializer,
    loss,
    model,
    optimizer,
    regularizer,
    schedule,
    strategy,
)
from autoopt.testing.worlds import WORLDS

__all__ = ["GENERAL", "OF_SLOT", "WORLDS", "Finding", "check", "checks", "outcome", "state"]

Check = Callable[[Technique], None]
GENERAL: tuple[Check, ...] = general.CHECKS
OF_SLOT: dict[str, tuple[Check, ...]] = {
    "data": data.CHECKS,
    "model": model.CHECKS,
    "activation": activation.CHECKS,
    "initializer": initializer.CHECKS,
    "augmentation": augmentation.CHECKS,
    "regularizer": regularizer.CHECKS,
    "loss": loss.CHECKS,
    "optimizer": optimizer.CHECKS,
    "schedule": schedule.CHECKS,
    "device": device.CHECKS,
    "compression": compression.CHECKS,
    "strategy": strategy.CHECKS,
    "executor": executor.CHECKS,
}


class Finding(NamedTuple):
    """A check that a technique did not pass, or that could not run."""

    check: str
    reason: str
    skipped: bool = False


def check(technique: Technique) -> list[Finding]:
    """Run all checks of a technique's slot; returns the failed and the skipped checks, so an empty list means that all passed."""
    outcomes = [outcome(name, run) for name, run in checks(technique).items()]
    return [finding for finding in outcomes if finding is not None]


def checks(technique: Technique) -> dict[str, Callable[[], None]]:
    """The checks that a technique has to pass, by name; each raises on failure, and Unavailable if it cannot run."""
    return {name_of(c): partial(c, technique) for c in (*GENERAL, *OF_SLOT[technique.slot])}


def name_of(check: Check) -> str:
    return check.__name__.replace("_", " ")


def state(technique: Technique, findings: Sequence[Finding]) -> str:
    """The result of `check`: failed, ok, or skipped if no check of the slot could run."""
    if any(not finding.skipped for finding in findings):
        return "failed"
    return "skipped" if {name_of(c) for c in OF_SLOT[technique.slot]} <= {finding.check for finding in findings} else "ok"


def outcome(name: str, run: Callable[[], None]) -> Finding | None:
    try:
        with quiet_lightning(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            run()
    except Unavailable as error:
        return Finding(name, str(error), skipped=True)
    except AssertionError as error:
        return Finding(name, str(error))
    except Exception as error:
        return Finding(name, summary(error))
    return None


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's remarks on tiny trainings."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "pytorch.utilities.rank_zero", "fabric.utilities.rank_zero")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
