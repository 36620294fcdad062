import pytest

from autoopt.strategy import Evidence, Halving


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [(1, ()), (2, (1,)), (3, (1, 2)), (4, (2,)), (6, (2, 4)), (10, (4, 8)), (30, (10, 20)), (60, (20, 40)), (100, (34, 68))],
)
def test_rungs(epochs, rungs):
    assert Halving(epochs, "maximize").rungs == rungs


def test_rungs_climb_by_what_is_kept():
    assert Halving(27, "maximize", first=1 / 27, keep=3).rungs == (1, 3, 9)


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


def evidence(*values, epoch=10):
    """Trials that have come to a rung with these values."""
    return [Evidence(number, "running", {}, curve={epoch: value}) for number, value in enumerate(values)]


@pytest.mark.parametrize(("values", "stopped"), ORDERS)
@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_the_better_half_goes_on(values, stopped, direction, sign):
    halving = Halving(30, direction)
    signed = [sign * value for value in values]
    assert [halving.stop(evidence(*signed[: n + 1]), n, 10) for n in range(len(values))] == stopped


def test_values_are_compared_at_the_same_epoch():
    """By epoch, not by position: a trial that was continued, or that lacks an epoch, counts where it was measured."""
    history = [
        Evidence(0, "complete", {}, curve={10: 0.9, 20: 0.1}),
        Evidence(1, "stopped", {}, curve={5: 1.0}),
        Evidence(2, "running", {}, curve={20: 0.5}),
    ]
    assert not Halving(30, "maximize").stop(history, 2, 20), "0.5 is ahead of 0.1, whatever the others had earlier"
    history[2] = Evidence(2, "running", {}, curve={10: 0.5})
    assert Halving(30, "maximize").stop(history, 2, 10)
