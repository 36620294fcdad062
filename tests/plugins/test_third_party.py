"""The stranger's distribution in tests/third_party, without installing it: its metadata, and the contract."""

import tomllib
from pathlib import Path

import pytest
import torch

from autoopt.slots import PLUGGABLE
from autoopt.technique import find, from_source, reflect
from autoopt.testing import check

HOME = Path(__file__).parents[1] / "third_party"
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
POINTS = [
    (group.removeprefix("autoopt."), name, path) for group, points in PROJECT["entry-points"].items() for name, path in points.items()
]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HOME))


def test_its_metadata_names_slots_and_objects_that_are_there():
    assert PROJECT["name"] == "autoopt-signs" and PROJECT["dependencies"] == ["autoopt>=0.1"]
    assert [(slot, name) for slot, name, _ in POINTS] == [
        ("optimizer", "sign_momentum"),
        ("augmentation", "pixel_noise"),
        ("strategy", "aging_evolution"),
        ("executor", "piped"),
    ]
    for slot, name, path in POINTS:
        assert slot in PLUGGABLE
        assert from_source(slot, name, path) == reflect(slot, name, path)


@pytest.mark.parametrize(("slot", "name", "path"), [point for point in POINTS if point[0] != "executor"])
def test_it_keeps_the_contract(slot, name, path):
    """The executor, whose checks take long, is checked in tests/test_third_party_install.py."""
    assert check(find(slot, path)) == []


def test_sign_momentum_moves_each_weight_by_the_rate():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    optimizer = find("optimizer", "autoopt_signs.sign_momentum:sign_momentum").load()([weight], lr=0.1, momentum=0.9, weight_decay=0.5)
    weight.grad = torch.tensor([5.0, -0.001, 0.0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.95 - 0.1, -1.9 + 0.1, 2.85]))
    weight.grad = torch.tensor([-1.0, -1.0, 1.0])  # the mean is 0.9 * 0.5 - 0.1 > 0 in the first
    before = weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before * 0.95 + torch.tensor([-0.1, 0.1, -0.1]))
