"""The stages in their order, to the verdict, by an executor that plays scripts."""

import math
import subprocess
from pathlib import Path

import pytest
import yaml
from scripted import PLAIN, SPACE, Fails, Killed, Quiet, Scripted, composed, outcome

from autoopt.deployment.card import KNOWN
from autoopt.errors import BadInput, NotConcluded
from autoopt.space import Space
from autoopt.study import search as module
from autoopt.study.folder import derived_seed
from autoopt.study.search import CONFIRM_SHARE, git_commit, own_baseline, recalled, search
from autoopt.study.stored import stored

FACTS = {"examples": "0", "sources": {}, "absent": {}, "test": True} | dict.fromkeys(KNOWN)
BASELINE = Space(composed(*SPACE, *PLAIN)).baseline()
MOMENTUM = Space(composed(*SPACE, *PLAIN, "optimizer=momentum", "optimizer.momentum.lr=0.07")).baseline().tree["optimizer"]


@pytest.fixture
def study(tmp_path, monkeypatch):
    return Study(tmp_path, monkeypatch)


class Study:
    """A study whose trials end as `ends` says, by their key (`7`, `confirm/0-seed-1`, `preflight/optimizer-sgd`): a score,
    what fails, or a whole outcome."""

    def __init__(self, path, monkeypatch):
        self.path, self.ends, self.facts, self.asked, self.turn = path, {}, FACTS, [], lambda turn: None
        monkeypatch.setattr(module, "local", self.local)

    def local(self, tree, folder):
        self.executor = Scripted(self.play, self.turn)
        self.executor.facts, self.executor.workers = self.facts, tree["executor"]["workers"]
        return self.executor

    def play(self, job):
        key = str(Path(job["log"]).parent.relative_to(self.path / "s" / "trials"))
        self.asked.append(key)
        if "onnx" in job:
            return {"metrics": {}, "stopped": False}
        end = self.ends.get(key, 0.5 + derived_seed(0, key) / 2**33)
        yield {"val_accuracy": 0.1}
        if isinstance(end, Fails):
            raise end
        if isinstance(end, dict):
            return end
        if "save" in job:
            Path(job["save"]).write_text("")
        return outcome(**{"test_accuracy" if job.get("part") == "test" else "val_accuracy": end})

    def tree(self, *overrides, baseline=None):
        budget = ("study.trials=6", "study.epochs=3", "study.seeds=2", "executor.workers=1", "tracking.enabled=false")
        return {**composed(*SPACE, *PLAIN, *budget, *overrides), "name": "s", "root": str(self.path), "baseline": baseline}

    def search(self, *overrides, baseline=None, **how):
        self.asked.clear()
        self.screen = Quiet()
        return search(self.tree(*overrides, baseline=baseline), self.screen, **how)

    def records(self, stage="search"):
        return {r.key: r for r in stored("s", str(self.path)).records[stage]}

    def trained(self):
        """The keys that were asked for, without the preflight's and the graph's."""
        return [key for key in self.asked if not key.startswith(("preflight/", "export"))]

    def baseline(self, **nodes):
        path = self.path / "mine.yaml"
        path.write_text(BASELINE.replace(**nodes).yaml())
        return str(path)


def test_from_the_preflight_to_the_verdict(study):
    study.ends = {"preflight/optimizer-sgd": Fails("lost", "killed by SIGKILL"), "0": 0.1, "0-seed-0": 0.1, "0-seed-1": 0.11}
    verdict = study.search()
    assert (verdict.part, verdict.opened) == ("test", 2)
    assert verdict.winner.key != "0"
    assert study.trained()[:6] == list("012345")
    said = yaml.safe_load((study.path / "s" / "verdict.yaml").read_text())
    assert (said["dropped"], said["quarantined"]) == ({"optimizer/sgd": "lost: killed by SIGKILL"}, ["optimizer/sgd"])
    assert study.screen.said[-1] == "quarantined: optimizer/sgd: lost: killed by SIGKILL"
    assert not any("sgd" in record.recipe["optimizer"] for record in study.records().values())


class TestItsSpaceStays:
    def test_a_resumed_search_recalls_it_and_tries_nothing(self, study):
        study.ends = {"preflight/optimizer-sgd": Fails("lost", "killed by SIGKILL")}
        first = study.search()
        assert study.asked[0] == "preflight/baseline"
        study.ends = {}  # it is repaired
        verdict = study.search("study.trials=12")
        assert not any(key.startswith("preflight/") for key in study.asked)
        assert (verdict.dropped, verdict.quarantined, verdict.objective) == (first.dropped, first.quarantined, first.objective)
        assert verdict.quarantined == ["optimizer/sgd"]
        assert len(study.records()) == 12
        assert {name for r in study.records().values() for name in r.recipe["optimizer"]} == {"adamw"}

    def test_what_broke_since_is_not_left_out(self, study):
        study.search()
        study.ends = {"preflight/optimizer-sgd": Fails("lost", "killed by SIGKILL")}
        assert study.search("study.trials=12").dropped == {}

    def test_recalled(self):
        locked = {
            "left_out": {"optimizer/sgd": "boom", "schedule/cosine": "no such thing", "device/cuda": "no CUDA device"},
            "quarantined": ["optimizer/sgd"],
            "objective": "val_loss",
            "direction": "minimize",
        }
        space, objective = recalled(Space(composed(*SPACE, *PLAIN)), locked)
        assert space.dropped == {"optimizer/sgd": "boom", "schedule/cosine": "no such thing"}, "what has dropped out already is no matter"
        assert (space.broken, list(space.tree["optimizer"])) == ({"optimizer/sgd"}, ["adamw"])
        assert (objective.name, objective.direction) == ("val_loss", "minimize")


class TestNotConcluded:
    def test_the_baseline_fails(self, study):
        study.ends = {"0": Fails("lost", "killed by SIGKILL")}
        said = "the baseline failed, and there is nothing to compare with .lost: killed by SIGKILL.; another name= begins anew"
        with pytest.raises(NotConcluded, match=said) as caught:
            study.search()
        assert caught.value.exit_code == 4
        assert study.trained() == ["0"]
        study.ends = {}
        for asking in (True, False):
            with pytest.raises(NotConcluded, match=said):
                study.search(asking=asking)
            assert study.asked == []

    def test_the_baseline_cannot_be_confirmed(self, study):
        study.ends = {"0-seed-1": Fails("timeout", "too long")}
        with pytest.raises(NotConcluded, match=r"the baseline cannot be confirmed: timeout: too long \(logs: .*/s/trials\)"):
            study.search()
        assert not (study.path / "s" / "verdict.yaml").exists()
        study.ends = {}
        assert study.search().part == "test"
        assert study.trained()[0] == "0-seed-1"

    def test_the_test_split_cannot_be_measured(self, study):
        """It does not fall back to the validation part; the next run tries again."""
        study.ends = {"0-seed-1-test": Fails("error", "no such file")}
        with pytest.raises(NotConcluded, match=r"the test split cannot be measured: error: no such file \(logs: .*/s/trials\)") as caught:
            study.search()
        assert caught.value.exit_code == 4
        assert not (study.path / "s" / "verdict.yaml").exists()
        assert not (study.path / "s" / "best").exists()
        study.ends = {}
        assert study.search().part == "test"
        assert study.trained() == ["0-seed-1-test"]


def test_without_a_test_split_the_validation_part_is_weighed(study):
    study.facts = FACTS | {"test": False}
    study.ends = {"0": 0.1, **dict.fromkeys(("0-seed-0", "0-seed-1"), 0.1)}
    verdict = study.search()
    assert (verdict.part, verdict.opened) == ("validation", 0)
    assert "(there is no test split: this one chose the winner, so the gain is flattered)" in verdict.conclusion()
    assert not any(key.endswith("-test") for key in study.asked)


class TestABaselineOfItsOwn:
    def test_it_is_trial_0_on_the_data_the_split_and_the_epochs_of_the_study(self, study):
        split = BASELINE.tree["split"] | {"test": 0.3}
        file = study.baseline(optimizer=MOMENTUM, data={"breast_cancer": {}}, split=split, study={"epochs": 77}, batches={"size": 50})
        verdict = study.search(baseline=file)
        recipe = study.records()["0"].recipe
        own = study.tree()
        assert recipe["optimizer"]["momentum"]["lr"] == 0.07
        assert recipe["batches"]["size"] == 50
        assert (list(recipe["data"]), recipe["split"], recipe["study"]) == (["digits"], own["split"], {"epochs": 3})
        assert dict(own_baseline(study.tree(baseline=file)).tree) == recipe
        assert dict(verdict.baseline.recipe.tree) == recipe
        assert "preflight/own-baseline" in study.asked

    def test_it_is_refused_where_it_cannot_be_trained(self, study):
        broken = {"problem": {"slot": "optimizer", "name": "momentum", "detail": "boom", "said": "optimizer/momentum: boom"}}
        study.ends = {"preflight/own-baseline": broken | {"stopped": False}}
        with pytest.raises(BadInput, match=r"^baseline=.*/mine\.yaml cannot be trained: optimizer/momentum: boom$"):
            study.search(baseline=study.baseline(optimizer=MOMENTUM))
        assert not (study.path / "s" / "space.yaml").exists()

    def test_another_one_is_another_study(self, study):
        study.search(baseline=study.baseline())
        with pytest.raises(BadInput, match=r"s was begun with baseline\.batches\.size="):
            study.search(baseline=study.baseline(batches={"size": 51}))

    def test_what_it_leaves_open_is_refused_before_anything_starts(self, study):
        file = study.path / "mine.yaml"
        file.write_text("data: digits\noptimizer: adamw,sgd\n")
        with pytest.raises(BadInput, match=r"a recipe leaves nothing to choose, but .* is open"):
            study.search(baseline=str(file))
        assert not (study.path / "s").exists()


class TestWithoutAsking:
    def test_it_concludes_with_what_there_is(self, study):
        study.search("study.trials=4")
        verdict = study.search("study.trials=50", asking=False)
        assert list(study.records()) == list("0123")
        assert verdict.counts["complete"] + verdict.counts["stopped"] == 4

    @pytest.mark.parametrize(("begun", "left"), [(3, ["0"]), (6, [])])
    def test_of_the_interrupted_the_baseline_alone_is_run(self, study, begun, left):
        def die(turn):
            if len(study.trained()) == begun:
                raise Killed

        more, study.turn = ("study.trials=30", "executor.workers=3", "study.stopping=false"), die
        with pytest.raises(Killed):
            study.search(*more)
        before, study.turn = set(study.records()), lambda turn: None
        study.search(*more, asking=False)
        assert [key for key in study.trained() if "seed" not in key] == left
        assert study.records().keys() == before | {"0"}


class TestTime:
    """The clock of the executor counts its turns; what it took here is next to nothing."""

    def after(self, study, seconds, *more):
        """How many trials there are where the time without confirm's share is so long."""
        study.search(*more, f"study.time={math.ceil(seconds / (1 - CONFIRM_SHARE))}s")
        return len(study.records())

    @pytest.mark.parametrize("workers", [1, 3])
    def test_earlier_sessions_count(self, study, workers):
        more = (f"executor.workers={workers}", "study.stopping=false")
        study.search(*more, "study.trials=12")
        used = sum(r.seconds for r in study.records().values()) / workers
        assert used > 6
        assert self.after(study, used - 3, *more, "study.trials=20") == 12
        assert self.after(study, used + 60, *more, "study.trials=20") == 20

    def test_those_of_compress_count_too(self, study):
        more = ("compression=prune_magnitude", "study.stopping=false", "study.trials=8")
        study.search(*more, "study.trials=4", "study.compress=12")
        used = [sum(r.seconds for r in study.records(stage).values()) for stage in ("search", "compress")]
        assert used[1] > 8
        assert self.after(study, used[0] + used[1] / 2, *more) == 4
        assert self.after(study, used[0] + used[1] + 60, *more) == 8

    def test_compress_stops_too(self, study):
        more = ("compression=prune_magnitude", "study.stopping=false", "study.trials=4")
        study.search(*more, "study.compress=3")
        used = sum(r.seconds for stage in ("search", "compress") for r in study.records(stage).values())
        self.after(study, used - 3, *more, "study.compress=9")
        assert len(study.records("compress")) == 3
        self.after(study, used + 60, *more, "study.compress=9")
        assert len(study.records("compress")) == 9


def test_a_store_that_cannot_be_used_is_refused_before_anything_starts(study):
    with pytest.raises(BadInput, match=r"tracking\.uri=file:///tmp/x: "):
        study.search("tracking.enabled=true", "tracking.uri=file:///tmp/x")
    assert (study.asked, list(study.path.iterdir())) == ([], [])


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
