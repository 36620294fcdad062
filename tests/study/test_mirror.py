"""What MLflow is told of a study."""

import json
import shutil
import subprocess
from pathlib import Path

import forked
import pytest
import scripted
from mlflow import MlflowClient
from scripted import ACCURACY, FACTS, closed, space, studied

from autoopt.orders import Measure, Outcome, Problem, Train
from autoopt.records.run_fields import parameters, searched_parameters
from autoopt.records.settled import Settled
from autoopt.records.stages import CONFIRM, SEARCH, TEST, TRAIN
from autoopt.records.stored import open_stored
from autoopt.records.verdict import Side
from autoopt.report.sentence import conclusion
from autoopt.study.conclusion import Conclusion
from autoopt.study.jobs import Job, Result
from autoopt.study.mirror import STATUS, About, Mirror, TrainingMirror, git_commit, search_listener
from autoopt.study.rebuild import rebuild_mirror
from autoopt.study.runner import NoListener
from autoopt.tracking.view import VIEW_KEY

TINY = ["name=s", "data=digits", "model=mlp", "optimizer=adamw,mine:late", "executor.workers=1"]
TINY += ["study.trials=8", "study.epochs=3", "study.confirm=1", "study.seeds=2"]
CURVES = {"val_accuracy", "val_loss", "train_loss", "lr"}
MINE = """
from torch.optim import AdamW, Optimizer

def late(params, total_steps) -> Optimizer:
    if total_steps > 2:
        raise RuntimeError("only in earnest")
    return AdamW(params)
"""


class Told:
    """A tracker that remembers what it was told."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments, time=None: self.calls.append((name, *arguments))


def about(**params):
    return About("s", "study", ACCURACY, params)


def begun(scores=None, winner=None, **params):
    """A mirror, and what its tracker is told from now on."""
    tracker = Told()
    mirror = Mirror(tracker, about(**params), None, scores, winner)
    tracker.calls.clear()
    return mirror, tracker.calls


COMPRESSED = space().baseline().replace(compression={"half": {}})


def ended(key, metrics, last, score=0.8, recipe=None):
    tracker = Told()
    mirror = Mirror(tracker, about(trials=4, epochs=3), None, {"0": 0.7})
    order = Train(key=key, recipe=recipe or space().baseline())
    mirror.end(Result(Job(order, CONFIRM), Outcome(metrics, epochs=3), epochs={3: last}, score=score))
    return tracker.calls


def test_what_is_as_after_the_last_epoch_is_not_told_twice():
    _, end = ended("0-final-0", {"val_accuracy": 0.8, "size_mb": 1.0}, {"val_accuracy": 0.8, "lr": 0.1})
    assert end[:3] == ("end", "0-final-0", "FINISHED")
    assert end[3] == {"size_mb": 1.0, "objective": 0.8, "gain": pytest.approx(0.1)}


def test_what_a_compression_changed_is_a_point_after_the_last_epoch():
    """The last step is what MLflow shows as a metric's value."""
    _, epoch, end = ended("0-final-0", {"val_accuracy": 0.75, "size_mb": 0.5}, {"val_accuracy": 0.8, "lr": 0.1}, 0.75, COMPRESSED)
    assert epoch[:4] == ("epoch", "0-final-0", 4, {"val_accuracy": 0.75})
    assert end[3] == {"size_mb": 0.5, "objective": 0.75, "gain": pytest.approx(0.05)}


def test_where_the_best_epoch_or_the_mean_over_folds_counts_the_curve_ends_with_the_last_epoch():
    _, end = ended("0-final-0", {"val_accuracy": 0.9, "size_mb": 0.5}, {"val_accuracy": 0.8, "lr": 0.1}, 0.9)
    assert end[3] == {"size_mb": 0.5, "objective": 0.9, "gain": pytest.approx(0.2)}


def test_what_was_cut_short_runs_no_more():
    mirror, calls = begun({"0": 0.7})
    jobs = [Job(Train(key=key, recipe=space().baseline()), SEARCH) for key in ("0", "1", "2")]
    for job in jobs:
        mirror.begin(job)
    mirror.end(Result(jobs[1], Outcome(epochs=3)))
    calls.clear()
    mirror.close()
    unfinished = {"autoopt.state": "unfinished"}
    ends = [("end", key, "KILLED", {}, unfinished) for key in ("0", "2")]
    assert calls == [*ends, ("conclude", "KILLED", {}, unfinished), ("close",)]


def test_a_measurement_goes_to_the_run_of_its_training():
    """What that training measured itself stays as it is, and its run lasts as long as it took."""
    mirror, calls = begun({"0": 0.7})
    order = Measure(key="0-final-0-test", recipe=space().baseline(), weights="0-final-0")
    mirror.end(Result(Job(order, TEST), Outcome({"test_accuracy": 0.9, "latency_ms": 1.0, "size_mb": 2.0}), score=0.9))
    assert [call[:-1] for call in calls] == [("measured", "0-final-0", {"test_accuracy": 0.9, "latency_ms": 1.0})]


def test_what_a_longer_search_changes_is_a_tag():
    (study, *_) = ended("1", {}, {})
    tags = {"autoopt.role": "study", "autoopt.study": "s", "autoopt.state": "running", "autoopt.trials": 4}
    assert study == ("study", "s", {"epochs": 3}, tags, None, None, None)


def job(key, stage=SEARCH):
    return Job(Train(key=key, recipe=space().baseline()), stage)


class TestARun:
    @pytest.mark.parametrize(("key", "name"), [("7", "007"), ("1234", "1234"), ("7-final-0", "7-final-0")])
    def test_begins_under_a_name_that_sorts_by_the_trials_number(self, key, name):
        mirror, calls = begun()
        mirror.begin(job(key))
        tags = {"autoopt.study": "s", "autoopt.stage": "search", "autoopt.state": "running"}
        assert calls == [("trial", key, f"{name} {space().baseline().title()}", parameters(space().baseline()), tags, None)]

    def test_says_what_it_has_other_than_the_baseline(self):
        mirror, calls = begun()
        other = space().baseline().replace(optimizer={"sgd": {"lr": 0.1}})
        for key, recipe in ("0", space().baseline()), ("1", other), ("0-final-0", space().baseline()):
            mirror.begin(Job(Train(key=key, recipe=recipe), SEARCH))
        notes = [call[4]["mlflow.note.content"] for call in calls]
        assert notes[::2] == ["the baseline"] * 2
        assert notes[1].startswith("beside the baseline: optimizer sgd (lr=0.1) instead of adamw (lr=0.001")

    def test_has_a_point_for_every_epoch(self):
        mirror, calls = begun()
        mirror.epoch(job("7"), 3, {"val_accuracy": 0.5})
        assert [call[:-1] for call in calls] == [("epoch", "7", 3, {"val_accuracy": 0.5})]

    def test_has_its_gain_over_the_baseline_once_that_is_known(self):
        mirror, calls = begun()
        for key, score in (("1", 0.5), ("0", 0.6), ("2", 0.75)):
            mirror.end(Result(job(key), Outcome(epochs=3), score=score))
        late = ("measured", "1", {"gain": pytest.approx(-0.1)})
        assert calls[1][:3] == late, "of the trial that ended before the baseline"
        axes = {"log10_lr": -3.0}
        assert [call[3] for call in (calls[0], *calls[2:])] == [
            {"objective": 0.5, "trial": 1.0, **axes},
            {"objective": 0.6, "gain": 0.0, "trial": 0.0, **axes},
            {"objective": 0.75, "gain": pytest.approx(0.15), "trial": 2.0, **axes},
        ]

    def test_that_ended_in_an_earlier_session_before_the_baseline_has_its_gain_once_that_is_known(self):
        mirror, calls = begun({"1": 0.5})
        mirror.end(Result(job("0"), Outcome(epochs=3), score=0.6))
        assert calls[0][:3] == ("measured", "1", {"gain": pytest.approx(-0.1)})

    def test_of_a_trial_of_another_study_says_where_it_ran(self):
        mirror, calls = begun()
        curves = {"epoch": [1, 2], "val_accuracy": [0.4, 0.5]}
        mirror.take(scripted.record("0", 0.5, curves=curves, seconds=10.0, origin="old/3"), 100.0)
        begin, *epochs, end = calls
        assert begin[:2] == ("trial", "0")
        assert epochs == [("epoch", "0", 1, {"val_accuracy": 0.4}, 95.0), ("epoch", "0", 2, {"val_accuracy": 0.5}, 100.0)]
        assert end[4] == {"autoopt.state": "complete", "autoopt.origin": "old/3"}
        mirror.end(Result(job("1"), Outcome(epochs=3), score=0.75))
        assert calls[-1][3]["gain"] == pytest.approx(0.25), "the baseline may be such a trial"

    def test_that_failed_has_the_reason(self):
        mirror, calls = begun({"0": 0.5})
        mirror.end(Result(job("1"), problem=Problem("nonfinite", "nan"), epochs={1: {"val_accuracy": 0.5}}))
        tags = {"autoopt.state": "failed", "autoopt.reason": "nonfinite", "autoopt.detail": "nan"}
        assert [call[:-1] for call in calls] == [("end", "1", "FAILED", {"trial": 1.0, "log10_lr": -3.0}, tags)]

    def test_of_a_study_that_was_concluded_is_not_ended_again(self, tmp_path):
        mirror, calls = begun()
        mirror.conclude(Conclusion("better", {"gain": 0.1}, {"autoopt.state": "concluded"}, [tmp_path]))
        mirror.close()
        ended = ("conclude", "FINISHED", {"gain": 0.1}, {"autoopt.state": "concluded"})
        assert calls == [("note", "better"), ("artifacts", tmp_path), ended, ("close",)]

    def test_of_the_best_trial_is_marked_and_that_of_an_earlier_verdict_no_more(self):
        mirror, calls = begun(winner=side("3", "sgd"))
        mirror.conclude(Conclusion("", {}, {}, best=side("12", "adamw")))
        assert calls[:2] == [("rename", "3", "003 sgd"), ("rename", "12", "★ 012 adamw")]
        mirror.conclude(Conclusion("", {}, {}, best=side("12", "adamw")))
        assert [call for call in calls[2:] if call[0] == "rename"] == [("rename", "12", "★ 012 adamw")]


def side(trial, title):
    return Side(trial, title, 0.0, [], 0.0, {}, {}, "")


class TestATraining:
    def mirror(self):
        tracker = Told()
        return TrainingMirror(tracker, About("t", "training", ACCURACY, {"epochs": 3})), tracker.calls

    def test_is_one_run_with_its_recipe_its_curve_and_its_model(self, tmp_path):
        mirror, calls = self.mirror()
        (tmp_path / "MLmodel").touch()
        mirror.begin(job("0", TRAIN))
        mirror.epoch(job("0", TRAIN), 1, {"val_accuracy": 0.5})
        mirror.end(Result(job("0", TRAIN), Outcome({"val_accuracy": 0.5, "size_mb": 1.0}), epochs={1: {"val_accuracy": 0.5}}, score=0.5))
        order = Measure(key="0-test", recipe=space().baseline(), weights="0")
        mirror.end(Result(Job(order, TEST), Outcome({"test_accuracy": 0.4}), score=0.4))
        mirror.conclude(Conclusion("trained", {"test_score": 0.4}, {}, [tmp_path], tmp_path))
        mirror.close()
        (name, called, params, *_), epoch, *rest = calls
        assert (name, called) == ("study", "t") and params == {"epochs": 3, **parameters(space().baseline())}
        assert epoch[:4] == ("epoch", "", 1, {"val_accuracy": 0.5})
        assert rest == [
            ("measured", "", {"size_mb": 1.0, "objective": 0.5}),
            ("measured", "", {"test_accuracy": 0.4}),
            ("note", "trained"),
            ("model", tmp_path, "t"),
            ("conclude", "FINISHED", {"test_score": 0.4}, {}),
            ("close",),
        ]

    @pytest.mark.parametrize(("recipe", "points"), [(None, []), (COMPRESSED, [("epoch", "", 2, {"val_accuracy": 0.7})])])
    def test_has_a_point_after_its_last_epoch_of_what_a_compression_changed(self, recipe, points):
        mirror, calls = self.mirror()
        order = Train(key="0", recipe=recipe or space().baseline())
        mirror.end(Result(Job(order, TRAIN), Outcome({"val_accuracy": 0.7}, epochs=1), epochs={1: {"val_accuracy": 0.5}}, score=0.7))
        *before, end = calls
        assert [call[:4] for call in before] == points and end == ("measured", "", {"objective": 0.7})

    @pytest.mark.parametrize(
        ("problem", "status", "tags"),
        [
            (None, "KILLED", {"autoopt.state": "unfinished"}),
            (Problem("nonfinite", "nan"), "FAILED", {"autoopt.state": "failed", "autoopt.reason": "nonfinite", "autoopt.detail": "nan"}),
        ],
    )
    def test_that_did_not_end_well(self, problem, status, tags):
        mirror, calls = self.mirror()
        mirror.begin(job("0", TRAIN))
        if problem:
            mirror.end(Result(job("0", TRAIN), problem=problem))
        mirror.close()
        assert calls[1:] == [("conclude", status, {}, tags), ("close",)]


def test_a_model_that_mlflow_cannot_load_is_not_logged(tmp_path):
    tracker = Told()
    Conclusion("", {}, {}, [tmp_path], tmp_path).tell(tracker, "s")
    assert [call[0] for call in tracker.calls] == ["note", "artifacts", "conclude"]


def test_the_leaderboard_shows_what_is_searched():
    whole = space("model=mlp", "model.mlp.width=64,128", "model.mlp.depth=2", "batches.size=32,64")
    techniques = ["regularizer", "optimizer", "lr", "weight_decay", "schedule", "batch_size"]
    assert searched_parameters(whole) == [*techniques, "model.mlp.width", "model.mlp.connection"]


def test_what_people_filter_by_has_a_short_name_too():
    given = parameters(space().baseline())
    assert {"lr", "weight_decay", "batch_size", "optimizer"} <= given.keys()
    assert (given["lr"], "beta1" in given) == (given["optimizer.adamw.lr"], False)


class TestTheListenerOfAStudy:
    def told(self, path, monkeypatch, *overrides, facts=FACTS):
        tracker = Told()
        monkeypatch.setattr("autoopt.study.mirror.Tracker", lambda *_, **where: tracker.calls.append(where) or tracker)
        study = studied(path / "s", None, "study.trials=4", "study.epochs=3", *overrides)
        study.journal.add(SEARCH, scripted.record("0", 0.5))
        study.journal.add(SEARCH, scripted.record("1", 0.75))
        made = search_listener(study.tree, study.folder, Settled(study.space, study.goal, "test"), study.journal, facts)
        closed(study)
        return made, tracker.calls

    def test_is_none_where_tracking_is_off(self, tmp_path, monkeypatch):
        made, calls = self.told(tmp_path, monkeypatch)
        assert isinstance(made, NoListener) and calls == []

    @pytest.mark.parametrize(("examples", "data"), [("abc", {"name": "digits", "digest": "abc"}), ("", None)])
    @pytest.mark.parametrize("commit", ["0123", ""])
    def test_tells_the_store_what_is_searched(self, tmp_path, monkeypatch, examples, data, commit):
        monkeypatch.setattr("autoopt.study.mirror.git_commit", lambda: commit)
        made, calls = self.told(tmp_path, monkeypatch, "tracking.enabled=true", facts=FACTS | {"examples": examples})
        where, (_, name, params, tags, told, view, _) = calls
        assert (view["name"], view["objective"], view["direction"]) == ("s", "val_accuracy", "maximize")
        assert where["experiment"] == name == "s"
        assert (params, told) == ({"objective": "val_accuracy", "data": "digits", "epochs": 3}, data)
        assert tags.get("mlflow.source.git.commit", "") == commit and tags["autoopt.trials"] == 4
        assert (made.baseline_score, made.note(made.baseline)) == (0.5, {"mlflow.note.content": "the baseline"}), (
            "a resumed search knows it"
        )


def search(folder, *words):
    forked.end(forked.start(["search", *TINY, *words], folder), folder)


@pytest.mark.slow
def test_a_real_search_in_a_real_store(tmp_path, store, template):
    (tmp_path / "mine.py").write_text(MINE)
    search(tmp_path)
    search(tmp_path, "study.trials=9")
    client, study = MlflowClient(store), open_stored("s", str(tmp_path / "autoopt-runs"))
    found = client.search_runs([client.get_experiment_by_name("s").experiment_id], max_results=100)
    (parent,) = (run for run in found if run.data.tags["autoopt.role"] == "study")
    trials = {run.data.tags["autoopt.trial"]: run for run in found if run.data.tags["autoopt.role"] == "trial"}

    verdict = (study.path / "verdict.yaml").read_text()
    assert (parent.info.run_name, parent.info.status) == ("s", "FINISHED")
    tags = {"autoopt.study": "s", "autoopt.state": "concluded", "autoopt.trials": "9", "autoopt.winner": study.verdict.winner.trial}
    assert tags.items() <= parent.data.tags.items()
    assert conclusion(study.verdict) in parent.data.tags["mlflow.note.content"]
    assert parent.data.params == {"objective": "val_accuracy", "data": "digits", "epochs": "3"}
    assert [d.dataset.name for d in parent.inputs.dataset_inputs] == ["digits"], "once, although it was told by both sessions"
    assert len(parent.inputs.dataset_inputs[0].dataset.digest) == 16 and parent.data.tags["mlflow.source.name"] == "autoopt search"
    metrics, best, winner = parent.data.metrics, study.verdict.best, study.verdict.winner
    assert (metrics["gain"], metrics["objective"], metrics["test_score"]) == (study.verdict.gain, winner.validation, winner.score)
    assert metrics["baseline_test_score"] == study.verdict.baseline.score and metrics["trials_failed"] == study.verdict.counts["failed"]
    (model,) = client.search_logged_models([parent.info.experiment_id])
    assert (model.name, model.source_run_id, model.status) == ("s", parent.info.run_id, "READY")
    assert [output.model_id for output in parent.outputs.model_outputs] == [model.model_id], "once, although there were two verdicts"
    starred = [run.data.tags["autoopt.trial"] for run in found if run.info.run_name.startswith("★")]
    assert starred == [best.trial]
    kept = Path(client.download_artifacts(parent.info.run_id, ""))
    assert (kept / "verdict.yaml").read_text() == verdict
    assert not (kept / "best").exists(), "the model holds it"
    files = {file.path for file in client.list_logged_model_artifacts(model.model_id)}
    assert files == {path.name for path in (study.path / "best").iterdir()}

    records = [record for stage in ("search", "confirm", "final", "ablation") for record in study.records[stage]]
    assert trials.keys() == {record.key for record in records}
    assert {run.info.status for run in trials.values()} == {"FINISHED", "KILLED", "FAILED"}
    for record in records:
        run = trials[record.key]
        assert run.info.status == STATUS[record.state]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        reason = {"autoopt.reason": record.reason} if record.reason else {}
        tags = {"autoopt.study": "s", "autoopt.stage": record.stage, "autoopt.state": record.state, **reason}
        assert tags.items() <= run.data.tags.items()
        assert {k: str(v) for k, v in parameters(record.point).items()}.items() <= run.data.params.items()
        assert {"optimizer", "schedule", "batch_size"} <= run.data.params.keys()
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        assert [point.value for point in history.get("val_accuracy", [])] == list(record.curve("val_accuracy").values())
        assert all([p.step for p in history[name]] == list(range(1, record.epochs + 1)) for name in history.keys() & CURVES)
        assert [name for name in history.keys() - CURVES if [p.step for p in history[name]] != [0]] == []
        assert record.state == "failed" or run.data.metrics["objective"] == record.score
    adamw = trials["0"].data.params
    assert (adamw["optimizer"], adamw["lr"], adamw["weight_decay"], adamw["batch_size"]) == ("adamw", "0.001", "0.01", "64")
    for record in study.records["test"]:
        assert trials[record.key.removesuffix("-test")].data.metrics["test_accuracy"] == record.score

    trained = min(study.records["final"], key=lambda record: record.elapsed)
    took = (trials[trained.key].info.end_time - trials[trained.key].info.start_time) / 1000
    (measured,) = (record for record in study.records["test"] if record.key == f"{trained.key}-test")
    assert took - trained.seconds < (measured.elapsed - trained.elapsed) / 2, "a measurement lengthens no training"

    other = rebuild_mirror(study, f"sqlite:///{shutil.copy(template, tmp_path / 'other.db')}")
    again = MlflowClient(other.uri)
    copies = again.search_runs([again.get_experiment_by_name("s").experiment_id], max_results=100)
    assert {facts(run) for run in copies} == {facts(run) for run in found}
    assert leaderboard_columns(again) == leaderboard_columns(client), "the saved view has the columns that the search gave it"
    rebuild_mirror(study, other.uri)
    assert len(again.search_runs([again.get_experiment_by_name("s").experiment_id], max_results=100)) == len(copies)
    curve = next(run for run in copies if run.data.tags.get("autoopt.trial") == "0").info.run_id
    assert len(again.get_metric_history(curve, "val_accuracy")) == 3, "once"


def leaderboard_columns(client):
    tags = client.get_experiment_by_name("s").tags
    (view,) = (value for key, value in tags.items() if key.startswith(VIEW_KEY.format("")))
    return json.loads(json.loads(view)["state"])["selectedColumns"]


def facts(run):
    """What a run shows, in a form that can be compared."""
    tags = {key: value for key, value in run.data.tags.items() if key.startswith("autoopt.") and key != "autoopt.version"}
    shown = (run.info.run_name, run.info.status, run.data.metrics, run.data.params, tags)
    return json.dumps(shown, sort_keys=True)


def test_the_commit(tmp_path, monkeypatch):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        return subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() == "", "not under git"
    git("init", "-q")
    assert git_commit() == "", "nothing committed yet"
    git("commit", "-q", "--allow-empty", "-m", "first")
    assert git_commit() == git("rev-parse", "HEAD")
    monkeypatch.setenv("PATH", "")
    assert git_commit() == "", "no git"
