"""Nothing that is read runs code: a canary on every way in, in each of which it would write a file."""

import json
from pathlib import Path

import pytest
import scripts
from torch import nn

from autoopt.config import allow, compose, flat
from autoopt.deployment.structure import class_at, describe_modules, restore
from autoopt.errors import BadInput

pytestmark = pytest.mark.xdist_group("scripts")  # one process to fork them from


@pytest.fixture(scope="module", params=["instances", "files", "exports", "studies"])
def answered(request, tmp_path_factory):
    """What one way in, and its folder, answered to every hostile file."""
    folder = tmp_path_factory.mktemp(request.param)
    done = scripts.run(Path(__file__).with_name("canaries.py"), folder, request.param)  # there every canary can be imported
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_nothing_has_run(answered):
    folder, said = answered
    assert len(said) > 5
    assert [path.name for path in folder.glob("*.ran")] == []
    refusals = ("wants to import", "which the study does not have", "is not a torch.nn.Module")
    loud = {name: line for name, line in said.items() if not any(refusal in line for refusal in refusals)}
    assert loud == {}


FOREIGN = """
import autoopt, pathlib, sys, lightning.pytorch as L
from autoopt.errors import BadInput
kind, path = sys.argv[1:]
class Lit(L.LightningModule): pass
nodes = {slot: {} for slot in ("data", "model", "loss", "optimizer", "schedule", "activation", "initializer", "augmentation",
                               "regularizer", "device", "compression")}
nodes |= {"batches": {"size": 1}, "device": {"cpu": {}}}
nodes |= {"trainer": {"callbacks": path}} if kind == "callbacks" else {kind: {"it": {"from": path, "args": ["touch", "ran"]}}}
try:
    autoopt.apply(autoopt.api.Recipe(nodes), Lit(), trust=[path])
except BadInput as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["optimizer", "activation", "callbacks"])
def test_what_is_trusted_is_called_only_in_its_own_kind(kind, tmp_path, tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "foreign.py"
    script.write_text(FOREIGN)
    done = scripts.run(script, tmp_path, kind, "subprocess:Popen")
    assert "subprocess" in done.stdout and "expected a" in done.stdout, done.stderr
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
