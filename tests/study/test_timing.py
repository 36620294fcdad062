"""The cost of a trial, from short trainings on a clock on which an epoch is a second."""

from types import SimpleNamespace

import pytest
from scripted import FACTS, PLAIN, SPACE, Fails, Quiet, Scripted, composed, outcome

from autoopt.goal import Goal, Objective
from autoopt.space import Space
from autoopt.study.runner import Interrupts, Runner
from autoopt.study.timing import DRAWN, EPOCHS, SECONDS, Timing, timing_of, timings

TREE = composed(*SPACE, *PLAIN, "study.epochs=100")


def timed(tmp_path, play):
    executor = Scripted(play, tmp_path, 2, facts=FACTS)
    runner = Runner(executor, Quiet(), Interrupts("s", print), executor.now, goal=Goal((Objective("val_accuracy", "maximize"),)))
    space = Space.of(TREE).trained()
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
