import pytest
import torch

from autoopt.domain import Unavailable
from autoopt.plugins.device.auto import auto
from autoopt.plugins.device.cpu import cpu
from autoopt.plugins.device.cuda import cuda
from autoopt.technique import find


@pytest.mark.parametrize(("cuda_there", "mps_there", "expected"), [(True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_fastest_there_is(monkeypatch, cuda_there, mps_there, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda_there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps_there)
    assert auto() == {"accelerator": expected, "devices": 1, "precision": "32-true"}


def test_auto_leaves_nothing_to_search():
    assert not find("device", "auto").params


def test_cpu_says_its_precision():
    assert cpu(precision="bf16-mixed") == {"accelerator": "cpu", "devices": 1, "precision": "bf16-mixed"}


def test_cuda_that_was_not_built(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(Unavailable, match="no CUDA device: torch was built without CUDA"):
        cuda()


def test_cuda_without_a_device(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unavailable, match="no CUDA device is visible"):
        cuda()


def test_cuda_with_a_device(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert cuda(precision="bf16-mixed") == {"accelerator": "cuda", "devices": 1, "precision": "bf16-mixed"}
