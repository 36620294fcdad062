"""Builds the plug-ins beside the slots of a recipe: the strategy and the executor of a study."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autoopt.config import Tree, plugged
from autoopt.domain import Unavailable
from autoopt.errors import BadInput, summary
from autoopt.kind import check_kind
from autoopt.slots import PLUG_POINTS
from autoopt.technique import Technique, build, resolve


@contextmanager
def faults_named(point: str, technique: Technique) -> Iterator[None]:
    """Tell whose fault an exception is.

    Raises:
        BadInput: the plug-in cannot work here, or fails.
    """
    try:
        yield
    except Unavailable as error:
        raise BadInput(f"{point}={technique.name} cannot be used here: {error}") from error
    except Exception as error:
        if isinstance(error, BadInput) or hasattr(error, "exit_code"):
            raise
        raise BadInput(f"{point}={technique.name} failed: {summary(error)}{technique.remedy(error)}") from error


def plug(tree: Tree, point: str, **offered: Any) -> Any:
    """Build the strategy or the executor that the config names.

    Args:
        offered: the objects that the plug-point offers, by name.

    Raises:
        BadInput: it is not of the point's kind, cannot work here, or fails.
    """
    technique, values = plugged(tree, point)
    if not technique.owner:
        check_kind(point, technique)
    with faults_named(point, technique):
        built = build(technique, offered, values)
    (kind,) = PLUG_POINTS[point].returns
    if not isinstance(built, resolve(str(kind))):
        raise BadInput(f"{point}={technique.name} returned {type(built).__name__}, expected {kind}")
    return built
