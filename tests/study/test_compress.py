import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from scripted import ACCURACY, PLAIN, SPACE, Fails, baseline, closed, composed, outcome, record, stems, studied

from autoopt.goal import Goal
from autoopt.orders import Train, TryOut
from autoopt.records.journal import Journal
from autoopt.records.stages import COMPRESS, SEARCH
from autoopt.space import Space
from autoopt.store import Store
from autoopt.study.compress import TRAINED, Compressions, compress, compress_goal, latency_noise, pareto_front

EITHER = ("compression=half", "compression.half.use=true,false")


class Stage:
    """A compress stage over trials that were searched: their scores by number, the best of them with weights."""

    def __init__(self, path):
        self.path, self.orders, self.tried, self.lines, self.unfit = path / "s", [], [], [], ()

    def play(self, order):
        if isinstance(order, TryOut):
            self.tried.append((order.weights, *order.recipe.tree["compression"]))
            if self.tried[-1] in self.unfit:
                raise Fails("plugin", "it has no layers", unavailable=True)
            return outcome(val_accuracy=0.1)
        self.orders.append(order)
        if isinstance(order, Train):
            yield {"val_accuracy": 0.0}
            if order.key in self.unfit:
                raise Fails("nonfinite", "nan")
            self.write(order.key)
            return outcome(val_accuracy=self.scores[int(order.key)])
        self.write(order.key)
        yield {}
        smaller = bool(order.recipe.tree["compression"])
        costs = {"latency_ms": 2.0 - smaller, "size_mb": 1.0 - 0.5 * smaller}
        return outcome(val_accuracy=self.scores[int(order.weights)] - 0.01 * smaller, **costs)

    def write(self, key):
        with Store(self.path).writing(key) as path:
            path.touch()

    def run(self, scores, top=2, total=4, overrides=("compression=prune_magnitude",), weights=None, unfit=(), recipes=None, **how):
        """The records of the stage, and the trials whose weights were used."""
        self.scores, self.unfit = scores, unfit
        self.orders.clear(), self.tried.clear()
        study = studied(self.path, self.play, f"study.compress={total}", *overrides, **how)
        known = {r.key for r in study.journal.records(SEARCH)}
        for number, score in enumerate(scores):
            if str(number) not in known:
                study.journal.add(SEARCH, record(str(number), score, recipe=(recipes or {}).get(str(number))))
            if weights is None or number in weights:
                self.write(str(number))
        compress(study, top)
        records = study.journal.records(COMPRESS)
        closed(study)
        self.lines = study.runner.screen.lines
        self.again = [order.key for order in self.orders if isinstance(order, Train)]
        return records, [order.weights for order in self.orders if not isinstance(order, Train)]

    @property
    def weights(self):
        return set(stems(self.path.glob("trials/*/model.safetensors")))


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def front(records):
    return compress_goal(Goal((ACCURACY,))).front(records)


def test_nothing_where_no_compression_is_selected(stage):
    assert stage.run([0.5, 0.9], overrides=()) == ([], [])
    assert stage.weights == {"0", "1"}


def test_compressions_of_the_best(stage):
    records, used = stage.run([0.5, 0.9, 0.8, 0.7], top=2, total=8)
    assert [r.key for r in records] == [f"compress-{n}" for n in range(8)]
    assert set(used) == {"1", "2"}
    assert {r.stage for r in records} == {"compress"}
    assert stage.weights == {"1", "2"} | {r.key for r in front(records)}, "the weights of the others are deleted"


def test_a_baseline_that_is_compressed_already_is_not_compressed_again(stage):
    """A compression of its network would be of both, and one that is off would be measured as the baseline's."""
    small = baseline().replace(compression={"half": {}})
    _, used = stage.run([0.9, 0.5, 0.8, 0.7], recipes={"0": small}, overrides=EITHER)
    assert set(used) <= {"2", "3"} and used


def test_the_weights_are_those_of_the_trial_that_was_drawn(stage):
    """Although their recipes are the same."""
    records, used = stage.run([0.5, 0.9, 0.8], top=2, total=8)
    assert {(u, bool(r.recipe["compression"]), r.score) for r, u in zip(records, used, strict=True)} <= {
        ("1", False, 0.9),
        ("1", True, 0.89),
        ("2", False, 0.8),
        ("2", True, 0.79),
    }


def test_it_resumes_to_the_total(stage):
    first, _ = stage.run([0.5, 0.9, 0.8], total=3)
    whole, used = stage.run([0.5, 0.9, 0.8], total=5)
    assert (whole[:3], len(whole), len(used)) == (first, 5, 2)


def test_the_time_ends_it(stage):
    """A compression takes two turns, and a turn is a second."""
    records, _ = stage.run([0.5, 0.9, 0.8], total=50, time=12)
    assert 3 <= len(records) <= 5
    assert stage.run([0.5, 0.9, 0.8], total=50, time=12, spent=12) == (records, []), "later there is none left"


def test_the_first_is_measured_though_the_time_has_ended(stage):
    records, used = stage.run([0.5, 0.9, 0.8], total=50, time=12, spent=12)
    assert (len(records), used) == (1, ["1"])


def test_a_longer_search_finds_others(stage):
    """Optuna keeps the options of a parameter for a study's life."""
    stage.run([0.5, 0.9, 0.8], total=3)
    records, used = stage.run([0.5, 0.9, 0.8, 0.99], total=9)
    assert set(used) == {"1", "3"}
    assert len(records) == 9


BOTH = ("compression=half,weight_sharing", "compression.half.use=true,false", "compression.weight_sharing.use=true,false")


def test_what_does_not_work_with_a_trained_model_is_not_drawn_with_it(stage):
    records, used = stage.run([0.5, 0.9, 0.8], total=24, overrides=BOTH, unfit=[("1", "half")])
    assert len(records) == 24
    assert sorted(stage.tried) == [("1", "half"), ("1", "weight_sharing"), ("2", "half"), ("2", "weight_sharing")]
    drawn = {(u, name) for r, u in zip(records, used, strict=True) for name in r.recipe["compression"]}
    assert drawn == {("1", "weight_sharing"), ("2", "half"), ("2", "weight_sharing")}
    stage.run([0.5, 0.9, 0.8], total=24, overrides=BOTH)
    assert stage.tried == [], "all is done: nothing is tried for it"


def test_a_model_with_which_a_pinned_compression_does_not_work_is_left_out(stage):
    always = ("compression=[half]",)
    records, used = stage.run([0.5, 0.9, 0.8], total=4, overrides=always, unfit=[("1", "half")])
    assert set(used) == {"2"}
    assert "trial 1 is not compressed: compression=half cannot be used here: it has no layers" in stage.lines
    assert stage.run([0.5, 0.9, 0.8, 0.99], total=9, overrides=always, unfit=[("1", "half"), ("3", "half")])[0] == records


def test_a_trial_whose_weights_are_damaged_or_gone_is_trained_again(stage):
    _, used = stage.run([0.5, 0.9, 0.8], weights=[0, 2])
    assert stage.again == ["1"] and "1" in used
    assert "the weights of trial 1 are damaged or gone: it is trained again" in stage.lines


def test_a_trial_is_not_trained_again_beyond_the_time(stage):
    records, _ = stage.run([0.5, 0.9, 0.8], weights=[0, 2], time=12, spent=12)
    assert stage.again == [] and [r.recipe["model"] for r in records] == [record("2", 0.8).recipe["model"]]
    assert "the weights of trial 1 are damaged or gone: no time is left to train it again" in stage.lines


def test_a_trial_that_cannot_be_trained_again_is_not_compressed(stage):
    _, used = stage.run([0.5, 0.9, 0.8], weights=[0, 2], unfit=["1"])
    assert stage.again == ["1"] and set(used) == {"2"}


def test_a_single_one(stage):
    records, used = stage.run([0.5, 0.9], top=1, total=2)
    assert used == ["1", "1"]
    assert len(records) == 2


def test_the_first_is_the_best_as_it_is_and_none_runs_beside_another(stage):
    either = ("compression=prune_magnitude", "compression.prune_magnitude.use=true,false")
    records, used = stage.run([0.5, 0.9, 0.8], total=6, overrides=either, workers=4)
    assert (used[0], dict(records[0].recipe["compression"])) == ("1", {})
    assert all(order.latency for order in stage.orders)
    assert [order.key for order in stage.orders] == [r.key for r in records] and len(records) == 6


def test_nothing_is_tried_twice_and_it_ends_where_all_was_tried(stage):
    few = ("compression=half", "compression.half.dtype=bfloat16,float16")
    records, used = stage.run([0.5, 0.9, 0.8], total=12, overrides=few)
    drawn = [(trained, tuple(r.recipe["compression"].get("half", {}).values())) for r, trained in zip(records, used, strict=True)]
    assert len(drawn) == len(set(drawn)) == 4
    assert "4 compressions, not 12: the last 1000 proposals had been tried before" in stage.lines
    assert stage.run([0.5, 0.9, 0.8], total=12, overrides=few) == (records, [])


def test_a_strategy_that_ends_by_itself_is_told_from_one_that_repeats(stage):
    few = ("compression=half", "compression.half.dtype=bfloat16,float16", "strategy=grid")
    assert len(stage.run([0.5, 0.9, 0.8], total=12, overrides=few)[0]) == 4
    assert "4 compressions, not 12: the strategy has nothing left to propose" in stage.lines


@pytest.mark.slow
def test_where_much_is_left_it_goes_on_beyond_what_the_sampler_would_repeat(stage):
    records, used = stage.run([0.5, 0.9, 0.8], total=36, overrides=("compression=half,weight_sharing",))
    tried = {(trained, json.dumps(r.recipe["compression"])) for r, trained in zip(records, used, strict=True)}
    assert len(records) == len(tried) == 36


def test_what_was_tried_is_not_tried_again_among_others(stage):
    """A longer search has other best trials."""
    few = ("compression=half", "compression.half.dtype=bfloat16,float16")
    first, _ = stage.run([0.5, 0.9, 0.8], total=12, overrides=few)
    records, used = stage.run([0.5, 0.9, 0.8, 0.99], total=12, overrides=few)
    assert records[:4] == first and used == ["3", "3"]


def test_an_interrupted_compression_of_a_trial_that_is_no_longer_among_the_best_is_dropped(stage):
    few = ("compression=half", "compression.half.dtype=bfloat16,float16")
    stage.run([0.5, 0.9, 0.8], total=2, overrides=few)
    study = studied(stage.path, stage.play, *few)
    old = study.journal.trials(COMPRESS)[0]
    study.journal.begin(COMPRESS, compress_goal(study.goal), old.params | {TRAINED: "2"}, old.distributions)
    closed(study)
    records, used = stage.run([0.5, 0.9, 0.8, 0.99], total=5, overrides=few)
    assert "2" not in used and len(records) == 4, "that of trial 2 counts, and is not run"


def test_the_front_is_that_of_score_latency_and_size():
    def point(key, score, latency, size):
        return record(key, score, stage=COMPRESS, metrics={"latency_ms": latency, "size_mb": size})

    records = [point("slow", 0.99, 5, 5), point("fast", 0.90, 1, 5), point("both", 0.90, 1, 1), point("worse", 0.95, 5, 5)]
    assert [r.key for r in front(records)] == ["slow", "both"]


def fronted(records, chance=None):
    study = SimpleNamespace(goal=Goal((ACCURACY,)), facts={"chance": {} if chance is None else {"val_accuracy": chance}})
    return [r.key for r in pareto_front(study, compress_goal(study.goal), records)]


def measured(key, score, latency, size=1, before=None):
    compression = {} if before is None else {"half": {}}
    metrics = {"latency_ms": latency, "size_mb": size} | ({} if before is None else {"uncompressed_latency_ms": before})
    plain = record(key, score, stage=COMPRESS, metrics=metrics)
    return replace(plain, recipe={**plain.recipe, "compression": compression})


def test_latencies_within_their_noise_are_equal():
    """The trained model took from 4.9 to 5.1 ms each time: a compressed one that is 1 % faster is not faster."""
    same = [measured("a", 0.99, 5.0), measured("b", 0.98, 4.95, before=4.9), measured("c", 0.97, 4.0, before=5.1)]
    assert 0.015 < latency_noise(same) < 0.025
    assert fronted(same) == ["a", "c"]
    exact = [measured("a", 0.99, 5.0), measured("b", 0.98, 4.95, before=5.0), measured("c", 0.97, 4.0, before=5.0)]
    assert fronted(exact) == ["a", "b", "c"]
    assert latency_noise(same[:1]) == 0.0


def test_the_front_does_not_drift_along_the_noise():
    """Each is as fast as the next within noise, but the last is faster than the first."""
    chain = [measured(str(n), 0.99 - 0.01 * n, 5.0 - 0.2 * n, before=5.0 + 0.1 * (-1) ** n) for n in range(4)]
    assert fronted(chain) == ["0", "2"]


def test_models_at_chance_are_not_on_the_front():
    small = [
        measured("good", 0.9, 5.0, 5),
        measured("fair", 0.5, 4.0, 4),
        measured("guesses", 0.12, 1.0, 1),
        measured("worse", 0.05, 0.5, 0.5),
    ]
    assert fronted(small, chance=0.1) == ["good", "fair"]
    assert fronted(small) == ["good", "fair", "guesses", "worse"]
    assert fronted([measured("a", 0.1, 1.0)], chance=0.1) == ["a"] and fronted([], chance=0.1) == []


def test_all_three_objectives_are_in_the_journal(stage):
    stage.run([0.5, 0.9], total=3, overrides=EITHER)
    journal = Journal(stage.path / "journal.log", "s", write=False)
    assert journal.trials(COMPRESS)[0].values == [0.9, 2.0, 1.0]
    assert [d.name for d in journal._study(COMPRESS).directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]


class TestSpace:
    """Which trained trial, then its compressions."""

    def space(self, *keys, unfit="1"):
        whole = Space.of(composed(*SPACE, *PLAIN, "compression=half,weight_sharing"))
        spaces = {key: whole.compressing("mlp") for key in keys}
        if unfit in spaces:
            spaces[unfit] = spaces[unfit].without("compression", "half", "no")
        return Compressions({key: record(key, 0.5) for key in keys}, spaces, ["half", "weight_sharing"])

    def asked(self, space, trial):
        """The paths that a walk asks for, where every compression is used."""
        paths = []

        def pick(domain):
            paths.append(domain.path)
            return trial if domain.path == TRAINED else True if domain.path.endswith(".use") else domain.default

        space.walk(pick)
        return paths

    @pytest.mark.parametrize("trial", ["1", "2"])
    def test_its_domains_are_those_that_are_asked_for(self, trial):
        space = self.space("1", "2")
        techniques = {TRAINED: [trial], "compression": ["half"] if trial == "2" else ["weight_sharing"]}
        assert [d.path for d in space.domains() if d.condition.holds(techniques)] == self.asked(space, trial)
        assert len({d.path for d in space.domains()}) == len(space.domains())

    def test_a_single_trial_is_no_choice(self):
        space = self.space("2")
        assert TRAINED not in self.asked(space, "2") and TRAINED not in [d.path for d in space.domains()]
