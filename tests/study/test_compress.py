import json
from pathlib import Path

import pytest
from scripted import ACCURACY, LOSS, outcome, runner, space

from autoopt.study.compress import compress, front
from autoopt.study.journal import Journal, Record

EITHER = ("compression=half", "compression.half.use=true,false")


@pytest.fixture
def jobs():
    return []


@pytest.fixture
def trials():
    """What was tried on two batches: trained model and compressions."""
    return []


@pytest.fixture
def said():
    return []


@pytest.fixture
def stage(tmp_path, jobs, trials, said):
    """A compress stage over trials that were searched: their scores by number, the best of them with weights."""

    def run(scores, top=2, total=4, overrides=("compression=prune_magnitude",), weights=None, until=float("inf"), unfit=()):
        def play(job):
            loaded = Path(job["load"]).parent.name
            if job.get("limit"):
                trials.append((loaded, *job["recipe"]["compression"]))
                failed = {"problem": {"detail": "it has no layers", "said": "", "unavailable": True}}
                return {"stopped": False} | (failed if trials[-1] in unfit else {"metrics": {"val_accuracy": 0.1}})
            used.append(loaded)
            jobs.append(job)
            Path(job["save"]).parent.mkdir(parents=True, exist_ok=True)
            Path(job["save"]).touch()
            yield {}
            smaller = bool(job["recipe"]["compression"])
            costs = {"latency_ms": 2.0 - smaller, "size_mb": 1.0 - 0.5 * smaller}
            return outcome(val_accuracy=scores[int(loaded)] - 0.01 * smaller, **costs)

        used = []
        trials.clear()
        jobs.clear()
        whole = space(f"study.compress={total}", *overrides)
        journal = Journal(tmp_path / "journal.log", "s")
        known = {r.key for r in journal.records("search")}
        recipe = dict(space().baseline().tree)
        for number, score in enumerate(scores):
            if str(number) not in known:
                journal.add("search", Record(str(number), "search", recipe, number, "complete", score))
            path = tmp_path / "trials" / str(number) / "model.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            if weights is None or number in weights:
                path.touch()
        run = runner(tmp_path, play)
        records = compress(run, journal, whole, ACCURACY, top, 0, until)
        journal.close()
        said[:] = run.screen.said
        return records, used

    return run


def test_nothing_where_no_compression_is_selected(stage, tmp_path):
    records, _ = stage([0.5, 0.9], overrides=())
    assert records == []
    assert (tmp_path / "trials/0/model.safetensors").exists()


def test_compressions_of_the_best(stage, tmp_path):
    records, used = stage([0.5, 0.9, 0.8, 0.7], top=2, total=8)
    assert [r.key for r in records] == [f"compress-{n}" for n in range(8)]
    assert set(used) == {"1", "2"}
    assert {r.stage for r in records} == {"compress"}
    left = {p.parent.name for p in tmp_path.glob("trials/*/model.safetensors")}
    assert left == {"1", "2"} | {r.key for r in front(records, ACCURACY)}, "the weights of the others are deleted"


def test_the_weights_are_those_of_the_trial_that_was_drawn(stage):
    """Although their recipes are the same."""
    records, used = stage([0.5, 0.9, 0.8], top=2, total=8)
    assert {(u, bool(r.recipe["compression"]), r.score) for r, u in zip(records, used, strict=True)} <= {
        ("1", False, 0.9),
        ("1", True, 0.89),
        ("2", False, 0.8),
        ("2", True, 0.79),
    }


def test_it_resumes_to_the_total(stage):
    first, _ = stage([0.5, 0.9, 0.8], total=3)
    whole, used = stage([0.5, 0.9, 0.8], total=5)
    assert (whole[:3], len(whole), len(used)) == (first, 5, 2)


def test_the_time_ends_it(stage, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr("autoopt.study.explore.time.time", lambda: next(clock))
    records, _ = stage([0.5, 0.9, 0.8], total=50, until=5)
    assert 3 <= len(records) <= 6
    assert stage([0.5, 0.9, 0.8], total=50, until=5) == (records, []), "later there is none left"


def test_a_longer_search_finds_others(stage):
    """Optuna keeps the options of a parameter for a study's life."""
    stage([0.5, 0.9, 0.8], total=3)
    records, used = stage([0.5, 0.9, 0.8, 0.99], total=9)
    assert set(used) == {"1", "3"}
    assert len(records) == 9


BOTH = ("compression=half,weight_sharing", "compression.half.use=true,false", "compression.weight_sharing.use=true,false")


def test_what_does_not_work_with_a_trained_model_is_not_drawn_with_it(stage, trials):
    records, used = stage([0.5, 0.9, 0.8], total=24, overrides=BOTH, unfit=[("1", "half")])
    assert len(records) == 24
    assert sorted(trials) == [("1", "half"), ("1", "weight_sharing"), ("2", "half"), ("2", "weight_sharing")]
    drawn = {(u, name) for r, u in zip(records, used, strict=True) for name in r.recipe["compression"]}
    assert drawn == {("1", "weight_sharing"), ("2", "half"), ("2", "weight_sharing")}
    stage([0.5, 0.9, 0.8], total=24, overrides=BOTH)
    assert trials == [], "all is done: nothing is tried for it"


def test_a_model_with_which_what_is_asked_for_always_does_not_work_is_left_out(stage, said):
    always = ("compression=[half]",)
    records, used = stage([0.5, 0.9, 0.8], total=4, overrides=always, unfit=[("1", "half")])
    assert set(used) == {"2"}
    assert "trial 1 is not compressed: compression=half cannot be used here: it has no layers" in said
    assert stage([0.5, 0.9, 0.8, 0.99], total=9, overrides=always, unfit=[("1", "half"), ("3", "half")])[0] == records


def test_without_weights_there_is_nothing_to_compress(stage):
    assert stage([0.5, 0.9], weights=())[0] == []


def test_a_single_one(stage):
    records, used = stage([0.5, 0.9], top=1, total=2)
    assert used == ["1", "1"]
    assert len(records) == 2


def test_the_first_is_the_best_as_it_is_and_none_runs_beside_another(stage, jobs, tmp_path):
    either = ("compression=prune_magnitude", "compression.prune_magnitude.use=true,false")
    records, used = stage([0.5, 0.9, 0.8], total=6, overrides=(*either, "executor.workers=4"))
    assert (used[0], dict(records[0].recipe["compression"])) == ("1", {})
    assert all(job["latency"] for job in jobs)
    assert [Path(job["save"]).parent.name for job in jobs] == [r.key for r in records] and len(records) == 6


def test_nothing_is_tried_twice_and_it_ends_where_all_was_tried(stage, trials, said):
    few = ("compression=half", "compression.half.dtype=bfloat16,float16")
    records, used = stage([0.5, 0.9, 0.8], total=12, overrides=few)
    drawn = [(trained, tuple(r.recipe["compression"].get("half", {}).values())) for r, trained in zip(records, used, strict=True)]
    assert len(drawn) == len(set(drawn)) == 4
    assert "4 compressions, not 12: what the last 50 draws came to had been tried" in said
    assert stage([0.5, 0.9, 0.8], total=12, overrides=few) == (records, [])


def test_where_much_is_left_it_goes_on_beyond_what_the_sampler_would_repeat(stage):
    records, used = stage([0.5, 0.9, 0.8], total=36, overrides=("compression=half,weight_sharing",))
    tried = {(trained, json.dumps(r.recipe["compression"])) for r, trained in zip(records, used, strict=True)}
    assert len(records) == len(tried) == 36


def test_what_was_tried_is_not_tried_again_among_others(stage):
    """A longer search has other best trials, among which the trial is drawn by another name."""
    few = ("compression=half", "compression.half.dtype=bfloat16,float16")
    first, _ = stage([0.5, 0.9, 0.8], total=12, overrides=few)
    records, used = stage([0.5, 0.9, 0.8, 0.99], total=12, overrides=few)
    assert records[:4] == first and used == ["3", "3"]


def test_one_that_was_cut_short_before_it_was_known_as_tried_is_not_run(stage, tmp_path):
    few = ("compression=half", "compression.half.dtype=bfloat16,float16")
    records, _ = stage([0.5, 0.9, 0.8], total=12, overrides=few)
    journal = Journal(tmp_path / "journal.log", "s")
    study = journal.stage("compress", 2)
    study.enqueue_trial(study.trials[0].params)
    trial = study.ask()
    for name in study.trials[0].params:
        trial.suggest_categorical(name, study.trials[0].distributions[name].choices)
    journal.close()
    assert stage([0.5, 0.9, 0.8], total=12, overrides=few) == (records, [])


def point(key, score, latency, size, state="complete"):
    recipe = dict(space().baseline().tree)
    return Record(key, "compress", recipe, 0, state, score, {"latency_ms": latency, "size_mb": size})


def test_the_front_holds_what_nothing_is_as_good_as_in_all_three():
    records = [
        *(point("slow", 0.99, 5, 5), point("small", 0.90, 5, 1), point("fast", 0.90, 1, 5), point("both", 0.90, 1, 1)),
        *(point("worse", 0.95, 5, 5), point("failed", None, 0, 0, "failed"), point("good", 0.97, 2, 2), point("twin", 0.97, 2, 2)),
    ]
    assert [r.key for r in front(records, ACCURACY)] == ["slow", "good", "both"]
    unmeasured = Record("bare", "compress", records[0].recipe, 0, "complete", 1.0, {})
    assert [r.key for r in front([*records, unmeasured], ACCURACY)] == ["slow", "good", "both"]


def test_where_less_is_better_the_front_turns_with_it():
    records = [point("low", 0.1, 2, 2), point("lower", 0.05, 3, 2), point("high", 0.2, 3, 3)]
    assert [r.key for r in front(records, LOSS)] == ["lower", "low"]


def test_the_sampler_is_told_of_all_three(stage, tmp_path):
    stage([0.5, 0.9], total=3, overrides=EITHER)
    journal = Journal(tmp_path / "journal.log", "s", write=False)
    study = journal.stage("compress")
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert study.trials[0].values == [0.9, 2.0, 1.0]
