"""Which technique of a recipe is to blame for an exception."""

import inspect
import traceback
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile

from autoopt.domain import Unavailable
from autoopt.errors import NonFinite, Preempted, TechniqueError, machine_fault, out_of_memory
from autoopt.module.chosen import Chosen, in_words
from autoopt.recipe import Recipe
from autoopt.technique import Technique


@contextmanager
def blaming(recipe: Recipe) -> Iterator[None]:
    """Blame an exception on the technique whose code raised it.

    Raises:
        TechniqueError: in place of an exception that the code of a technique raised.
    """
    try:
        yield
    except (TechniqueError, NonFinite, Preempted):
        raise
    except Exception as error:
        if out_of_memory(error) or machine_fault(error) or (technique := culprit(error, recipe)) is None:
            raise
        unavailable = isinstance(error, Unavailable)
        detail = str(error) if unavailable else in_words(error, technique)
        raise TechniqueError(technique.slot, technique.name, detail, unavailable) from error


def culprit(error: Exception, recipe: Recipe) -> Technique | None:
    """The technique whose file raised the error, or called what raised it; of several in one file, the one whose own code did."""
    files: dict[str | None, list[Technique]] = defaultdict(list)
    for technique, _ in Chosen(recipe).rows:
        with suppress(TypeError, OSError):  # a partial, or a class of a notebook, has no file
            files[inspect.getsourcefile(technique.load())].append(technique)
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)][::-1]
    codes = list(takewhile(lambda code: code.co_name != "closure", codes))  # an optimizer that calls one is not to blame for it
    file = next((code.co_filename for code in codes if code.co_filename in files), None)
    if file is None or len(files[file]) == 1:
        return None if file is None else files[file][0]
    own = {f"{technique.load().__qualname__}.": technique for technique in files[file]}
    inside = [f"{code.co_qualname}." for code in codes if code.co_filename == file]
    return next((own[prefix] for name in inside for prefix in own if name.startswith(prefix)), None)
