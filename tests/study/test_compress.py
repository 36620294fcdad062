from pathlib import Path

import pytest
from scripted import ACCURACY, outcome, runner, space

from autoopt.study.compress import compress
from autoopt.study.journal import Journal, Record


@pytest.fixture
def stage(tmp_path):
    """A compress stage over trials that were searched: their scores by number, the best of them with weights."""

    def run(scores, top=2, total=4, overrides=("compression=half",), weights=None, until=float("inf")):
        def play(job):
            loaded = Path(job["load"]).parent.name
            used.append(loaded)
            yield {}
            return outcome(val_accuracy=scores[int(loaded)] - 0.01 * bool(job["recipe"]["compression"]))

        used = []
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
        records = compress(runner(tmp_path, play), journal, whole, ACCURACY, top, 0, until)
        journal.close()
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
    left = [p.parent.name for p in sorted(tmp_path.glob("trials/*/model.safetensors"))]
    assert left == ["1", "2"], "the weights of the others are deleted"


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


def test_without_weights_there_is_nothing_to_compress(stage):
    assert stage([0.5, 0.9], weights=())[0] == []


def test_a_single_one(stage):
    records, used = stage([0.5, 0.9], top=1, total=2)
    assert used == ["1", "1"]
    assert len(records) == 2
