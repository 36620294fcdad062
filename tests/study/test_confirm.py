from dataclasses import replace
from random import Random

import pytest
from scripted import ACCURACY, LOSS, Fails, closed, outcome, record, space, studied

from autoopt.analysis.candidate import Candidate
from autoopt.errors import NotConcluded
from autoopt.goal import Bound, Goal, Objective
from autoopt.orders import Measure
from autoopt.records.stages import CONFIRM, FINAL
from autoopt.store import Store
from autoopt.study.budget import Budget
from autoopt.study.confirm import (
    Plan,
    candidates,
    fresh_seeds,
    measure_candidates,
    planned,
    race,
    race_trainings,
    replicate,
    room_left,
    share_of,
)

RECIPE = space().baseline()


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_an_eighth_of_the_search_and_the_final_comparison(seeds):
    for trials in range(1, 301):
        plan = planned(share_of(trials, seeds), seeds, 5)
        assert plan.final == seeds, "the final comparison is never cut short where there is time"
        assert plan.trainings <= trials / 8 + 2 * seeds
        assert 1 <= plan.candidates <= 5


@pytest.mark.parametrize(
    ("trials", "seeds", "most", "plan"),
    [
        (12, 3, 5, Plan(1, 3)),
        (16, 3, 5, Plan(2, 3)),
        (47, 5, 5, Plan(3, 5)),
        (50, 5, 5, Plan(4, 5)),
        (100, 5, 5, Plan(5, 5)),
        (200, 3, 2, Plan(2, 3)),
        (200, 3, 9, Plan(9, 3)),
    ],
)
def test_plans(trials, seeds, most, plan):
    assert planned(share_of(trials, seeds), seeds, most) == plan


@pytest.mark.parametrize(
    ("room", "plan"),
    [
        (16, Plan(5, 3)),
        (11, Plan(3, 3)),
        (8, Plan(2, 3)),
        (7, Plan(1, 3)),
        (6, Plan(1, 3)),
        (5, Plan(1, 2)),
        (3, Plan(1, 1)),
        (0, Plan(1, 1)),
    ],
)
def test_little_time_leaves_fewer_candidates_then_fewer_seeds(room, plan):
    assert planned(room, 3, 5) == plan


def test_the_trainings_of_a_plan_are_all_of_them():
    assert Plan(1, 5).trainings == 2 * 5
    assert Plan(5, 3).trainings == (5 + 3 + 2) + 2 * 3


class TestRace:
    """By scores of each recipe on each seed."""

    def raced(self, scores, objective=ACCURACY):
        self.trained = []

        def train(recipes, seeds):
            self.trained += [(key, seeds) for key in recipes]
            sound = {key: scores[key][:seeds] for key in recipes if None not in scores[key][:seeds]}
            return [Candidate(key, RECIPE, [record(key, score) for score in row]) for key, row in sound.items()]

        return [c.key for c in race(dict.fromkeys(scores, RECIPE), train, Goal((objective,)))]

    def test_in_each_round_the_better_half_goes_on_with_one_more_seed(self):
        scores = {"1": [0.9, 0.1, 0.1], "2": [0.8, 0.7, 0.9], "3": [0.7, 0.9, 0.6], "4": [0.6], "5": [0.5]}
        assert self.raced(scores) == ["2", "3", "1", "4", "5"], "the means of all seeds count: .8 against .73"
        assert self.trained == [*((key, 1) for key in "12345"), *((key, 2) for key in "123"), ("3", 3), ("2", 3)]
        assert len(self.trained) == race_trainings(5)

    def test_less_is_better_where_the_goal_says_so(self):
        assert self.raced({"1": [0.9], "2": [0.8]}, LOSS) == ["2", "1"]

    def test_what_keeps_the_bounds_is_ahead(self):
        """The faster recipe misses the bound on the fresh seed."""

        def train(recipes, seeds):
            scores = {"1": (0.9, 3.0), "2": (0.8, 1.0), "3": (0.7, 1.0)}
            return [
                Candidate(key, RECIPE, [record(key, scores[key][0], metrics={"latency_ms": scores[key][1]})] * seeds) for key in recipes
            ]

        goal = Goal((ACCURACY,), (Bound(Objective("latency_ms", "minimize"), 2.0),))
        assert [c.key for c in race(dict.fromkeys("123", RECIPE), train, goal)] == ["2", "3", "1"]

    def test_a_recipe_that_fails_is_out(self):
        assert self.raced({"1": [0.9, None], "2": [0.8, 0.8], "3": [None], "4": [0.5]}) == ["2", "4"]
        assert self.raced({"1": [None], "2": [None]}) == []

    def test_one_recipe_wins_without_a_training(self):
        assert self.raced({"7": []}) == ["7"] and not self.trained
        assert self.raced({}) == []

    def test_finds_the_best_of_equal_looking_recipes_more_often_than_chance(self):
        """Five recipes 1 apart from each other under noise of 1, one race each; each place by chance is one in five."""
        random = Random(0)
        winners = [self.raced({str(n): [random.gauss(n, 1) for _ in range(3)] for n in range(5)})[0] for _ in range(400)]
        assert winners.count("4") / 400 > 0.65


def budget(left):
    return Budget(left, lambda: 0.0, 0.0, spent=0.0, compressing=False, asking=True)


@pytest.mark.parametrize(
    ("seconds", "left", "workers", "room"), [([10.0, 30.0, 20.0], 100.0, 1, 5), ([10.0], 100.0, 4, 40), ([10.0], -5.0, 4, 0)]
)
def test_the_room_that_time_leaves(seconds, left, workers, room):
    """The median of the whole trainings counts."""
    searched = [record(str(n), 0.5, seconds=s) for n, s in enumerate(seconds)] + [record("9", 0.1, "stopped", seconds=1.0)]
    assert room_left(FINAL, searched, budget(left), workers) == room


def test_without_a_limit_or_a_training_there_is_room_for_all():
    searched = [record("0", 0.5, seconds=2.0)]
    assert room_left(FINAL, searched, budget(float("inf")), 1) == float("inf")
    assert room_left(FINAL, [], budget(100.0), 1) == float("inf")


def trial(key, score, state="complete", size=1.0, like=None):
    """A trial with a recipe of its own, or with that of another one."""
    return record(key, score, state, recipe=RECIPE.replace(batches={"size": int(like or key)}), metrics={"size_mb": size})


def picked(trials, most, objective=ACCURACY):
    return [r.key for r in candidates(trials, Goal((objective,)), most)]


def test_candidates_are_the_best_but_the_baseline():
    trials = [trial("0", 0.95), trial("1", 0.9), trial("2", 0.5), trial("3", 0.99, "stopped"), trial("4", None, "failed"), trial("5", 0.7)]
    assert picked(trials, 2) == ["1", "5"]
    assert picked(trials, 2, LOSS) == ["2", "5"]
    assert picked(trials, 9) == ["1", "5", "2"]
    assert picked(trials[:1], 9) == []


def test_where_no_other_trial_is_complete_those_that_came_farthest():
    stopped = [replace(trial(key, score, "stopped"), epochs=epochs) for key, score, epochs in (("1", 0.9, 1), ("2", 0.5, 3), ("3", 0.6, 3))]
    assert picked([trial("0", 0.95), *stopped, trial("4", None, "failed")], 2) == ["3", "2"]
    assert picked([trial("0", 0.95), *stopped], 1, LOSS) == ["2"]
    assert picked([trial("0", 0.95), *stopped, trial("5", 0.1)], 2) == ["5"]


def test_of_equals_the_smaller():
    assert picked([trial("0", 0.1), trial("1", 0.9, size=2.0), trial("2", 0.9, size=1.0)], 1) == ["2"]


def test_each_recipe_is_taken_once():
    """TPE draws the same one again where it is good; that would only divide the seeds."""
    trials = [trial("0", 0.5), trial("1", 0.9), trial("2", 0.95, like="1"), trial("3", 0.99, like="0"), trial("4", 0.7)]
    assert picked(trials, 2) == ["2", "4"], "nor does the baseline's recipe come again as a candidate"


class Replicated:
    """Replication by script: the score of a training is looked up by its key, or by its trial's."""

    def __init__(self, path, scores=None, reason="nonfinite"):
        self.path, self.scores, self.trained, self.reason = path / "s", scores or {}, [], reason

    def play(self, order):
        self.trained.append(order.key)
        score = self.scores.get(order.key, self.scores.get(order.key.split("-")[0], 0.5))
        yield {"val_accuracy": 0.0}
        if score is None:
            raise Fails(self.reason, "gone")
        if getattr(order, "keep", False):
            with Store(self.path).writing(order.key) as weights:
                weights.write_text(order.key)
        return outcome(**{"test_accuracy" if isinstance(order, Measure) else "val_accuracy": score})

    def open(self, **how):
        self.trained.clear()
        return studied(self.path, self.play, **how)

    def run(self, keys="01", seeds=2, stage=FINAL, keep=True, least=1, **how):
        study = self.open(**how)
        recipes = {key: RECIPE.replace(batches={"size": int(key)}) for key in keys}
        fresh = fresh_seeds(7, stage, seeds)
        try:
            result = replicate(study.runner, study.journal, stage, recipes, fresh, budget=study.budget, keep=keep, least=least)
        finally:
            closed(study)
        self.orders, self.stages = study.runner.executor.orders, study.runner.screen.stages
        return result


def keys(candidates):
    return {c.key: [r.key for r in c.records] for c in candidates}


def test_fresh_seeds_one_after_the_other(tmp_path):
    study = Replicated(tmp_path, {"0": 0.5, "1": 0.6})
    confirmed = study.run(seeds=2)
    assert study.trained == ["0-final-0", "1-final-0", "0-final-1", "1-final-1"]
    assert [(c.key, c.score) for c in confirmed] == [("0", 0.5), ("1", pytest.approx(0.6))]
    assert [order.seed for order in study.orders] == [seed for seed in fresh_seeds(7, FINAL, 2) for _ in "01"], "the same for all recipes"
    assert len({order.seed for order in study.orders}) == 2
    assert all(order.keep for order in study.orders)
    others = Replicated(tmp_path / "other")
    others.run(stage=CONFIRM, keep=False)
    assert not {order.seed for order in others.orders} & {order.seed for order in study.orders}, "the winner is compared on other seeds"
    assert not any(order.keep for order in others.orders)


def test_what_was_trained_before_is_not_trained_again(tmp_path):
    study = Replicated(tmp_path)
    study.run("01", seeds=2)
    study.run("01", seeds=2)
    assert study.trained == []
    study.run("012", seeds=2)
    assert study.trained == ["2-final-0", "2-final-1"]
    study.run("012", seeds=3)
    assert study.trained == ["0-final-2", "1-final-2", "2-final-2"]
    assert study.stages[-1] == ("final", 9, 6), "trainings in all, and those that were there before"


def test_what_kept_its_weights_is_trained_again_where_they_are_damaged_or_gone(tmp_path):
    study = Replicated(tmp_path)
    study.run("012", seeds=2)
    store = Store(study.path)
    store.weights("0-final-1").write_text("0-finam-1")
    store.weights("1-final-0").unlink()
    study.run("012", seeds=2)
    assert study.trained == ["1-final-0", "0-final-1"]
    store.weights("0-final-1").unlink()
    study.run("012", seeds=2, keep=False)
    assert study.trained == []


def test_a_training_that_failed_takes_its_recipe_out_and_is_tried_again(tmp_path):
    study = Replicated(tmp_path, {"1-final-1": None})
    assert keys(study.run()) == {"0": ["0-final-0", "0-final-1"]}
    study.scores = {}
    assert keys(study.run()) == {"0": ["0-final-0", "0-final-1"], "1": ["1-final-0", "1-final-1"]}
    assert study.trained == ["1-final-1"]


def test_a_training_that_the_machine_ended_is_no_reason_to_go_on_without_its_recipe(tmp_path):
    study = Replicated(tmp_path, {"1-final-1": None}, reason="lost")
    with pytest.raises(NotConcluded, match=r"^training 1-final-1 has not ended \(lost: gone\); the same command trains it again$"):
        study.run()
    assert keys(study.run(least=0)) == {"0": ["0-final-0", "0-final-1"]}, "an ablation goes on with what it has"
    study.scores = {}
    assert keys(study.run()) == {"0": ["0-final-0", "0-final-1"], "1": ["1-final-0", "1-final-1"]}


class TestTime:
    def test_no_seed_begins_after_its_end_and_all_recipes_have_equally_many(self, tmp_path):
        """A training takes two turns, and a turn is a second."""
        study = Replicated(tmp_path)
        whole = study.run("01", seeds=5, time=8)
        assert study.trained == ["0-final-0", "1-final-0", "0-final-1", "1-final-1"]
        assert {key: len(records) for key, records in keys(whole).items()} == {"0": 2, "1": 2}

    def test_where_it_ends_within_a_seed_that_seed_does_not_count(self, tmp_path):
        study = Replicated(tmp_path)
        assert {len(records) for records in keys(study.run("01", seeds=5, time=5)).values()} == {1}
        assert study.trained == ["0-final-0", "1-final-0", "0-final-1"]

    def test_a_seed_that_one_recipe_lacks_is_left_out_with_those_after_it(self, tmp_path):
        """With several workers a later seed may have ended when the time is over, and an earlier one not; sides are weighed in pairs."""
        study = Replicated(tmp_path)
        work = study.open()
        for key in ("0-final-0", "0-final-1", "0-final-2", "1-final-0", "1-final-2"):
            work.journal.add(FINAL, record(key, 0.5, stage=FINAL))
        closed(work)
        assert keys(study.run("01", seeds=3, keep=False, time=0)) == {"0": ["0-final-0"], "1": ["1-final-0"]}
        assert study.trained == []

    def test_one_seed_there_is_always(self, tmp_path):
        assert {len(records) for records in keys(Replicated(tmp_path).run("01", seeds=5, time=1, spent=5)).values()} == {1}

    def test_unless_none_is_needed(self, tmp_path):
        study = Replicated(tmp_path)
        assert study.run("01", seeds=5, time=0, least=0) == [] and study.trained == []


def test_the_test_part_is_measured_one_at_a_time_by_the_weights_that_were_kept(tmp_path):
    study = Replicated(tmp_path)
    pair = study.run()
    work = study.open(workers=4)
    tested = measure_candidates(work.runner, work.journal, pair, work.budget)
    orders = work.runner.executor.orders
    assert work.runner.executor.most == 1
    assert [order.weights for order in orders] == ["0-final-0", "1-final-0", "0-final-1", "1-final-1"]
    assert {(order.part, order.latency) for order in orders} == {("test", True)}
    assert [[r.key for r in c.tests] for c in tested] == [[f"{r.key}-test" for r in c.records] for c in pair]
    study.trained.clear()
    assert measure_candidates(work.runner, work.journal, pair, work.budget) == tested and study.trained == []
    closed(work)


def test_a_measurement_that_fails_leaves_a_hole_and_is_tried_again(tmp_path):
    study = Replicated(tmp_path, {"0-final-1-test": None})
    pair, work = study.run(), study.open()
    tested = measure_candidates(work.runner, work.journal, pair, work.budget)
    assert [[r.state for r in c.tests] for c in tested] == [["complete", "failed"], ["complete", "complete"]]
    study.scores = {}
    study.trained.clear()
    whole = measure_candidates(work.runner, work.journal, pair, work.budget)
    assert study.trained == ["0-final-1-test"]
    assert work.runner.screen.stages[-1] == ("test", 4, 3)
    assert [len(c.tests) for c in whole] == [2, 2]
    closed(work)


def test_another_pair_is_counted_for_itself(tmp_path):
    """What was measured for others in an earlier session is not what is done of this one."""
    study = Replicated(tmp_path)
    three, work = study.run("012"), study.open()
    measure_candidates(work.runner, work.journal, three[:2], work.budget)
    measure_candidates(work.runner, work.journal, [three[0], three[2]], work.budget)
    assert work.runner.screen.stages[-1] == ("test", 4, 2)
    closed(work)


def test_the_scores_of_a_part(tmp_path):
    (one, *_) = Replicated(tmp_path, {"0": 0.25}).run()
    assert one.scores("validation") == one.scores("training") == [0.25, 0.25]
    assert one.scores("test") == []
    assert replace(one, tests=[record("t", 0.75)]).scores("test") == [0.75]
