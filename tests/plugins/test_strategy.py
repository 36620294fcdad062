"""What the strategies propose."""

import pytest

from autoopt.config import compose
from autoopt.domain import Choice, Range, Unavailable
from autoopt.errors import BadInput
from autoopt.goal import Goal, Objective
from autoopt.plugins.strategy.grid import grid
from autoopt.plugins.strategy.one_epoch import one_epoch
from autoopt.plugins.strategy.optuna import optuna
from autoopt.plugins.strategy.random import random
from autoopt.plugins.strategy.tpe import tpe
from autoopt.space import Domain, Space
from autoopt.strategy import AtRandom, Observation
from autoopt.testing.strategy import check_point

SPACE = Space.of(compose(["data=digits", "model=linear", "optimizer=nesterov", "schedule=constant,cosine", "augmentation=mixup,translate"]))
BEST = Goal((Objective("val_accuracy", "maximize"),))
LR = "optimizer.nesterov.lr"


def domain(path, values, scalar=None):
    return Domain(path, values, scalar, values.options[0] if isinstance(values, Choice) else values.low)


class Asked:
    """A space of some questions, one of them of the answer to another."""

    def walk(self, pick):
        if pick(domain("kind", Choice("a", "b", None))) == "a":
            pick(domain("rate", Range(1e-4, 1.0, log=True), float))
        pick(domain("width", Range(1, 100, log=True), int))
        pick(domain("share", Range(0.0, 1.0, step=0.25), float))
        pick(domain("depth", Range(2, 8, step=3), int))
        pick(domain("drop", Range(-1.0, 1.0), float))
        pick(domain("count", Range(1, 3), int))


def drawn(seed=0, count=4000):
    strategy = random(Asked(), BEST, 9)
    return [strategy.propose((), number, seed) for number in range(count)]


def test_random_draws_every_value_of_a_domain():
    rows = drawn()
    assert {row["kind"] for row in rows} == {"a", "b", None}
    assert {row["share"] for row in rows} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {row["depth"] for row in rows} == {2, 5, 8} and {row["count"] for row in rows} == {1, 2, 3}
    assert {row["width"] for row in rows} >= {1, 2, 3, 99, 100}
    assert all(-1 <= row["drop"] <= 1 for row in rows) and all(("rate" in row) == (row["kind"] == "a") for row in rows)


@pytest.mark.parametrize(
    ("name", "middle"),
    [("rate", 1e-2), ("width", 7), ("drop", 0.0)],
)
def test_random_draws_as_often_above_the_middle_as_below(name, middle):
    values = [row[name] for row in drawn() if name in row]
    assert abs(sum(v > middle for v in values) + sum(v == middle for v in values) / 2 - len(values) / 2) < 3 * len(values) ** 0.5 / 2


def test_random_depends_on_the_number_and_the_seed_alone():
    strategy = random(SPACE, BEST, 9, rungs=0)
    first = [strategy.propose((), number, 3) for number in range(5)]
    assert len({repr(values) for values in first}) == 5
    history = [Observation(0, "complete", first[0], (0.5,))]
    assert [strategy.propose(history, number, 3) for number in reversed(range(5))] == first[::-1]
    assert strategy.propose((), 0, 4) != first[0] and strategy.rungs == () and not AtRandom(SPACE).stop((), 0, 0)


def test_random_integers_at_the_ends_are_as_likely_as_the_scale_says():
    """On a logarithmic scale from 1 to 100 with half a step on both sides: log(1.5 / 0.5) of log(100.5 / 0.5)."""
    ones = sum(row["width"] == 1 for row in drawn()) / 4000
    assert 0.18 < ones < 0.235


def complete(number, values, score):
    return Observation(number, "complete", values, (score,))


def told(count, score, state="complete"):
    """Random trials with what they came to."""
    rows = [random(SPACE, BEST, 9, rungs=0).propose((), number, 7) for number in range(count)]
    return [Observation(n, state, v, (score(v),) if state == "complete" else (), {0: score(v)}) for n, v in enumerate(rows)]


@pytest.mark.slow
def test_tpe_draws_near_what_was_good():
    history = told(60, lambda values: -abs(values[LR] - 0.01))
    ours = [tpe(SPACE, BEST, 9).propose(history, number, 0)[LR] for number in range(60, 80)]
    theirs = [values.values[LR] for values in told(20, lambda values: 0.0)]
    assert sorted(abs(lr - 0.01) for lr in ours)[10] < sorted(abs(lr - 0.01) for lr in theirs)[10] / 2


@pytest.mark.slow
def test_tpe_follows_the_direction():
    history = told(60, lambda values: values[LR])
    up, down = ([tpe(SPACE, Goal((Objective("x", d),)), 9).propose(history, n, 0)[LR] for n in range(10)] for d in ("maximize", "minimize"))
    assert min(up) > max(down)


def test_tpe_is_random_before_its_startup_is_over():
    history = told(12, lambda values: values[LR])
    first = tpe(SPACE, BEST, 9, startup=20).propose(history, 12, 0)
    assert first == tpe(SPACE, BEST, 9, startup=20).propose(told(12, lambda values: -values[LR]), 12, 0)
    assert first != tpe(SPACE, BEST, 9, startup=5).propose(history, 12, 0)


def test_tpe_learns_from_what_was_stopped_and_what_failed():
    good = told(30, lambda values: values[LR])
    for state in ("stopped", "failed"):
        more = [Observation(30 + trial.number, state, trial.values, (), {0: -1.0} if state == "stopped" else {}) for trial in good]
        assert tpe(SPACE, BEST, 9).propose([*good, *more], 60, 0) != tpe(SPACE, BEST, 9).propose(good, 60, 0)


def test_tpe_passes_over_what_runs_and_what_is_no_point_of_the_space():
    history = told(30, lambda values: values[LR])
    strategy = tpe(SPACE, BEST, 9)
    expected = strategy.propose(history, 60, 0)
    strange = [
        Observation(30, "running", history[0].values),
        complete(31, {}, 99.0),
        complete(32, {**history[0].values, LR: -5.0}, 99.0),
        complete(33, {name: value for name, value in history[0].values.items() if name != LR}, 99.0),
    ]
    assert strategy.propose([*history, *strange], 60, 0) == expected


def test_a_value_that_is_off_its_steps_is_no_point():
    class Steps:
        def walk(self, pick):
            pick(domain("share", Range(0.0, 1.0, step=0.25), float))

    with pytest.raises(AssertionError, match=r"share=0.3: expected interval\(0.0, 1.0\) in steps of 0.25"):
        check_point(Steps(), {"share": 0.3})
    with pytest.raises(AssertionError, match="share=1, expected float"):
        check_point(Steps(), {"share": 1})
    with pytest.raises(AssertionError, match="the space has no other"):
        check_point(Steps(), {"share": 0.5, "other": 1})
    with pytest.raises(AssertionError, match="it proposes no share, but: nothing"):
        check_point(Steps(), {})
    check_point(Steps(), AtRandom(Steps()).propose((), 0, 0))


def rung(*values):
    """Trials that have come to epoch 3 with these values."""
    return [Observation(number, "running", {}, curve={3: value}) for number, value in enumerate(values)]


def test_tpe_stops_bad_trials_at_its_rungs():
    strategy = tpe(SPACE, BEST, 9)
    assert strategy.rungs == (1, 3) and tpe(SPACE, BEST, 9, rungs=0).rungs == ()
    assert strategy.stop(rung(0.5, 0.4), 1, 3) and not strategy.stop(rung(0.5, 0.6), 1, 3)


def test_tpe_proposes_the_same_whether_trials_ended_in_order_or_not():
    """Of several workers a later trial may end first; a resumed search sees them by number."""
    history = told(30, lambda values: values[LR])
    late = [Observation(20, "running", history[20].values) if trial.number == 20 else trial for trial in history]
    strategy = tpe(SPACE, BEST, 9)
    strategy.propose(late, 30, 0)
    assert strategy.propose(history, 31, 0) == tpe(SPACE, BEST, 9).propose(history, 31, 0)


def test_tpe_remembers_no_other_history():
    strategy = tpe(SPACE, BEST, 9)
    strategy.propose(told(30, lambda values: -values[LR]), 30, 0)
    history = told(20, lambda values: values[LR])
    assert strategy.propose(history, 20, 0) == tpe(SPACE, BEST, 9).propose(history, 20, 0)


class Finite:
    """Of kind a there are two rates, of kind b none; and three depths."""

    def domains(self):
        return []

    def walk(self, pick):
        if pick(domain("kind", Choice("a", "b"), str)) == "a":
            pick(domain("rate", Choice(0.1, 0.2), float))
        pick(domain("depth", Range(2, 8, step=3), int))


def test_grid_tries_every_recipe_once_and_ends():
    strategy, history = grid(Finite()), []
    while (values := strategy.propose(history, len(history), 0)) is not None:
        history.append(complete(len(history), values, 0.5))
    tried = [tuple(trial.values.values()) for trial in history]
    assert tried == [("a", r, d) for r in (0.1, 0.2) for d in (2, 5, 8)] + [("b", d) for d in (2, 5, 8)]
    assert strategy.propose(history[:3] + history[4:], 8, 0) == history[3].values, "what the machine ended is tried again"


def test_grid_goes_through_steps_and_refuses_a_range_without_them():
    class Steps:
        def domains(self):
            return [domain("share", Range(0.0, 1.0, step=0.25), float)]

        def walk(self, pick):
            pick(*self.domains())

    assert [values["share"] for values in grid(Steps()).points()] == [0.0, 0.25, 0.5, 0.75, 1.0]
    with pytest.raises(Unavailable, match=r"but augmentation.mixup.alpha=.*, schedule.cosine.final=.* are ranges; .*mixup.alpha=\[...\]$"):
        grid(SPACE)


def test_one_epoch_lets_the_best_of_ten_go_on():
    strategy = one_epoch(SPACE, BEST, 9)
    values = [place / 100 for place in range(20)]
    history = [Observation(number, "running", {}, curve={1: value}) for number, value in enumerate(values)]
    assert strategy.rungs == (1,) and one_epoch(SPACE, BEST, 1).rungs == ()
    assert [number for number in range(20) if not strategy.stop(history, number, 1)] == [18, 19]


def test_optuna_asks_any_sampler():
    history = told(12, lambda values: -values[LR])
    proposed = {
        name: optuna(SPACE, BEST, 9, sampler=f"optuna.samplers:{name}").propose(history, 12, 0) for name in ("TPESampler", "RandomSampler")
    }
    assert proposed["TPESampler"] == tpe(SPACE, BEST, 9).propose(history, 12, 0) != proposed["RandomSampler"]
    for values in proposed.values():
        check_point(SPACE, values)


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        (
            "NSGAIISampler",
            "NSGAIISampler keeps a state beside the trials, which a resumed search would not have; give optuna.samplers:TPES",
        ),
        ("CmaEsSampler", "CmaEsSampler keeps a state"),
        ("QMCSampler", "QMCSampler keeps a state"),
        ("BruteForceSampler", "BruteForceSampler keeps a state"),
        ("GridSampler", "it needs search_space; name a class of your own"),
        ("PartialFixedSampler", "it needs fixed_params, base_sampler; name a class of your own"),
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_refuses_what_cannot_learn_from_the_history_before_the_search(sampler, said):
    with pytest.raises(BadInput, match=rf"^strategy\.optuna\.sampler=optuna\.samplers:{sampler}: {said}"):
        optuna(SPACE, BEST, 9, sampler=f"optuna.samplers:{sampler}")


@pytest.mark.parametrize("path", ["optuna.samplers:Nothing", "nowhere:TPESampler", "optuna.samplers", "optuna.trial:Trial"])
def test_optuna_refuses_what_is_no_sampler(path):
    with pytest.raises(BadInput, match=f"strategy.optuna.sampler={path}: .*optuna.samplers:GPSampler"):
        optuna(SPACE, BEST, 9, sampler=path)
