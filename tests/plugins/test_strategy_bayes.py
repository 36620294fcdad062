"""The Gaussian process, how recipes are encoded for it, and what `bayes` proposes and believes."""

from itertools import count
from math import log
from random import Random

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import multivariate_normal, norm

from autoopt.domain import Choice, Range
from autoopt.goal import Bound, Goal, Objective
from autoopt.plugins.strategy import gaussian
from autoopt.plugins.strategy.bayes import EXPLORE, Bayes, acquisition, bayes, improvement, probability_of_feasibility, spread
from autoopt.plugins.strategy.encoding import encode, neighbour
from autoopt.plugins.strategy.gaussian import Columns, Kernel, Process, fitted, squared_distances
from autoopt.space import Domain, traced
from autoopt.strategy import Observation, SuccessiveHalving

BEST = Goal((Objective("val_accuracy", "maximize"),))
LEAST = Goal((Objective("val_loss", "minimize"),))


def domain(path, values, scalar=None):
    return Domain(path, values, scalar, values.options[0] if isinstance(values, Choice) else values.low)


class Bowl:
    """A space of a category, of which one option has a rate, a width, and a list of numbers."""

    RATE = domain("kind.a.rate", Range(1e-4, 1.0, log=True), float)

    def walk(self, pick):
        if pick(domain("kind", Choice("a", "b"), str)) == "a":
            pick(self.RATE)
        pick(domain("width", Range(0.0, 1.0), float))
        pick(domain("size", Choice(16, 32, 128), int))


def score(values):
    """Best, 1, with kind a, rate 0.01, width 0.7 and size 32."""
    away = (log(values["kind.a.rate"] / 0.01) / 5) ** 2 if values["kind"] == "a" else 0.7
    return 1 - away - (values["width"] - 0.7) ** 2 - 0.2 * (values["size"] != 32)


def searched(strategy, trials, objective=score, seed=0):
    """The history of a search without rungs."""
    history = []
    for number in range(trials):
        values = strategy.propose(tuple(history), number, seed)
        history.append(Observation(number, "complete", values, (objective(values),), {}))
    return history


class TestGaussianProcess:
    points = np.random.default_rng(0).random((12, 3))
    values = np.sin(5 * points[:, 0]) + points[:, 1]
    kernel = Kernel(np.array([2.0, 0.7]), 1.5, 0.1, np.array([0, 1, 1]))

    @staticmethod
    def distance(points, others):
        return (np.array([2.0, 0.7, 0.7]) * (points[:, None] - others[None]) ** 2).sum(2)

    def test_the_kernel_is_its_formula(self):
        others = self.points[:5] + 0.1
        assert np.allclose(self.kernel(self.points, others), 1.5 * np.exp(-self.distance(self.points, others)))

    def test_mean_and_deviation_are_the_conditional_normals(self):
        new = np.random.default_rng(1).random((4, 3))
        k, kx, kxx = (1.5 * np.exp(-self.distance(a, b)) for a, b in ((self.points, self.points), (new, self.points), (new, new)))
        inverse = np.linalg.inv(k + (0.1 + gaussian.JITTER) * np.eye(12))
        process = Process.given(self.kernel, self.points, self.values)
        assert np.allclose(process.mean(new), kx @ inverse @ self.values)
        assert np.allclose(process.deviation(new) ** 2, np.diag(kxx - kx @ inverse @ kx.T))

    def test_a_process_that_believes_its_mean_expects_the_same_and_is_surer(self):
        process, new = Process.given(self.kernel, self.points, self.values), np.full((1, 3), 0.5)
        believing = process.believing(new)
        assert np.allclose(believing.mean(self.points), process.mean(self.points))
        assert believing.deviation(new)[0] < process.deviation(new)[0]

    def test_the_gradient_is_that_of_the_loss(self, monkeypatch):
        """And the loss is the normal density of the values and of the logarithms of the parameters."""
        seen = {}
        minimize = gaussian.minimize
        monkeypatch.setattr(
            gaussian, "minimize", lambda loss, start, **more: seen.setdefault("loss", loss) and minimize(loss, start, **more)
        )
        fitted(self.points, self.values, Columns(np.array([0, 1, 1]), np.array([False, True])))
        at = np.array([0.3, -1.0, 0.2, -1.5])
        assert check_grad(lambda x: seen["loss"](x)[0], lambda x: seen["loss"](x)[1], at) < 1e-4
        weights = np.exp(at[:2])[[0, 1, 1]]
        distances = (weights * (self.points[:, None] - self.points[None]) ** 2).sum(2)
        covariance = np.exp(at[2]) * np.exp(-distances) + (np.exp(at[3]) + gaussian.JITTER) * np.eye(12)
        priors = [gaussian.NUMBER, gaussian.CATEGORY, gaussian.SCALE, gaussian.NOISE]
        density = multivariate_normal(np.zeros(12), covariance).logpdf(self.values) + 6 * log(2 * np.pi)
        density += sum(-(((x - m) / s) ** 2) / 2 for x, (m, s) in zip(at, priors, strict=True))
        assert seen["loss"](at)[0] == pytest.approx(-density)

    def test_the_fit_finds_which_column_matters_and_how_noisy_the_values_are(self):
        random = np.random.default_rng(0)
        points = random.random((80, 2))
        values = np.sin(6 * points[:, 0])
        values /= values.std()
        columns = Columns(np.array([0, 1]), np.array([False, False]))
        still, noisy = (fitted(points, values + random.normal(0, deviation, 80), columns) for deviation in (0.05, 0.7))
        assert still.weights[0] > 5 * still.weights[1]
        assert still.noise < 0.02 and 0.25 < noisy.noise < 1

    def test_the_improvement_is_the_mean_of_what_is_better(self):
        process, new = Process.given(self.kernel, self.points, self.values), np.full((1, 3), 0.4)
        drawn = norm(process.mean(new)[0], process.deviation(new)[0]).rvs(400_000, random_state=0)
        assert improvement(process, new, 0.5)[0] == pytest.approx(np.maximum(0.5 - drawn, 0).mean(), rel=0.02)


class TestEncoding:
    def test_numbers_lie_on_their_scale_and_options_are_one_apart(self):
        points = [
            traced(Bowl(), lambda d: {"kind": "a", "kind.a.rate": 0.1, "width": 0.25, "size": 32}[d.path]),
            traced(Bowl(), lambda d: {"kind": "b", "width": 1.0, "size": 128}[d.path]),
        ]
        rows, columns = encode(points)
        kind, rate, width, size = (rows[:, columns.owner == place] for place in range(4))
        assert list(columns.category) == [True, False, False, False]
        assert ((kind[0] - kind[1]) ** 2).sum() == pytest.approx(1.0)
        assert rate[:, 0] == pytest.approx([0.75, 0.5]), "kind b has none: it is in the middle"
        assert width[:, 0] == pytest.approx([0.25, 1.0])
        assert size[:, 0] == pytest.approx([log(2) / log(8), 1.0]), "a list of numbers is a scale"

    @pytest.mark.parametrize("options", [("a", "b"), (None, "b"), (False, True)], ids=str)
    def test_two_options_are_one_apart_and_half_as_far_from_a_point_without_them(self, options):
        class Switched:
            def walk(self, pick):
                if pick(domain("kind", Choice("with", "without"), str)) == "with":
                    pick(domain("sampler", Choice(*options)))

        points = [traced(Switched(), lambda d, o=o: {"kind": "with", "sampler": o}[d.path]) for o in options]
        rows, columns = encode([*points, traced(Switched(), lambda d: "without")])
        distances = squared_distances(*[rows[:, columns.owner == 1]] * 2)
        assert distances == pytest.approx(np.array([[0, 1, 0.5], [1, 0, 0.5], [0.5, 0.5, 0]]))

    def test_what_is_the_same_everywhere_is_left_out(self):
        same = [traced(Bowl(), lambda d, w=w: {"kind": "b", "width": w, "size": 16}[d.path]) for w in (0.1, 0.9)]
        rows, columns = encode(same)
        assert rows.shape == (2, 1) and list(columns.category) == [False]

    def test_two_numbers_and_words_and_switches_are_categories(self):
        assert domain("size", Choice(1, 2), int).scale is None
        assert domain("use", Choice(False, True), bool).scale is None
        assert domain("kind", Choice("a", "b", "c"), str).scale is None
        assert domain("size", Choice(1, 2, 3), int).scale.place(2) == pytest.approx(0.5), "of narrow numbers the scale is linear"

    def test_two_points_are_equal_where_their_values_are(self):
        """To Python 1, 1.0 and True are one value, but a space may offer all of them."""

        class Alike:
            def walk(self, pick):
                pick(domain("any", Choice(1, 1.0, True, "1")))

        points = [traced(Alike(), lambda d, v=v: v) for v in (1, 1.0, True, "1", 1)]
        assert {*points} == {*points[:4]} and len({*points}) == 4 and points[0] == points[4]

    def test_a_neighbour_is_a_point_near_by(self):
        values, random = {"kind": "a", "kind.a.rate": 0.01, "width": 0.5, "size": 32}, Random(0)
        near = [neighbour(Bowl(), values, random).values for _ in range(300)]
        assert all(set(v) == {"kind", "width", "size"} | ({"kind.a.rate"} if v["kind"] == "a" else set()) for v in near)
        assert 0.02 < np.mean([v["kind"] == "b" for v in near]) < 0.14, "a category is drawn anew in 15 of 100"
        moved = [v["width"] for v in near if v["width"] != 0.5]
        assert 90 < len(moved) < 150 and 0.1 < np.std(moved) < 0.2 and min(moved) >= 0 and max(moved) <= 1
        assert {v["size"] for v in near} == {16, 32, 128}

    def test_a_range_in_steps_has_neighbours_on_its_steps(self):
        class Steps:
            def walk(self, pick):
                pick(domain("depth", Range(2, 8, step=3), int))
                pick(domain("share", Range(0.0, 1.0, step=0.25), float))

        near = [neighbour(Steps(), {"depth": 5, "share": 0.5}, Random(seed)).values for seed in range(100)]
        assert {v["depth"] for v in near} == {2, 5, 8} and {v["share"] for v in near} <= {0.0, 0.25, 0.5, 0.75, 1.0}


class TestBayes:
    @pytest.mark.slow
    def test_it_finds_the_best_of_a_bowl_and_beats_random(self):
        best = [max(t.scores[0] for t in searched(bayes(Bowl(), BEST, 9), 40, seed=seed)) for seed in range(4)]
        blind = [max(t.scores[0] for t in searched(bayes(Bowl(), BEST, 9, startup=99), 40, seed=seed)) for seed in range(4)]
        assert min(best) > 0.97 and np.mean(best) > 0.98 > np.mean(blind)

    def test_it_tries_nothing_beside_what_it_has_tried(self):
        """Else it trains one recipe again and again, a hair apart."""
        chosen = [t.values for t in searched(bayes(Bowl(), BEST, 9), 40)[10:] if t.number % EXPLORE]
        rows, _ = encode([traced(Bowl(), lambda d, v=v: v[d.path]) for v in chosen])
        assert (squared_distances(rows, rows) + np.eye(len(rows))).min() > 0.04**2

    def test_one_of_five_trials_is_drawn_at_random(self):
        history, strategy = searched(bayes(Bowl(), BEST, 9), 20), bayes(Bowl(), BEST, 9)
        assert strategy.propose(history, 20, 0) == strategy.propose((), 20, 0)
        assert strategy.propose(history, 21, 0) != strategy.propose((), 21, 0)

    def test_a_goal_to_minimise_is_the_same_search(self):
        up, down = searched(bayes(Bowl(), BEST, 9), 20), searched(bayes(Bowl(), LEAST, 9), 20, lambda values: -score(values))
        assert [t.values for t in up] == [t.values for t in down]

    def test_ranks_alone_count(self):
        plain, bent = searched(bayes(Bowl(), BEST, 9), 20), searched(bayes(Bowl(), BEST, 9), 20, lambda values: 5 * score(values) ** 3)
        assert [t.values for t in plain] == [t.values for t in bent]

    def test_nothing_is_proposed_twice_and_a_finite_space_ends(self):
        class Six:
            def walk(self, pick):
                pick(domain("kind", Choice("a", "b"), str))
                pick(domain("size", Choice(16, 32, 128), int))

        strategy, history = bayes(Six(), BEST, 9, startup=2), []
        for number in count():
            if (values := strategy.propose(history, number, 0)) is None:
                break
            if all(values != trial.values for trial in history) or number >= 2:
                history.append(Observation(number, "complete", values, (number / 10,), {}))
        assert len({tuple(trial.values.items()) for trial in history}) == 6

    def test_a_failed_trial_is_worse_than_all_others(self):
        history = searched(bayes(Bowl(), BEST, 9), 20)
        where = [t.values for t in history if t.values["kind"] == "b"]
        failed = [Observation(20 + place, "failed", {**values, "kind": "a", "kind.a.rate": 0.01}) for place, values in enumerate(where)]
        assert bayes(Bowl(), BEST, 9).propose([*history, *failed], 41, 0) != bayes(Bowl(), BEST, 9).propose(history, 41, 0)
        costs = Bayes(Bowl(), BEST, 10, bayes(Bowl(), BEST, 9).halving).first_costs([*history, *failed])
        assert np.isinf(costs[20:]).all() and np.isfinite(costs[:20]).all()

    def test_a_stopped_trial_counts_as_its_end_is_expected(self):
        strategy = bayes(Bowl(), BEST, 9)
        values = searched(strategy, 1)[0].values
        complete = [Observation(number, "complete", values, (0.5 + gain,), {1: 0.5}) for number, gain in enumerate((0.1, 0.2, 0.4))]
        stopped = Observation(3, "stopped", values, (), {1: 0.3})
        assert strategy.first_costs([*complete, stopped])[3] == pytest.approx(-0.5), "by the median gain after epoch 1"
        assert strategy.first_costs([*complete[:2], stopped])[2] == pytest.approx(-0.3), "two show too little"
        falling = [Observation(number, "complete", values, (0.4,), {1: 0.5}) for number in range(3)]
        assert strategy.first_costs([*falling, stopped])[3] == pytest.approx(-0.3), "it is not made worse than it was"

    def test_a_running_trial_is_not_proposed_again_nor_anything_beside_it(self):
        history = searched(bayes(Bowl(), BEST, 9), 20)
        first = bayes(Bowl(), BEST, 9).propose(history, 21, 0)
        second = bayes(Bowl(), BEST, 9).propose([*history, Observation(20, "running", first)], 21, 0)
        assert second != first

    def test_a_running_trial_that_has_passed_a_rung_counts_as_one_that_was_stopped_there(self):
        strategy, history = bayes(Bowl(), BEST, 9), searched(bayes(Bowl(), BEST, 9), 20)
        values = strategy.propose(history, 21, 0)

        def then(state, curve):
            return strategy.propose([*history, Observation(20, state, values, (), curve)], 21, 0)

        assert strategy.rungs == (1, 3)
        bad = then("running", {1: -9.0, 2: 9.0})
        assert bad == then("stopped", {1: -9.0}) != then("running", {}) == then("running", {2: -9.0})

    def test_the_ranking_believes_many_similar_trials_more_than_a_lucky_one(self):
        random = Random(1)
        values = [{"kind": "b", "width": 0.02 * place, "size": 32} for place in range(50)]
        history = [Observation(n, "complete", v, (v["width"] + random.gauss(0, 0.05),), {}) for n, v in enumerate(values)]
        history[10] = Observation(10, "complete", values[10], (1.1,), {})
        ranking = bayes(Bowl(), BEST, 9).ranking(history)
        assert sorted(ranking) == list(range(50)) and ranking[0] > 40
        assert bayes(Bowl(), BEST, 9).ranking(history[:2]) == (), "too few to know better"
        assert bayes(Bowl(), Goal((*BEST.objectives, *LEAST.objectives)), 9).ranking(history) == ()

    @pytest.mark.slow
    def test_two_objectives_are_weighed_at_random(self):
        both = Goal((Objective("val_accuracy", "maximize"), Objective("latency_ms", "minimize")))
        strategy, history = bayes(Bowl(), both, 9), []
        for number in range(60):
            values = strategy.propose(history, number, 0)
            history.append(Observation(number, "complete", values, (score(values), values["width"]), {}))
        late = [trial.values["width"] for trial in history[15:]]
        assert min(late) < 0.1 and any(0.6 < width < 0.8 for width in late), "it goes to both ends"

    def test_of_thousands_of_trials_the_best_and_some_of_the_others_are_used(self):
        costs = np.random.default_rng(0).random(5000)
        chosen = spread(costs, 300)
        assert len({*chosen}) == 300 and list(chosen) == sorted(chosen)
        assert {*np.argsort(costs)[:150]} <= {*chosen} and costs[chosen].max() == costs.max()
        assert list(spread(costs[:300], 300)) == list(range(300))


class TestBounds:
    """The best of the bowl has a width of .7, but a width above .5 misses the bound."""

    @staticmethod
    def bounded(seed, bound=0.5):
        strategy, history = Bayes(Bowl(), BEST, 10, SuccessiveHalving((), "maximize", 3)), []
        for number in range(40):
            values = strategy.propose(tuple(history), number, seed)
            violation = max(0.0, values["width"] / bound - 1)
            history.append(Observation(number, "complete", values, (score(values),), {}, violation))
        return history

    @pytest.mark.slow
    def test_the_best_within_them_is_found(self):
        found = [max(t.scores[0] for t in self.bounded(seed) if not t.violation) for seed in range(3)]
        assert min(found) > 0.95 - 0.03, "the best with a width of .5 has 1 - .2² = .96"

    @pytest.mark.slow
    def test_fewer_proposals_miss_them_than_at_random(self):
        """At random nine of ten do; the best lies on the bound, beside which a proposal may well miss it."""
        proposed = [t for seed in range(3) for t in self.bounded(seed, 0.1)[10:] if t.number % EXPLORE]
        assert sum(t.violation > 0 for t in proposed) < 0.7 * len(proposed)

    def test_the_chance_falls_with_how_near_to_those_that_miss_them(self):
        given = np.linspace(0.0, 1.0, 11)[:, None]
        columns = Columns(np.array([0]), np.array([False]))
        kept, edge, missed = probability_of_feasibility(
            given, np.maximum(given[:, 0] - 0.5, 0.0), columns, np.array([[0.15], [0.53], [0.95]])
        )
        assert kept > 0.95 and 0.2 < edge < 0.8 and missed < 0.05

    def test_where_none_keeps_them_the_chance_alone_counts(self):
        given, new = np.linspace(0.4, 1.0, 7)[:, None], np.array([[0.1], [0.45], [0.95]])
        columns, missed = Columns(np.array([0]), np.array([False])), given[:, 0] - 0.3
        none = np.empty((0, 1))
        worth = acquisition(given, -given[:, 0], missed, columns, none, new)
        assert list(worth) == list(probability_of_feasibility(given, missed, columns, new)) and worth[0] > worth[2]

    def test_whether_a_stopped_trial_keeps_them_is_unknown(self):
        bounded = Goal(BEST.objectives, (Bound(Objective("latency_ms", "minimize"), 2.0),))
        trials = [
            Observation(0, "complete", {}, (0.5,), {}, 0.0),
            Observation(1, "complete", {}, (0.9,), {}, 0.3),
            Observation(2, "stopped", {}, (), {1: 0.4}),
        ]
        of = [Bayes(Bowl(), goal, 10, SuccessiveHalving((), "maximize", 3)).violations(trials) for goal in (bounded, BEST)]
        assert list(of[0][:2]) == [0.0, 0.3] and np.isnan(of[0][2]) and list(of[1]) == [0.0, 0.3, 0.0]

        given, new = np.linspace(0.0, 1.0, 5)[:, None], np.array([[0.2], [0.8]])
        columns, none = Columns(np.array([0]), np.array([False])), np.empty((0, 1))
        stopped = np.full(5, np.nan)
        assert acquisition(given, given[:, 0], stopped, columns, none, new) == pytest.approx(
            acquisition(given, given[:, 0], np.zeros(5), columns, none, new)
        )

    def test_what_misses_them_ranks_last(self):
        history = self.bounded(0)
        missed = [trial.number for trial in history if trial.violation]
        ranking = Bayes(Bowl(), BEST, 10, SuccessiveHalving((), "maximize", 3)).ranking(history)
        assert set(ranking[-len(missed) :]) == set(missed) and 0 < len(missed) < len(ranking) == len(history)


def test_without_a_startup_it_draws_until_a_trial_of_the_space_has_ended():
    outside = Observation(0, "complete", {}, (0.5,), {1: 0.5})
    assert bayes(Bowl(), BEST, 9, startup=0).propose([outside], 1, 0)
