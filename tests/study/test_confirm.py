from pathlib import Path

import pytest
from scripted import ACCURACY, LOSS, Fails, outcome, runner, space

from autoopt.study.confirm import candidates, confirm, how_many, open_test
from autoopt.study.journal import Journal, Record

RECIPE = dict(space().baseline().tree)


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_a_fifth_of_the_budget(seeds):
    most = 5
    for trials in range(1, 301):
        picked = how_many(trials, seeds, most)
        assert 1 <= picked <= most
        assert (picked + 1) * seeds <= trials / 5 or picked == 1, "no more than a fifth, but always one"
        assert (picked + 2) * seeds > trials / 5 or picked == most, "and as many as fit"


@pytest.mark.parametrize(
    ("trials", "seeds", "most", "expected"),
    [
        (12, 3, 5, 1),
        (30, 3, 5, 1),
        (45, 3, 5, 2),
        (60, 3, 5, 3),
        (90, 3, 5, 5),
        (200, 3, 5, 5),
        (200, 3, 2, 2),
        (60, 2, 5, 5),
        (40, 1, 9, 7),
    ],
)
def test_how_many(trials, seeds, most, expected):
    assert how_many(trials, seeds, most) == expected


@pytest.mark.parametrize("trials", [30, 45, 60, 75, 90])
def test_fifteen_to_twenty_percent(trials):
    assert 0.15 <= (how_many(trials, 3, 5) + 1) * 3 / trials <= 0.20


def record(key, score, state="complete", size=1.0, like=None):
    """A trial with a recipe of its own, or with that of another one."""
    return Record(key, "search", {**RECIPE, "batches": {"size": int(like or key)}}, 0, state, score, {"size_mb": size})


def test_candidates_are_the_baseline_and_the_best():
    found = [
        record("0", 0.1),
        record("1", 0.9),
        record("2", 0.5),
        record("3", 0.99, "stopped"),
        record("4", None, "failed"),
        record("5", 0.7),
    ]
    assert [r.key for r in candidates(found, ACCURACY, 2)] == ["0", "1", "5"]
    assert [r.key for r in candidates(found, LOSS, 2)] == ["0", "2", "5"]
    assert [r.key for r in candidates(found, ACCURACY, 9)] == ["0", "1", "5", "2"]


def test_the_baseline_stays_one_where_it_is_the_best():
    assert [r.key for r in candidates([record("0", 0.9), record("1", 0.5)], ACCURACY, 1)] == ["0", "1"]


def test_of_equals_the_smaller():
    found = [record("0", 0.1), record("1", 0.9, size=2.0), record("2", 0.9, size=1.0)]
    assert [r.key for r in candidates(found, ACCURACY, 1)] == ["0", "2"]


def test_a_failed_baseline_is_confirmed_all_the_same():
    assert [r.key for r in candidates([record("0", None, "failed"), record("1", 0.5)], ACCURACY, 1)] == ["0", "1"]


def test_each_recipe_is_taken_once():
    """TPE draws the same one again where it is good; that would only divide the seeds."""
    found = [record("0", 0.5), record("1", 0.9), record("2", 0.95, like="1"), record("3", 0.99, like="0"), record("4", 0.7)]
    assert [r.key for r in candidates(found, ACCURACY, 2)] == ["0", "2", "4"]
    assert [r.key for r in candidates(found, ACCURACY, 1)] == ["0", "2"]


class Confirmed:
    """Confirm by script: the score of a training is looked up by its key."""

    def __init__(self, path, scores=None, found=None):
        self.path, self.scores, self.trained = path, scores or {}, []
        self.found = found or [record("0", 0.5), record("1", 0.9), record("2", 0.8), record("3", 0.7)]

    def play(self, job):
        key = Path(job["log"]).parent.name
        self.trained.append(key)
        score = self.scores.get(key, self.scores.get(key.split("-")[0], 0.5))
        yield {"val_accuracy": 0.0}
        if score is None:
            raise Fails("nonfinite", "train_loss is nan")
        return outcome(**{"test_accuracy" if job.get("part") == "test" else "val_accuracy": score})

    def run(self, seeds=2, top=1):
        journal = Journal(self.path / "journal.log", "s")
        self.trained.clear()
        whole = confirm(runner(self.path, self.play), journal, ACCURACY, self.found, seeds, top, 7)
        journal.close()
        return whole


def test_fresh_seeds_and_the_best_first(tmp_path):
    study = Confirmed(tmp_path, {"0": 0.5, "1": 0.6, "2": 0.7})
    found = study.run(seeds=3, top=2)
    assert [c.key for c in found] == ["2", "1", "0"]
    assert found[0].score == pytest.approx(0.7)
    seeds = [r.seed for c in found for r in c.validation]
    assert len(set(seeds)) == 9, "every training has a seed of its own, none of them the search's"
    assert 0 not in seeds


def test_what_was_confirmed_is_not_trained_again(tmp_path):
    study = Confirmed(tmp_path)
    study.run(seeds=2, top=1)
    assert study.trained == ["0-seed-0", "0-seed-1", "1-seed-0", "1-seed-1"]
    study.run(seeds=2, top=1)
    assert study.trained == []
    study.run(seeds=2, top=2)
    assert study.trained == ["2-seed-0", "2-seed-1"]
    study.run(seeds=3, top=2)
    assert study.trained == ["0-seed-2", "1-seed-2", "2-seed-2"]
    study.found.append(record("9", 0.99))
    assert [c.key for c in study.run(seeds=3, top=2)] == ["0", "9", "1"]
    assert study.trained == ["9-seed-0", "9-seed-1", "9-seed-2"]


def test_a_training_that_failed_takes_its_candidate_out_and_is_tried_again(tmp_path):
    study = Confirmed(tmp_path, {"1": 0.9, "1-seed-1": None})
    assert [c.key for c in study.run()] == ["0"]
    study.scores = {"1": 0.9}
    assert [c.key for c in study.run()] == ["1", "0"]
    assert study.trained == ["1-seed-1"]


def test_the_test_part_is_opened_once_one_at_a_time_by_the_weights_of_confirm(tmp_path):
    study = Confirmed(tmp_path)
    found = study.run(seeds=2, top=1)
    journal = Journal(tmp_path / "journal.log", "s")
    run = runner(tmp_path, study.play, workers=4)
    pair = open_test(run, journal, found)
    assert run.executor.most == 1
    assert [j["load"] for j in run.executor.jobs] == [str(run.folder.weights(r.key)) for c in found for r in c.validation]
    assert {(j["part"], j["latency"]) for j in run.executor.jobs} == {("test", True)}
    assert [[r.key for r in c.test] for c in pair] == [[f"{r.key}-test" for r in c.validation] for c in found]
    again = runner(tmp_path, study.play)
    assert open_test(again, journal, found) == pair
    assert again.executor.jobs == []


def test_an_opening_that_fails_leaves_a_hole_and_is_tried_again(tmp_path):
    study = Confirmed(tmp_path, {"0-seed-1-test": None})
    found, journal = study.run(seeds=2, top=1), Journal(tmp_path / "journal.log", "s")
    pair = open_test(runner(tmp_path, study.play), journal, found)
    assert {c.key: [r.key for r in c.test] for c in pair} == {"0": ["0-seed-0-test"], "1": ["1-seed-0-test", "1-seed-1-test"]}
    study.scores = {}
    study.trained.clear()
    again = runner(tmp_path, study.play)
    whole = open_test(again, journal, found)
    assert study.trained == ["0-seed-1-test"]
    assert again.screen.stages == [("test", 4, 3)]
    assert [len(c.test) for c in whole] == [2, 2]


def test_another_pair_is_counted_for_itself(tmp_path):
    """What was opened for others in an earlier session is not what is done of this one."""
    study = Confirmed(tmp_path)
    found, journal = study.run(seeds=2, top=2), Journal(tmp_path / "journal.log", "s")
    open_test(runner(tmp_path, study.play), journal, found[:2])
    run = runner(tmp_path, study.play)
    open_test(run, journal, [found[0], found[2]])
    assert run.screen.stages == [("test", 4, 2)]
