"""`autoopt plugins new`: what it writes works as it is, in every slot."""

import forked
import pytest

from autoopt.cli import main
from autoopt.commands.check import slot_of_path
from autoopt.errors import BadInput
from autoopt.slots import PLUGGABLE
from autoopt.technique import find
from autoopt.testing import check


@pytest.mark.parametrize("slot", [pytest.param(slot, marks=pytest.mark.slow) if slot == "executor" else slot for slot in PLUGGABLE])
def test_a_new_technique_passes_the_contract_of_its_slot(slot, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plugins", "new", f"{slot}/my_{slot}"]) == 0
    folder = tmp_path / f"autoopt-my-{slot}"
    assert f"pip install -e autoopt-my-{slot} && autoopt plugins check {slot}/my_{slot}" in capsys.readouterr().out
    assert (
        f'[project.entry-points."autoopt.{slot}"]\nmy_{slot} = "autoopt_my_{slot}.my_{slot}:my_{slot}"'
        in (folder / "pyproject.toml").read_text()
    )
    monkeypatch.syspath_prepend(str(folder))
    technique = find(slot, f"autoopt_my_{slot}.my_{slot}:my_{slot}")
    assert [finding for finding in check(technique) if not finding.skipped] == []


def test_its_folder_may_be_named_and_is_never_written_over(tmp_path, capsys):
    where = tmp_path / "here"
    assert main(["plugins", "new", "optimizer/mine", str(where)]) == 0
    before = {path: path.read_text() for path in where.rglob("*.py")}
    assert main(["plugins", "new", "optimizer/mine", str(where)]) == 2
    assert f"{where} exists already; name another folder" in capsys.readouterr().err
    assert {path: path.read_text() for path in where.rglob("*.py")} == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "plugins new: name a slot and a technique, and optionally a folder: autoopt plugins new optimizer/mine [DIR]"),
        (["optimiser/mine"], "No slot named 'optimiser'. Did you mean 'optimizer'?"),
        (["optimizer/My-Thing"], "expected a name such as my_optimizer, got 'My-Thing'"),
        (["optimizer/class"], "expected a name such as my_optimizer, got 'class'"),
        (["optimizer/größe"], "expected a name such as my_optimizer, got 'größe': letters from a to z, digits and '_' between them"),
        (["optimizer/mine_"], "expected a name such as my_optimizer, got 'mine_'"),
        (["optimizer/adamw"], "optimizer/adamw is installed already, and of two under one name neither can be used; name it otherwise"),
        (["augmentation/all"], "augmentation/all is what stands for a list of techniques"),
        (["augmentation/none"], "augmentation/none is what stands for a list of techniques"),
        (["executor/workers"], "executor/workers is a setting"),
        (["optimizer/mine", "/dev/null/mine"], "/dev/null/mine cannot be written: Not a directory"),
        (["optimizer/mine", "a" * 300], "cannot be written: File name too long"),
    ],
)
def test_what_cannot_be_made(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plugins", "new", *words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


OWN = '''from torch import Tensor, nn
from torch.optim import SGD

from autoopt.executor import Executor
from autoopt.strategy import Strategy


class Mine(SGD):
    """Plain steps.

    Source: the author, 2026.
    """


def brighter(images: Tensor, *, strength: float = 0.0) -> Tensor:
    """Adds `strength`.

    Source: the author, 2026.
    """
    return (images + strength).clamp(0, 1)


def block() -> nn.Module:
    return nn.ReLU()


class Best(Strategy):
    def __init__(self, space):
        self.space = space

    def propose(self, history, number, seed):
        return {}


def cluster(setup, store, limits) -> Executor:
    raise NotImplementedError
'''


@pytest.mark.slow
def test_the_slot_of_an_import_path_is_told_by_its_kind(tmp_path):
    (tmp_path / "own_things.py").write_text(OWN)
    said = forked.end(forked.start(["plugins", "check", "own_things:brighter"], tmp_path), tmp_path)
    assert "ok       augmentation/brighter" in said


def test_one_that_could_be_of_several_kinds_needs_its_slot(tmp_path, monkeypatch):
    (tmp_path / "own_blocks.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert slot_of_path("own_blocks:Mine") == "optimizer"
    assert slot_of_path("own_blocks:Best") == "strategy" and slot_of_path("own_blocks:cluster") == "executor"
    with pytest.raises(
        BadInput,
        match="block fits model or activation or compression: name its slot: autoopt plugins check model=",
    ):
        slot_of_path("own_blocks:block")
    with pytest.raises(BadInput, match=r"own_blocks has no .blok.\. Did you mean .block."):
        slot_of_path("own_blocks:blok")
