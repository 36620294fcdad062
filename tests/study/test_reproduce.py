"""`autoopt reproduce`, on a study that plays a recorded table: what is the same, what differs, and what is refused."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.cli import main
from autoopt.commands.reproduce import explanation
from autoopt.config import compose
from autoopt.errors import BadInput, NotConcluded
from autoopt.records.record import Record
from autoopt.records.stored import Stored, open_stored
from autoopt.study.interrupts import Interrupted
from autoopt.study.reproduce import Reproduced, changed_since, first_difference, reproduce, trained_before

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS / "tables"), str(BENCHMARKS / "search")]

from replay import Replay, replayed  # noqa: E402
from table import Table  # noqa: E402

from autoopt.terminal import Progress  # noqa: E402


@pytest.fixture(scope="module")
def table():
    return Table.load("digits_mlp")


@pytest.fixture(scope="module")
def study(table, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    replayed(table, root, "study.trials=12", "study.seeds=1", "study.ablation=false")
    return open_stored("replay", str(root))


def again(study, key, executor):
    tree = compose([f"root={study.path.parent}"], str(study.path / "config.yaml"))
    return reproduce(study, key, tree, Progress(quiet=True), executor)


def worse(table, by):
    return replace(table, error=table.error + by)


def by_state(study, state):
    return next(r for r in study.records["search"] if r.state == state and r.key != "0")


@pytest.mark.slow
@pytest.mark.parametrize("state", ["complete", "stopped"])
def test_a_trial_that_is_the_same(study, table, tmp_path, state):
    before = by_state(study, state)
    executor = Replay(table, tmp_path)
    found = again(study, before.key, executor)
    assert found.same and found.now.curves == before.curves and found.now.epochs == before.epochs
    (order,) = executor.orders
    assert (order.seed, order.recipe, order.rungs) == (before.seed, before.point, (before.epochs,) if state == "stopped" else ())
    (line,) = explanation(found)
    assert line.startswith(f"The same to the last bit: trial {before.key} had val_accuracy {before.score!r} ")


def test_a_training_of_the_final_comparison_can_be_reproduced(study, table, tmp_path):
    assert again(study, "0-final-0", Replay(table, tmp_path)).same


def test_every_metric_that_is_no_cost_is_compared(study):
    """The objective may be a cost, and the module may log no val_loss."""
    curves = {"epoch": [1, 2], "train_loss": [0.5, 0.25], "val_own": [float("nan"), 1.0], "seconds": [1.0, 2.0]}
    before = replace(study.record("0"), curves=curves, metrics={"train_loss": 0.25, "seconds": 2.0}, epochs=2)
    timed = replace(
        before, curves={**curves, "val_own": [float("nan"), 1.0], "seconds": [3.0, 4.0]}, metrics={"train_loss": 0.25, "seconds": 4.0}
    )
    assert Reproduced(before, timed, "val_loss", ()).same and first_difference(before, timed) is None
    for other in (
        replace(before, curves={**curves, "train_loss": [0.5000000000000001, 0.25]}),
        replace(before, metrics={"train_loss": 0.2500000000000001}),
    ):
        assert not Reproduced(before, other, "val_loss", ()).same


def test_an_interrupted_reproduction_names_no_folder_that_is_gone(study, table, tmp_path):
    class Interrupting(Replay):
        def submit(self, number, order):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=r"^interrupted by SIGINT; nothing is kept$"):
        again(study, "0", Interrupting(table, tmp_path))


def test_the_study_is_not_changed(study, table, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in study.path.rglob("*")}
    again(study, "0", Replay(table, tmp_path))
    assert {path: path.stat().st_mtime_ns for path in study.path.rglob("*")} == before


def test_a_trial_that_differs_for_an_unknown_reason_is_trained_once_more(study, table, tmp_path):
    executor = Replay(worse(table, 1e-6), tmp_path)
    found = again(study, "0", executor)
    assert not found.same and found.steady and len(executor.orders) == 2
    first, second, third = explanation(found)
    assert first.startswith("Not the same: trial 0 had val_accuracy ") and "; now it had val_accuracy " in first
    assert second.startswith("The first difference is val_accuracy of epoch 1: ")
    assert third.startswith("Nothing that is known of the environment differs (that of the trial was not recorded), and a further ")


@pytest.mark.slow
def test_a_training_that_is_not_deterministic_is_told(study, table, tmp_path):
    class Drifts(Replay):
        def submit(self, number, order):
            self.table = worse(self.table, 1e-6)
            super().submit(number, order)

    found = again(study, "0", Drifts(table, tmp_path))
    assert found.steady is False and list(explanation(found))[-1].startswith(
        "A further training differs, too: the training is not deterministic"
    )


def test_a_difference_of_the_environment_explains_it(study, table, tmp_path):
    class Elsewhere(Replay):
        @property
        def facts(self):
            return {**super().facts, "examples": "1"}

    executor = Elsewhere(worse(table, 0.1), tmp_path)
    found = again(study, "0", executor)
    assert len(executor.orders) == 1, "no second training is needed"
    assert list(explanation(found))[2:] == ["  differs: the data have changed", "Any of these may explain it."]


def test_a_machine_that_ends_the_training(study, table, tmp_path):
    with pytest.raises(NotConcluded, match=r"the training failed \(lost\): the worker is gone"):
        again(study, "0", Replay(table, tmp_path, failures=1e9))


def test_what_differs(study):
    before = study.record("0")
    then = replace(before, environment={"torch": "2.13.0", "threads": "1", "device": "cpu"})
    now = replace(before, environment={"torch": "2.14.0", "threads": "1", "device": "cpu", "timm": "1.0"})
    locked = {"techniques": {"optimizer/adamw": "mine 1.2", "optimizer/nadam": "mine 1.2"}, "sources": {"model=m:N": "a"}, "examples": "0"}
    tree, facts = study.config, {"sources": {"model=m:N": "b", "loss=m:L": "c"}, "examples": "0"}
    assert sorted(changed_since(then, now, locked, tree, facts)) == [
        "optimizer/adamw of mine 1.2, now of autoopt 0.1.0",
        "the file of model=m:N has changed",
        "timm absent, now 1.0",
        "torch 2.13.0, now 2.14.0",
    ]


def test_a_failure_is_reproduced_by_its_reason(study):
    failed = replace(study.record("0"), state="failed", reason="nonfinite", detail="the loss is nan", score=None, epochs=3)
    assert Reproduced(failed, replace(failed, detail="another line"), "val_accuracy", ()).same
    assert not Reproduced(failed, replace(failed, reason="error"), "val_accuracy", ()).same
    assert next(explanation(Reproduced(failed, failed, "val_accuracy", ()))).endswith(
        "trial 0 failed in epoch 4 (nonfinite: the loss is nan)."
    )


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"key": "1"}, r"replay has no finished trial 0\. Known: 1\."),
        ({"stage": "test"}, r"trial 0 is no training, but of the stage test; name a training, such as 0"),
        ({"state": "failed", "reason": "lost", "detail": "gone"}, r"trial 0 was ended from outside \(lost: gone\)"),
    ],
)
def test_trials_that_cannot_be_reproduced(study, fields, line):
    record: Record = replace(study.record("0"), **fields)
    with pytest.raises(BadInput, match=line):
        trained_before(replace(study, records={"search": [record]}), "0")


def test_a_training_is_not_reproduced(tmp_path):
    (tmp_path / "space.yaml").write_text("searched: false\n")
    with pytest.raises(BadInput, match="is a training, not a search; the same train command trains it again"):
        trained_before(Stored(tmp_path, {}, {}, None), "0")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "reproduce: name a study; known: replay"),
        (["replai"], "No study named 'replai' in "),
        (["replay"], "reproduce: name a trial of replay, such as replay 0"),
        (["replay", "99"], "replay has no finished trial 99. Did you mean '9'? Known: 0, "),
        (["replay", "1", "2"], "reproduce: unexpected argument '2'"),
    ],
)
def test_what_is_refused(study, capsys, words, line):
    assert main(["reproduce", *words, f"root={study.path.parent}"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"autoopt: {line}") and err.count("\n") == 1
