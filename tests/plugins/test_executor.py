"""The executors: what the built-in one makes of a machine."""

import pytest

from autoopt.config import compose
from autoopt.executor.resources import Limits, Machine
from autoopt.live import import_path
from autoopt.plugins.executor import local as module


@pytest.fixture
def made(monkeypatch):
    """What Local was asked to be: it starts a process, which these tests do without."""
    said = {}
    monkeypatch.setattr(module, "Local", lambda *given, **settings: said.update(settings, given=given) or said)
    return said


def test_local_has_the_limits_and_the_room_of_this_machine(made, tmp_path):
    setup = {"tree": compose(["data=digits"])}
    limits = Limits(workers=3, gpus_per_trial=0.5, cpus_per_trial=2, trial_time=60.0, gpus=1, processors=2)
    assert module.local(setup, tmp_path, limits) is made
    assert made == {
        "given": (setup, tmp_path),
        "workers": 3,
        "trial_time": 60.0,
        "gpus": (),
        "gpus_per_trial": 0.5,
        "cpus_per_trial": 2,
        "fork": False,
    }


def test_local_fills_the_machine_where_nothing_else_is_said(made, tmp_path):
    module.local({"tree": compose(["data=digits"])}, tmp_path, Limits())
    assert made["workers"] == max(1, int(Machine.here().cores)) and made["trial_time"] is None


def test_local_forks_this_process_where_an_object_of_it_is_named(made, tmp_path):
    path = import_path("model", lambda task: None)
    module.local({"tree": compose(["data=digits", f"model={path}"])}, tmp_path, Limits())
    assert made["fork"] is True
