"""The winner taken apart, by an executor that plays scripts."""

from dataclasses import replace
from math import inf

import pytest
from scripted import LOSS, Fails, Killed, closed, outcome, record, space, studied

from autoopt.analysis.candidate import Candidate
from autoopt.records.stages import ABLATION, FINAL, SEARCH
from autoopt.study.ablation import ablate, grouped, recipes_and_seeds, share, trainings_for
from autoopt.study.confirm import Plan, fresh_seeds
from autoopt.study.decide import verdict_of

GAINS = {"optimizer sgd": 0.2, "schedule cosine": 0.1, "regularizer l1": 0.0, "batches.size": 0.0}
WINNER = {"optimizer": "sgd", "schedule": "cosine", "regularizer.l1.use": True, "batches.size": 32}
KEYS = {"optimizer": "optimizer sgd", "schedule": "schedule cosine", "regularizer.l1": "regularizer l1"}


def present(recipe):
    """The titles of the changes that a recipe has."""
    tree = recipe.tree
    found = {
        f"optimizer {next(iter(tree['optimizer']))}",
        f"schedule {next(iter(tree['schedule']))}",
        *(f"regularizer {n}" for n in tree["regularizer"]),
    }
    return (found | ({"batches.size"} if tree["batches"]["size"] == 32 else set())) & GAINS.keys()


class Won:
    """A study whose winner has four changes; what a recipe reaches is the sum of the gains of its changes, and a seed's own."""

    def __init__(self, path):
        self.path, self.gains, self.fails, self.turn, self.noise, self.trained = path / "s", dict(GAINS), {}, lambda turn: None, 0.004, []

    def score(self, recipe, seed):
        changes = present(recipe)
        noise = self.noise * ((seed + 7 * len(changes) + sum(map(len, changes))) % 5 - 2)
        return 0.5 + sum(self.gains[change] for change in changes) + seed % 11 / 100 + noise

    def play(self, order):
        left_out = GAINS.keys() - present(order.recipe)
        self.trained.append((order.seed, *sorted(left_out)))
        yield {"val_accuracy": 0.0}
        for change, failure in self.fails.items():
            if left_out == {change}:
                raise failure
        score = self.score(order.recipe, order.seed)
        return outcome(val_accuracy=score, val_loss=-score, seconds=10.0 + 2 * ("optimizer sgd" not in left_out))

    def ablate(self, *overrides, seeds=3, interval=None, importance=(), objective=None, **how):
        whole = space("batches.size=64,32", *overrides)
        more = {"objective": objective} if objective else {}
        study = studied(
            self.path,
            self.play,
            "batches.size=64,32",
            f"study.seeds={seeds}",
            *overrides,
            on_turn=self.turn,
            part="validation",
            **more,
            **how,
        )
        sign = study.goal.first.sign
        try:
            sides = []
            for key, recipe in (("0", whole.baseline()), ("7", whole.recipe(WINNER))):
                scores = [(i, seed, sign * self.score(recipe, seed)) for i, seed in enumerate(fresh_seeds(0, FINAL, seeds))]
                records = [
                    replace(
                        record(FINAL.key.format(key, i), score, stage=FINAL, recipe=recipe, metrics={"seconds": 10.0 + 2 * (key == "7")}),
                        seed=seed,
                    )
                    for i, seed, score in scores
                ]
                for each in records if not study.journal.records(FINAL) or key == "7" else ():
                    study.journal.add(FINAL, each)
                sides.append(Candidate(key, recipe, records))
            study.journal.add(SEARCH, record("0", 0.5, seconds=2.0))
            verdict = verdict_of(study, *sides, Plan(1, seeds))
            verdict = verdict if interval is None else replace(verdict, interval=interval)
            self.stages = study.runner.screen.stages
            self.trained.clear()
            return ablate(study, verdict, dict(importance))
        finally:
            self.finished = {(r.seed, *sorted(GAINS.keys() - present(r.point))) for r in study.journal.records(ABLATION)}
            closed(study)


@pytest.fixture
def won(tmp_path):
    return Won(tmp_path)


def rows(effects):
    return {effect.changes: effect.gain for effect in effects}


class TestItsSize:
    @pytest.mark.parametrize(("trials", "seeds", "most"), [(1, 3, 10), (60, 3, 10), (200, 3, 20), (60, 1, 6)])
    def test_a_tenth_of_the_search_but_enough_for_five_recipes(self, trials, seeds, most):
        assert trainings_for(trials, seeds) == most

    @pytest.mark.parametrize(
        ("changes", "room", "seeds", "size"),
        [
            (7, 10, 3, (5, 2)),
            (4, 10, 3, (5, 2)),
            (3, 10, 3, (4, 2)),
            (2, 10, 3, (2, 3)),
            (1, 10, 3, (1, 3)),
            (7, 36, 3, (12, 3)),
            (7, 99, 3, (12, 3)),
            (7, 5, 1, (5, 1)),
            (7, 1, 3, (0, 2)),
            (7, 0, 3, (0, 2)),
        ],
    )
    def test_recipes_and_seeds(self, changes, room, seeds, size):
        assert recipes_and_seeds(changes, room, seeds) == size
        assert size[0] * size[1] <= max(room, 3)

    @pytest.mark.parametrize(
        ("recipes", "groups"),
        [
            (9, ["a", "b", "c", "d"]),
            (5, ["a", "b", "c", "d"]),
            (4, ["a", "b", "cd"]),
            (3, ["a", "bcd"]),
            (2, ["a", "bcd"]),
            (1, ["abcd"]),
            (0, ["abcd"]),
        ],
    )
    def test_where_the_recipes_are_too_few_the_last_changes_are_measured_together(self, recipes, groups):
        assert ["".join(group) for group in grouped("abcd", recipes)] == groups

    def test_a_choice_has_the_importance_of_the_values_of_its_options(self):
        importance = {"optimizer": 0.1, "optimizer.adamw.lr": 0.2, "optimizer.sgd.lr": 0.3, "optimizers": 0.4}
        assert share("optimizer", importance) == pytest.approx(0.6)
        assert share("optimizer.adamw", importance) == 0.2


class TestWhatEachChangeGives:
    def test_left_out_of_the_winner_and_made_one_after_the_other(self, won):
        found = won.ablate("study.trials=400")
        alone = {("optimizer sgd",): 0.2, ("schedule cosine",): 0.1, ("regularizer l1",): 0.0, ("batches.size",): 0.0}
        assert rows(found.left_out) == pytest.approx(alone, abs=0.02)
        assert list(rows(found.left_out))[:2] == [("optimizer sgd",), ("schedule cosine",)], "first those without which it loses most"
        assert found.seeds == 2
        assert [effect.unshown for effect in found.left_out] == [False, False, True, True]
        assert all(effect.interval[0] < effect.gain < effect.interval[1] for effect in (*found.left_out, *found.path))
        assert sum(effect.gain for effect in found.path) == pytest.approx(0.3, abs=0.02)
        assert found.left_out[0].time == pytest.approx(0.2) and found.left_out[1].time == pytest.approx(0.0)

    def test_on_the_seeds_of_the_last_comparison_each_recipe_once(self, won):
        won.ablate()
        assert {seed for seed, *_ in won.trained} == {*fresh_seeds(0, FINAL, 3)[:2]}
        assert len(set(won.trained)) == len(won.trained) <= 10
        assert not any(len(changes) in (0, 4) for _, *changes in won.trained), "the ends were trained before"
        won.ablate()
        assert won.trained == []

    def test_a_score_that_is_minimised(self, won):
        found = won.ablate(objective=LOSS)
        assert rows(found.left_out)["optimizer sgd",] == pytest.approx(0.2, abs=0.02)

    def test_the_recipe_without_what_gives_nothing_is_offered(self, won):
        simpler = won.ablate().simpler
        assert present(simpler.point) == {"optimizer sgd", "schedule cosine"}
        assert simpler.gain == pytest.approx(0.0, abs=0.02) and simpler.interval[0] < 0 < simpler.interval[1]
        assert simpler.time == pytest.approx(0.0)

    def test_but_not_where_it_loses(self, won):
        """Together these two changes give something, each alone nothing."""
        score = won.score
        won.score = lambda recipe, seed: score(recipe, seed) + 0.1 * bool({"regularizer l1", "batches.size"} & present(recipe))
        found = won.ablate()
        assert [effect.unshown for effect in found.left_out] == [False, False, True, True]
        assert found.simpler is None

    def test_nor_where_every_change_gives_something(self, won):
        won.gains |= {"regularizer l1": 0.1, "batches.size": 0.15}
        assert won.ablate().simpler is None

    def test_with_little_room_what_matters_little_is_measured_together(self, won):
        """Choices of techniques come before values alone."""
        found = won.ablate("study.trials=12", importance={"schedule": 0.5, "batches.size": 0.9}, time=12.0)
        assert len(won.trained) == 4
        assert ("schedule cosine",) in rows(found.left_out)
        assert ("regularizer l1", "optimizer sgd", "batches.size") in rows(found.left_out)

    def test_without_time_nothing_is_trained_and_all_is_one_step(self, won):
        found = won.ablate(time=0.0)
        assert won.trained == []
        assert [len(effect.changes) for effect in found.left_out] == [len(effect.changes) for effect in found.path] == [4]
        assert found.left_out[0].gain == pytest.approx(0.3, abs=0.02) and found.simpler is None


class TestWhatDidNotWin:
    @pytest.mark.parametrize("interval", [(-0.1, 0.5), (0.0, 0.5), (-0.5, -0.1), (-inf, inf)])
    def test_is_not_taken_apart(self, won, interval):
        assert won.ablate(interval=interval) is None and won.trained == []

    def test_nor_is_it_where_the_user_wants_none(self, won):
        assert won.ablate("study.ablation=false") is None and won.trained == []


class TestFailures:
    @pytest.mark.parametrize("reason", ["nonfinite", "lost"])
    def test_a_training_that_fails_spoils_nothing(self, won, reason):
        won.fails = {"schedule cosine": Fails(reason, "no good")}
        found = won.ablate()
        (effect,) = [effect for effect in found.left_out if effect.changes == ("schedule cosine",)]
        assert (effect.gain, effect.time, effect.interval) == (None, None, (-inf, inf))
        assert effect.fault == ("nonfinite: no good" if reason == "nonfinite" else "")
        assert rows(found.left_out)["optimizer sgd",] == pytest.approx(0.2, abs=0.02)
        assert sum(effect.gain for effect in found.path) == pytest.approx(0.3, abs=0.02)
        assert (found.left_out[0] is effect) == (reason == "nonfinite"), "what cannot be left out comes first"
        assert "schedule cosine" in present(found.simpler.point), "what was not measured stays"

    def test_a_fault_of_the_recipe_is_not_tried_again_one_of_the_machine_is(self, won):
        won.fails = {"schedule cosine": Fails("nonfinite"), "optimizer sgd": Fails("lost")}
        won.ablate()
        won.fails = {}
        won.ablate()
        assert {tuple(changes) for _, *changes in won.trained} == {("optimizer sgd",)}


@pytest.mark.parametrize("turn", range(1, 21, 3))
def test_it_goes_on_where_it_was_killed(won, turn):
    """Nothing is trained twice, and the result is that of an ablation that was not cut."""

    def die(now):
        if now == turn:
            raise Killed

    whole = Won(won.path.parent / "whole")
    expected = whole.ablate()
    won.turn = die
    with pytest.raises(Killed):
        won.ablate()
    before, won.turn = won.finished, lambda now: None
    assert won.ablate() == expected
    assert not before & {*won.trained}
    assert before | {*won.trained} == whole.finished
