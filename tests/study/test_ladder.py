import pytest
from scripted import ACCURACY, LOSS

from autoopt.study.ladder import Ladder


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [(1, []), (2, [1]), (3, [1, 2]), (4, [2]), (6, [2, 4]), (10, [4, 8]), (30, [10, 20]), (60, [20, 40]), (100, [34, 68])],
)
def test_rungs(epochs, rungs):
    assert Ladder(epochs, ACCURACY).rungs == rungs


def test_rungs_climb_by_what_is_kept():
    assert Ladder(27, ACCURACY, first=1 / 27, keep=3).rungs == [1, 3, 9]


def test_one_epoch_stops_nothing():
    ladder = Ladder(1, ACCURACY)
    assert not any(ladder.stop(n, 1, value) for n, value in enumerate([0.9, 0.1, 0.0]))


ORDERS = [
    # values at the rung, in the order of arrival, and who is stopped there
    ([0.5], [False]),
    ([0.5, 0.4], [False, True]),
    ([0.5, 0.6], [False, False]),
    ([0.5, 0.5, 0.5, 0.5], [False] * 4),  # ties go on
    ([0.5, 0.6, 0.5, 0.7], [False] * 4),
    ([0.5, 0.6, 0.4, 0.7], [False, False, True, False]),
    # of seven the best four go on, of nine the best five
    ([0.1, 0.2, 0.3, 0.4, 0.6, 0.5, 0.35], [False] * 7),
    ([0.1, 0.2, 0.3, 0.4, 0.6, 0.5, 0.25], [False] * 6 + [True]),
    ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.45], [False] * 9),
    ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.35], [False] * 8 + [True]),
]


@pytest.mark.parametrize(("values", "stopped"), ORDERS)
@pytest.mark.parametrize("objective", [ACCURACY, LOSS], ids=["maximize", "minimize"])
def test_decisions(values, stopped, objective):
    ladder = Ladder(30, objective)
    assert [ladder.stop(n, 10, objective.sign * value) for n, value in enumerate(values)] == stopped


def test_only_rungs_stop():
    ladder = Ladder(30, ACCURACY)
    ladder.stop(0, 10, 0.9)
    assert [ladder.stop(1, epoch, 0.0) for epoch in (1, 9, 11, 29, 30)] == [False] * 5
    assert ladder.stop(1, 10, 0.0)


def test_a_trial_that_runs_again_is_not_held_against_itself():
    ladder = Ladder(3, ACCURACY)
    assert not ladder.stop(0, 1, 0.5)
    assert not ladder.stop(0, 1, 0.4)
    assert not ladder.stop(1, 1, 0.45), "only the last value of trial 0 counts"


@pytest.mark.parametrize("cut", range(9))
def test_remembering_gives_the_same_decisions(cut):
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.35]
    whole, second = Ladder(6, ACCURACY), Ladder(6, ACCURACY)
    decisions = [whole.stop(n, 2, value) for n, value in enumerate(values)]
    for number, value in enumerate(values[:cut]):  # a stopped trial has two epochs, one that failed early has one
        second.remember(number, [0.0, value] if decisions[number] else [0.0, value, 0.9, 0.9, 0.9, 0.9])
    second.remember(99, [1.0])
    assert [second.stop(n, 2, value) for n, value in enumerate(values) if n >= cut] == decisions[cut:]
