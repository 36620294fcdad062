"""Nothing that is read runs code: a canary on every way in, in each of which it would write a file."""

import json
import os
from pathlib import Path

import canaries
import forked
import pytest
from torch import nn

import autoopt
from autoopt.config import allow, compose, flat
from autoopt.deployment.structure import class_at, describe_modules, restore
from autoopt.errors import BadInput
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS


@pytest.fixture(scope="module", params=["instances", "files", "exports", "studies"])
def answered(request, tmp_path_factory):
    """What one way in, and its folder, answered to every hostile file."""
    folder = tmp_path_factory.mktemp(request.param)
    process = forked.run(canaries.run, folder, request.param)
    process.join(280)
    assert process.exitcode == 0
    return folder, json.loads((folder / "said.json").read_text())


@pytest.mark.slow
def test_nothing_has_run(answered):
    folder, said = answered
    assert len(said) > 5
    assert [path.name for path in folder.glob("*.ran")] == []
    refusals = ("wants to import", "which the study does not have", "is not a torch.nn.Module")
    loud = {name: line for name, line in said.items() if not any(refusal in line for refusal in refusals)}
    assert loud == {}


def apply_trusted(kind: str, path: str, folder: Path, said: Path) -> None:
    """Be a process in a folder, which applies a recipe with an object of another kind, and write down what is said."""
    os.chdir(folder)
    nodes = {slot: {} for slot in SLOTS} | {"batches": {"size": 1}, "device": {"cpu": {}}}
    nodes |= {"trainer": {"callbacks": path}} if kind == "callbacks" else {kind: {"it": {"from": path, "args": ["touch", "ran"]}}}
    try:
        autoopt.apply(Recipe(nodes), canaries.autoopt_module(), trust=[path])
    except BadInput as error:
        said.write_text(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["optimizer", "activation", "callbacks"])
def test_what_is_trusted_is_called_only_in_its_own_kind(kind, tmp_path, tmp_path_factory):
    said = tmp_path_factory.mktemp("said") / "said.txt"
    process = forked.run(apply_trusted, kind, "subprocess:Popen", tmp_path, said)
    process.join(60)
    assert process.exitcode == 0 and "subprocess" in said.read_text() and "expected a" in said.read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_path_to_trust_is_an_import_path():
    with pytest.raises(BadInput, match=r"trust=my_models: expected an import path, such as my_models:Net"):
        allow("my_models")


def test_a_class_of_weights_is_that_of_its_own_module():
    """Not one that another module has imported, whose code nobody named."""
    assert class_at("torch.nn.modules.linear:Linear") is nn.Linear
    for path in ("torch.nn:modules.linear.Linear", "torch.nn:Linear", "torch.nn:modules.module.warnings.catch_warnings"):
        with pytest.raises(ValueError, match=r"is not a torch\.nn\.Module"):
            class_at(path)


@pytest.mark.parametrize("attributes", [{"_forward_hooks": []}, {"__class__": 3}, {"act": {"dtype": "load"}}], ids=str)
def test_an_attribute_in_weights_is_plain_and_the_layers_own(attributes):
    node = describe_modules(nn.ReLU(), nn.ReLU()) | {"attributes": attributes}
    with pytest.raises((ValueError, TypeError), match=r"no attribute of its own|is no dtype|__class__ must be set"):
        restore(node, {}, nn.Identity())


@pytest.mark.parametrize("key", ["metrics", "trainer.callbacks"])
def test_a_list_of_import_paths_in_a_file_is_trusted_path_by_path(key, tmp_path):
    path = tmp_path / "search.yaml"
    path.write_text(f"data: digits\n{key}: [nowhere_{key[0]}:one, nowhere_{key[0]}:two]\n")
    with pytest.raises(
        BadInput, match=f"wants to import nowhere_{key[0]}:one and nowhere_{key[0]}:two, .* add trust=nowhere_{key[0]}:one,"
    ):
        compose([], str(path))
    allow(f"nowhere_{key[0]}:one", f"nowhere_{key[0]}:two")
    tree = compose([], str(path))
    assert flat(tree)[key] == f"nowhere_{key[0]}:one nowhere_{key[0]}:two"
