import pytest

from autoopt.strategy import ENOUGH, Observation, SuccessiveHalving, rung_correlation, rung_epochs


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [(1, []), (2, [1]), (3, [1]), (4, [1, 2]), (6, [1, 2]), (10, [2, 4]), (18, [2, 6]), (30, [4, 10]), (100, [12, 34])],
)
def test_rungs_are_at_a_third_and_a_ninth(epochs, rungs):
    assert rung_epochs(epochs, 2, 3) == rungs


def test_rungs_by_count_and_reduction():
    assert rung_epochs(27, 0, 3) == [] and rung_epochs(27, 3, 3) == [1, 3, 9] and rung_epochs(16, 2, 4) == [1, 4]
    assert rung_epochs(4, 5, 3) == [1, 2], "no rung stands twice"


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
    return [Observation(number, "running", {}, curve={epoch: value}) for number, value in enumerate(values)]


@pytest.mark.parametrize(("values", "stopped"), ORDERS)
@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_the_better_half_goes_on(values, stopped, direction, sign):
    halving = SuccessiveHalving((10,), direction, 2)
    signed = [sign * value for value in values]
    assert [halving.stop(evidence(*signed[: n + 1]), n, 10) for n in range(len(values))] == stopped


def test_one_of_three_goes_on():
    halving = SuccessiveHalving((10,), "maximize", 3)
    assert not halving.stop(evidence(0.9, 0.8, 0.1, 0.2, 0.3, 0.85), 5, 10), "the second of six"
    assert halving.stop(evidence(0.9, 0.8, 0.1, 0.2, 0.3, 0.75), 5, 10), "the third"


def test_values_are_compared_at_the_same_epoch():
    """By epoch, not by position: a trial that was continued, or that lacks an epoch, counts where it was measured."""
    history = [
        Observation(0, "complete", {}, (0.1,), curve={10: 0.9, 20: 0.1}),
        Observation(1, "stopped", {}, curve={5: 1.0}),
        Observation(2, "running", {}, curve={20: 0.5}),
    ]
    halving = SuccessiveHalving((10, 20), "maximize", 2)
    assert not halving.stop(history, 2, 20), "0.5 is ahead of 0.1, whatever the others had earlier"
    history[2] = Observation(2, "running", {}, curve={10: 0.5})
    assert halving.stop(history, 2, 10)


def finished(*pairs):
    """Complete trials by their value at epoch 3 and their score."""
    return [Observation(number, "complete", {}, (score,), {3: early, 9: score}) for number, (early, score) in enumerate(pairs)]


def test_what_a_rung_foretells_is_spearmans_correlation():
    from scipy.stats import spearmanr

    pairs = [(0.1, 0.3), (0.2, 0.2), (0.2, 0.9), (0.4, 0.4), (0.5, 0.8), (0.6, 0.6), (0.7, 0.6), (0.8, 1.0)]
    assert rung_correlation(finished(*pairs), 3) == pytest.approx(spearmanr(*zip(*pairs, strict=True)).statistic)
    assert rung_correlation(finished(*pairs[1:]), 3) is None, f"fewer than {ENOUGH} show nothing"
    assert rung_correlation(finished(*pairs), 4) is None, "nobody was measured there"
    assert rung_correlation(finished(*[(0.5, score) for _, score in pairs]), 3) == 0.0, "equal values foretell nothing"


def test_a_rung_that_does_not_foretell_the_end_stops_nothing():
    halving, low = SuccessiveHalving((3,), "maximize", 3), Observation(8, "running", {}, curve={3: 0.0})
    rising = [(place / 10, place / 10) for place in range(1, 9)]
    assert halving.stop([*finished(*rising), low], 8, 3)
    assert not halving.stop([*finished(*[(early, -score) for early, score in rising]), low], 8, 3)


def stopped_at(rung, **values):
    """Trials that a rung stopped or let go on, by their state and number, with their values at it."""
    named = ((*name.split("_"), value) for name, value in values.items())
    return [Observation(int(number), state, {}, curve={rung: value}) for state, number, value in named]


def test_a_stopped_trial_is_continued_once_it_is_among_the_best():
    halving = SuccessiveHalving((2, 4), "maximize", 3)
    history = stopped_at(2, complete_0=0.5, stopped_1=0.6)
    assert halving.promote(history, {1}) is None, "of two none is in the best third"
    history += stopped_at(2, stopped_2=0.1)
    assert halving.promote(history, {1, 2}) == 1
    assert halving.promote(history, {2}) is None, "the best has no checkpoint"
    assert SuccessiveHalving((2, 4), "minimize", 3).promote(history, {1, 2}) == 2
    later = stopped_at(4, stopped_3=0.3, stopped_4=0.2, stopped_5=0.1)
    assert halving.promote([*history, *later], {1, 2, 3, 4, 5}) == 3, "at the last rung first"
    assert halving.promote([*history, *later], {1, 2, 4, 5}) == 1, "the best at the last rung has no checkpoint"
    assert halving.promote([Observation(1, "stopped", {}, curve={2: 0.6, 4: 0.1}), *history[::2]], {1, 2}) is None, "it was stopped later"
    assert halving.promote([], ()) is None
