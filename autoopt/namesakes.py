"""`pytorch_lightning` and `lightning.pytorch` are two copies of the same code: here one set of classes serves both names."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from autoopt.errors import line_in, summary

PAIRS = {"pytorch_lightning": "lightning.pytorch", "lightning_fabric": "lightning.fabric"}


class Namesakes(MetaPathFinder, Loader):
    """Imports one package, and all that is inside of it, under the name of another, too.

    Args:
        served: the package that each name stands for.
    """

    def __init__(self, served: Mapping[str, str]):
        self.served = served

    def real(self, name: str) -> str:
        """The name of the module that a name stands for; empty for names of others."""
        alias = next((alias for alias in self.served if name == alias or name.startswith(f"{alias}.")), None)
        return self.served[alias] + name.removeprefix(alias) if alias else ""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        real = self.real(name)
        if not real or (found := spec_of(real)) is None:
            return None
        spec = ModuleSpec(name, self, origin=found.origin)
        spec.submodule_search_locations = found.submodule_search_locations
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that is served in the place of the empty one, as the import system allows."""
        sys.modules[module.__name__] = importlib.import_module(self.real(module.__name__))


def join() -> None:
    """Let both names of each pair stand for one package, before a user's code imports either.

    A package that is imported already serves; where both are, there are two sets of classes, which `kind` tells apart.
    """
    if any(isinstance(finder, Namesakes) for finder in sys.meta_path):
        return
    served = {}
    for old, new in PAIRS.items():
        if old not in sys.modules:
            served[old] = new
        elif new not in sys.modules and same_release(old):
            served[new] = old
    sys.meta_path.insert(0, Namesakes(served))


def same_release(name: str) -> bool:
    """Whether an imported package is of the release of `lightning` that is installed."""
    try:
        return bool(getattr(sys.modules[name], "__version__", "") == version("lightning"))
    except PackageNotFoundError:
        return False


def namesake_note() -> tuple[str, ...]:
    """What the user should know of names that were imported as another's: one line, or nothing."""
    finders = [finder for finder in sys.meta_path if isinstance(finder, Namesakes)]
    pairs = [(name, real) for finder in finders for name, real in finder.served.items() if name in sys.modules and name in PAIRS]
    said = " and ".join(f"{name} as {real}" for name, real in pairs)
    return (f"imported {said} {version('lightning')}, so that both names have the same classes",) if said else ()


def imported(module: str) -> ModuleType:
    """A module of anybody's. A script that reads the command line as it is imported finds no words there: they are autoopt's.

    Raises:
        RuntimeError: importing it ends the process.
    """
    join()
    words, sys.argv[1:] = sys.argv[1:], []
    try:
        return importlib.import_module(module)
    except SystemExit as end:
        if type(end) is not SystemExit or isinstance(end.__context__, KeyboardInterrupt):  # a signal ends it, and not the module
            raise
        raise RuntimeError(f"importing it ends the process: SystemExit: {end}").with_traceback(end.__traceback__) from end
    finally:
        sys.argv[1:] = words


def why_not(error: Exception, path: str) -> str:
    """Why an import path of a user cannot be loaded, in a line, with the line of its file that failed."""
    module = path.partition(":")[0]
    spec = None if isinstance(error, ImportError) and error.name == module else spec_of(module)
    line = line_in(spec.origin, error) if spec and spec.origin else ""
    runs = "" if isinstance(error, ImportError) or not line else ", which runs whenever it is imported"
    return summary(error) + (f" ({line}{runs})" if line else "")


def spec_of(module: str) -> ModuleSpec | None:
    """How a module would be imported, found without importing its packages."""
    spec, search, name = None, None, ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        found = (finder.find_spec(name, search) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        if (spec := next((s for s in found if s is not None), None)) is None:
            return None
        search = spec.submodule_search_locations or []  # a module that is no package has nothing inside
    return spec
