"""The cost of a trial, from short trainings on a clock on which an epoch is a second."""

from types import SimpleNamespace

import pytest
from scripted import ACCURACY, FACTS, PLAIN, SPACE, Fails, Quiet, Scripted, composed, outcome, runner

from autoopt.commands.plan import Workload, cost
from autoopt.goal import Goal, Objective
from autoopt.records.settled import Settled
from autoopt.space import Space
from autoopt.study.interrupts import Interrupts
from autoopt.study.runner import Runner
from autoopt.study.timing import DRAWN, EPOCHS, SECONDS, Timing, timing_of, timings

TREE = composed(*SPACE, *PLAIN, "study.epochs=100")


def timed(tmp_path, play):
    executor = Scripted(play, tmp_path, 2, facts=FACTS)
    runner = Runner(executor, Quiet(), Interrupts(str, print), executor.now, goal=Goal((Objective("val_accuracy", "maximize"),)))
    space = Space.of(TREE).without_compression()
    return timings(runner, space, space.baseline(), 0), executor


def test_the_baseline_and_recipes_of_the_space_train_a_few_epochs(tmp_path):
    def play(order):
        for _ in range(EPOCHS):
            if (yield {"val_accuracy": 0.5}):
                break
        yield {"val_accuracy": 0.5}  # what comes after the last epoch takes a second, too
        return outcome(val_accuracy=0.5, peak_memory_mb=100.0, size_mb=0.5)

    found, executor = timed(tmp_path, play)
    assert len(found) == len({str(order.recipe.tree) for order in executor.orders}) == 1 + DRAWN
    assert {order.recipe.epochs for order in executor.orders} == {EPOCHS} and executor.most == 2
    assert {timing.epoch for timing in found} == {1.0}
    assert found[0].training(100) == pytest.approx(100 + found[0].start) and found[0].start >= 1
    assert executor.turns < 3 * (SECONDS + 4) * 2, "no training goes on to its end"


def test_a_fast_training_is_stopped_after_its_last_epoch(tmp_path, monkeypatch):
    """Else cross-validation goes on with the other folds, whose time is not that of the first one's start."""
    monkeypatch.setattr("autoopt.study.timing.SECONDS", EPOCHS + 1.0)

    def play(order):
        for epoch in range(EPOCHS):
            stopped = yield {"val_accuracy": 0.5}
            assert stopped == (epoch == EPOCHS - 1)
        return outcome(stopped=True, val_accuracy=0.5)

    assert {timing.epoch for timing in timed(tmp_path, play)[0]} == {1.0}


def test_every_fold_costs_the_time_of_a_training(tmp_path):
    def play(order):
        for _ in range(EPOCHS):
            if (yield {"val_accuracy": 0.5}):
                break
        return outcome(stopped=True, val_accuracy=0.5, size_mb=0.5)

    def told(name, folds):
        run, settled = runner(tmp_path / name, play, 2), Settled(Space.of(TREE), Goal((ACCURACY,)), "test")
        ready = SimpleNamespace(tree=TREE, runner=run, facts={"folds": folds}, baseline=None, start=0.0)
        return [line.split() for line in cost(ready, settled, Workload.of(ready, settled))]

    (time, _, disk), (times, _, disks) = told("once", 1), told("folds", 5)
    assert (time[5], times[5]) == ("1:41,", "8:25,"), "a training of 100 epochs and its start"
    assert (time[2], times[2]) == ("50:08;", "4:09:40;"), "all trainings"
    assert (disk[1], disks[1]) == ("5.5", "25.5"), "of five seeds of two recipes, and once exported"


def test_one_recipe_that_is_fast_enough_tells_the_time(tmp_path):
    def play(order):
        yield {"val_accuracy": 0.5}
        if order.key.endswith("-0"):
            yield {"val_accuracy": 0.5}
            return outcome(stopped=True, val_accuracy=0.5, size_mb=0.5)
        raise Fails("timeout", "it took longer than 60 s")

    run, settled = runner(tmp_path, play, 2), Settled(Space.of(TREE), Goal((ACCURACY,)), "test")
    ready = SimpleNamespace(tree=TREE, runner=run, facts={"folds": 1}, baseline=None, start=0.0)
    assert next(cost(ready, settled, Workload.of(ready, settled))).endswith("; a training 1:41, by 1 recipe")


def test_a_recipe_that_fails_or_trains_no_two_epochs_tells_nothing(tmp_path):
    def play(order):
        yield {"val_accuracy": 0.5}
        if order.key.endswith("-0"):
            return outcome(val_accuracy=0.5)
        raise Fails("timeout", "it took longer than 60 s")

    assert timed(tmp_path, play)[0] == []


def test_what_is_not_an_epoch_is_the_start():
    result = SimpleNamespace(seconds=12.0, metrics={"size_mb": 0.5})
    assert timing_of(result, [5.0, 7.0, 9.0]) == Timing(12.0 - 3 * 2.0, 2.0, 0.0, 0.5)
