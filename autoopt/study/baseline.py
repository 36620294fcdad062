"""The recipe of trial 0 where it is not the space's own: a file's, or a LightningModule as it is written."""

from collections.abc import Mapping
from typing import Any

from autoopt.config import FROM, Tree, compose
from autoopt.errors import BadInput
from autoopt.grammar import is_sweep
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.space import Domain, Space
from autoopt.space.questions import Absent
from autoopt.technique import REQUIRED, available, find, is_path


def untouched(tree: Tree, absent: Absent) -> Recipe | None:
    """The recipe that trains a LightningModule as it is written, whatever is named; `None` where the space's own baseline does.

    A module without an optimizer of its own is trained by the baseline's.
    """
    space = Space.of(tree).fitting(absent)
    baseline = space.without_compression().baseline()
    kept = [slot for slot in SLOTS if slot not in ("data", "model", "device") and "own" not in absent.get(slot, {})]
    nodes: dict[str, Any] = {slot: as_kept(slot) for slot in kept} | {"model": with_own_defaults(space, baseline.tree["model"])}
    if any(map(is_path, (node.get(FROM, "") for node in tree["data"].values()))) and is_sweep(tree["batches"]["size"]):
        nodes["batches"] = {**baseline.tree["batches"], "size": None}  # the author's own
    recipe = baseline.replace(**nodes)
    return None if recipe == baseline else recipe


def as_kept(slot: str) -> dict[str, Any]:
    """The node of a slot that leaves the module as it is: `keep` at its defaults, or nothing."""
    return {"keep": {p.name: p.default for p in find(slot, "keep").params.values()}} if "keep" in available(slot) else {}


def with_own_defaults(space: Space, node: Mapping[str, Any]) -> dict[str, Any]:
    """The node of a model whose searched arguments have the defaults of its author."""
    ((name, values),) = node.items()
    option = space.options["model"][name]
    params = option.technique.params  # without the arguments of its objects and further keywords, whose defaults are unknown
    own = {key: params[key].default for key, value in option.values.items() if isinstance(value, Domain) and key in params}
    return {name: values | {key: default for key, default in own.items() if default is not REQUIRED}}


def own_baseline(tree: Tree) -> Recipe | None:
    """The recipe that `baseline=FILE` names, on the study's own data, split and epochs.

    Raises:
        BadInput: the file cannot be read, or leaves a choice open.
    """
    if tree["baseline"] is None:
        return None
    space = Space.of(compose([], tree["baseline"]))
    if domains := space.domains():
        raise BadInput(f"baseline={tree['baseline']}: a recipe has one value for each setting, but {domains[0].path} is open")
    study = Space.of(tree).baseline()
    return space.baseline().replace(**{key: study.tree[key] for key in ("data", "split", "study")})
