"""Domains as Optuna's distributions, and Optuna's log kept off the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autoopt.domain import Choice
from autoopt.space import Domain


def distribution(domain: Domain) -> BaseDistribution:
    """A domain as Optuna records it."""
    values = domain.values
    if isinstance(values, Choice):
        return CategoricalDistribution(values.options)
    if domain.scalar is int:
        return IntDistribution(int(values.low), int(values.high), log=values.log, step=int(values.step or 1))
    return FloatDistribution(float(values.low), float(values.high), log=values.log, step=values.step)


@contextmanager
def silent() -> Iterator[None]:
    """Keep Optuna from printing that it created a study; afterwards its log level is the caller's again."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
