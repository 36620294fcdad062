"""The stages in their order, to the verdict, by an executor that plays scripts."""

import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from scripted import ACCURACY, FACTS, PLAIN, SPACE, Fails, Killed, Quiet, Scripted, composed, outcome, record

from autoopt.config import compose, from_file
from autoopt.deployment.card import CARD_FACTS
from autoopt.errors import BadInput, NotConcluded
from autoopt.goal import Bound, Goal, Objective
from autoopt.orders import Graph, Measure, Serve, Train, TryOut
from autoopt.records.explanation import Rival, Simpler
from autoopt.records.folder import derived_seed
from autoopt.records.journal import Journal
from autoopt.records.settled import recall
from autoopt.records.stored import open_stored
from autoopt.records.verdict import Limit, read_verdict
from autoopt.report.frame import record_row
from autoopt.report.numbers import number
from autoopt.report.reasons import reasons
from autoopt.space import Space
from autoopt.store import Store
from autoopt.study.baseline import own_baseline
from autoopt.study.budget import ABLATION_SHARE, CONFIRM_SHARE
from autoopt.study.memory import nearest_values
from autoopt.study.runner import NoListener
from autoopt.study.search import search
from autoopt.study.successor import trained_otherwise
from autoopt.study.train import train

BASELINE = Space.of(composed(*SPACE, *PLAIN)).baseline()
MOMENTUM = Space.of(composed(*SPACE, *PLAIN, "optimizer=momentum", "optimizer.momentum.lr=0.07")).baseline().tree["optimizer"]


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


class Study:
    """A study whose trials end as `ends` says, by their key (`7`, `0-final-1`, `preflight/optimizer-sgd`): a score, what
    fails, or a whole outcome."""

    def __init__(self, path):
        self.hangs, self.name, self.path, self.ends = set(), "s", path, {}
        self.facts, self.asked, self.turn = FACTS | dict.fromkeys(CARD_FACTS), [], lambda turn: None
        self.costs = {"latency_ms": 1.0, "size_mb": 1.0}

    def play(self, order):
        self.asked.append(order.key)
        if isinstance(order, Graph | Serve):
            return outcome()
        while order.key in self.hangs:
            yield {"val_accuracy": 0.1}
        end = self.ends.get(order.key, 0.5 + derived_seed(0, order.key) / 2**33)
        yield {"val_accuracy": 0.1, "train_loss": 0.1, "seconds": 0.1}
        if isinstance(end, Fails):
            raise end
        if not isinstance(end, float):
            return end
        if not isinstance(order, Measure | TryOut):
            with Store(self.path / self.name).writing(order.key) as weights:
                weights.write_text("")
        metrics = {"test_accuracy": end} if isinstance(order, Measure) else {"val_accuracy": end, "train_loss": end, "seconds": end}
        tried = {"test_accuracy": end} if isinstance(order, TryOut) and self.facts["test"] else {}
        return type(outcome())(metrics | self.costs, epochs=1, tested=tried)

    def tree(self, *overrides, baseline=None):
        budget = ("study.trials=6", "study.epochs=3", "study.seeds=2", "executor.workers=1")
        return {**composed(*SPACE, *PLAIN, *budget, *overrides), "name": "s", "root": str(self.path), "baseline": baseline}

    def search(self, *overrides, baseline=None, **how):
        self.asked.clear()
        self.screen, tree = Quiet(), self.tree(*overrides, baseline=baseline)
        self.executor = Scripted(self.play, self.path / "s", tree["executor"]["workers"], self.turn, self.facts)
        return search(tree, self.screen, self.executor, **how)

    def records(self, stage="search"):
        return {r.key: r for r in open_stored("s", str(self.path)).records[stage]}

    def trained(self):
        """The keys that were asked for, without the preflight's and the graph's."""
        return [key for key in self.asked if not key.startswith(("preflight/", "export"))]

    def baseline(self, **nodes):
        path = self.path / "mine.yaml"
        path.write_text(BASELINE.replace(**nodes).yaml())
        return str(path)


def test_from_the_preflight_to_the_verdict(study):
    study.ends = {"preflight/optimizer-sgd": Fails("error", "killed"), "0": 0.1, "0-final-0": 0.1, "0-final-1": 0.11}
    verdict = study.search()
    assert (verdict.part, verdict.test_opened_for) == ("test", 2)
    winner = verdict.winner.trial
    assert winner != "0"
    assert study.trained() == [
        *"012345", "0-final-0", f"{winner}-final-0", "0-final-1", f"{winner}-final-1",
        "0-final-0-test", f"{winner}-final-0-test", "0-final-1-test", f"{winner}-final-1-test",
    ]  # fmt: skip
    kept = {order.key: order.keep for order in study.executor.orders if isinstance(order, Train)}
    assert kept == dict.fromkeys("012345", False) | {f"{trial}-final-{i}": True for trial in ("0", winner) for i in (0, 1)}
    assert (verdict.dropped, verdict.quarantined) == ({"optimizer/sgd": "killed"}, ("optimizer/sgd",))
    assert "quarantined: optimizer/sgd: killed" in study.screen.lines
    assert "baseline: mlp, adamw constant" in study.screen.lines
    assert not any(line.startswith("left out") for line in study.screen.lines)
    for side in (verdict.baseline, verdict.winner):
        assert side.score == pytest.approx(sum(side.scores) / 2) and len(side.scores) == 2
    assert verdict.searched == study.records()[winner].score and verdict.rival is None
    assert verdict.ablation is None, "the interval includes 0"
    assert verdict.baseline.validation == pytest.approx(0.105)
    assert not any("sgd" in record.recipe["optimizer"] for record in study.records().values())


def opened():
    """The files that this process has open."""
    return [file.resolve() for file in Path("/proc/self/fd").iterdir()]


class TestWarmingUp:
    def test_the_log_is_named_before_anything_happens_and_the_executor_is_closed_at_the_end(self, study):
        study.search("study.trials=1")
        assert study.screen.lines[0] == f"s: warming up (log: {study.path}/s/template.log)"
        assert study.executor.closed
        assert not [file for file in opened() if file.is_relative_to(study.path)]

    def test_what_the_executor_refuses_leaves_no_folder(self, study):
        class Refusing(Scripted):
            def now(self):
                raise BadInput("data=digits: no such file")

        executor = Refusing(study.play, study.path / "s")
        with pytest.raises(BadInput, match="no such file"):
            search(study.tree(), Quiet(), executor)
        assert not study.path.exists() and executor.closed

    def test_other_data_are_another_study(self, study):
        study.search("study.trials=1")
        study.facts |= {"examples": "1"}
        with pytest.raises(BadInput, match="the data of s has changed since it was begun"):
            study.search("study.trials=1")
        assert study.executor.closed

    def test_what_cannot_work_here_is_left_out(self, study):
        study.ends = {"preflight/optimizer-sgd": Fails("plugin", "no closure", "optimizer", "sgd", unavailable=True)}
        study.search("study.trials=1")
        assert any(line.startswith("left out: optimizer/sgd: ") for line in study.screen.lines)
        assert not any(line.startswith("quarantined") for line in study.screen.lines)


def test_records_that_mlflow_lacks_at_the_end_are_told(study, monkeypatch):
    class Lacking(NoListener):
        def close(self):
            return 3

    monkeypatch.setattr("autoopt.study.search.search_listener", lambda *_: Lacking())
    study.search("study.trials=1")
    way = f"the next run of this command tries again (log: {study.path}/s/tracking.log"
    assert study.screen.lines[-1] == f"MLflow lacks 3 records so far; {way})"
    (study.path / "s" / "tracking.log").write_text("first\nout-of-date database schema\n")
    study.search("study.trials=1")
    assert study.screen.lines[-1] == f"MLflow lacks 3 records so far; {way}, which ends with: out-of-date database schema)"


def test_a_study_is_not_concluded_before_its_best_model_is_written(study, monkeypatch):
    def killed(*_):
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("autoopt.study.publish.export", killed)
        study.search()
    assert open_stored("s", str(study.path)).verdict is None
    study.search()
    assert open_stored("s", str(study.path)).state == "concluded"


def test_a_metric_under_the_name_of_another_column_has_one_of_its_own():
    row = record_row(record("7", 0.5, metrics={"loss": 0.25, "score": 3.0, "val_loss": 0.125}, epochs=2))
    assert (row["metrics.loss"], row["metrics.score"], row["val_loss"]) == (0.25, 3.0, 0.125)
    assert (row["loss"], row["score"], row["epochs"]) == ("cross_entropy", 0.5, 2)


@pytest.mark.slow
def test_notes_on_the_data_and_changed_code_are_told_before_the_search(study):
    study.facts |= {"notes": ["the training part lacks the class 7"], "told": ["3 columns"], "sources": {"model=mine:Net": "a"}}
    study.search()
    assert {"data: the training part lacks the class 7", "3 columns"} <= {*study.screen.lines}
    study.facts |= {"sources": {"model=mine:Net": "b"}}
    study.search("study.trials=7")
    assert any(line.startswith("model=mine:Net: its file has changed since s was begun") for line in study.screen.lines)


@pytest.mark.slow
def test_of_several_candidates_the_winner_is_chosen_on_seeds_of_their_own(study):
    study.ends = {"preflight/optimizer-sgd": Fails("error", "no")}
    more = (
        "study.trials=60",
        "study.patience=null",
        "study.stopping=false",
        "study.seeds=3",
        "strategy=random",
    )  # which ranks by the scores
    study.ends |= {"6": 0.96, "7": 0.97, "8": 0.98, "9": 0.99}
    study.ends |= {"6-confirm-0": 0.5, "7-confirm-0": 0.99, "7-confirm-1": 0.98, "8-confirm-0": 0.6}
    study.ends |= {"9-confirm-0": 0.7, "9-confirm-1": 0.7}
    verdict = study.search(*more)
    confirmed = [key for key in study.trained() if "confirm" in key]
    assert confirmed == ["9-confirm-0", "8-confirm-0", "7-confirm-0", "6-confirm-0", "7-confirm-1", "9-confirm-1"]
    assert not any(order.keep for order in study.executor.orders if "confirm" in order.key)
    assert verdict.winner.trial == "7"
    assert verdict.searched == 0.97, "it shrinks or grows on fresh seeds"
    assert verdict.rival == Rival("9", pytest.approx(0.985 - 0.7), 1.0), "the noise of the final seeds is far smaller"
    assert verdict.trainings == 60 + 6 + 6
    assert len({r.seed for r in study.records("confirm").values()} | {r.seed for r in study.records("final").values()}) == 2 + 3


class TestWhyTheWinnerWon:
    MORE = ("study.stopping=false", "study.trials=12")

    def won(self, study, *overrides, **how):
        """Trial 1 wins, and no change of the baseline does anything by itself."""
        seeds = {f"{key}-final-{i}": score + i / 1000 for key, score in (("0", 0.1), ("1", 0.9)) for i in range(3)}
        study.ends |= {"0": 0.1, "1": 0.99, "1-confirm-0": 0.99, "1-confirm-1": 0.99} | seeds
        study.ends |= {f"{key}-test": score for key, score in seeds.items()}
        return study.search(*self.MORE, "study.seeds=3", *overrides, **how)

    def test_is_said_in_the_verdict_and_in_its_file(self, study):
        verdict = self.won(study)
        trained = [key for key in study.trained() if key.startswith("ablation-")]
        assert trained == list(study.records("ablation")) and 0 < len(trained) <= 10
        assert verdict.trainings == 12 + 6 + len(trained)
        assert not any(order.keep for order in study.executor.orders if order.key in trained)
        assert verdict.ablation.seeds == 2 and len(verdict.ablation.left_out) > 1
        assert verdict.importance is None, "all trials have the same curve"
        tree = yaml.safe_load((study.path / "s" / "verdict.yaml").read_text())
        assert read_verdict(tree) == verdict == open_stored("s", str(study.path)).verdict

    @pytest.mark.slow
    def test_is_not_found_out_twice(self, study):
        verdict = self.won(study)
        again = self.won(study)
        assert study.trained() == [] and asdict(again) | {"elapsed": 0} == asdict(verdict) | {"elapsed": 0}

    @pytest.mark.slow
    def test_a_simpler_recipe_that_is_as_good_stands_beside_the_best(self, study, monkeypatch):
        verdict = self.won(study)
        assert verdict.ablation.simpler is None and not (study.path / "s" / "best" / "simple.yaml").exists()
        simpler = Simpler(dict(verdict.winner.recipe) | {"regularizer": {}}, 0.0, (-0.1, 0.1), 0.0)
        found = replace(verdict, ablation=replace(verdict.ablation, simpler=simpler))
        monkeypatch.setattr("autoopt.study.search.explain", lambda *_: found)
        self.won(study)
        file = study.path / "s" / "best" / "simple.yaml"
        assert Space.of(compose(from_file(str(file)))).baseline().tree == simpler.recipe

    def test_failures_spoil_nothing(self, study):
        play = study.play
        study.play = lambda order: failing(order) if order.key.startswith("ablation-") else play(order)
        verdict = self.won(study)
        assert verdict.better and {effect.fault for effect in verdict.ablation.left_out} == {"nonfinite: nan"}
        assert [len(effect.changes) for effect in verdict.ablation.path] == [sum(len(e.changes) for e in verdict.ablation.left_out)]

    @pytest.mark.slow
    def test_has_a_tenth_of_the_time(self, study):
        limit = 200
        self.won(study, "study.trials=500", "strategy=random", f"study.time={limit}s")
        assert study.records("ablation") and study.executor.now() <= limit * 1.05 + 2
        searched = max(r.elapsed for r in study.records().values())
        assert searched <= limit * (1 - CONFIRM_SHARE - ABLATION_SHARE) + 2


def failing(order):
    yield {"val_accuracy": 0.1}
    raise Fails("nonfinite", "nan")


def test_the_verdict_comes_back_from_its_file(study):
    verdict = study.search()
    tree = yaml.safe_load((study.path / "s" / "verdict.yaml").read_text())
    assert read_verdict(tree) == verdict == open_stored("s", str(study.path)).verdict
    assert asdict(read_verdict(tree)) == asdict(verdict)
    assert "&" not in (study.path / "s" / "verdict.yaml").read_text(), "no aliases for people to read"
    assert {"conclusion", "better", "level"} <= tree.keys()


@pytest.mark.slow
def test_it_ends_where_the_total_was_reached_before(study):
    verdict = study.search()
    again = study.search()
    assert study.trained() == []
    assert asdict(again) | {"elapsed": 0} == asdict(verdict) | {"elapsed": 0}


@pytest.mark.slow
def test_the_data_call_for_an_objective_where_the_user_names_none(study):
    study.facts = study.facts | {"objective": "train_loss"}
    assert study.search().objective == "train_loss" and "objective: minimize train_loss" in study.screen.lines
    study.facts = study.facts | {"objective": None}
    assert study.search("study.trials=8").objective == "train_loss", "the study stays the same, and keeps its own"


def test_an_objective_that_the_user_names_stands_before_that_of_the_data(study):
    study.facts = study.facts | {"objective": "train_loss"}
    assert study.search("objective=val_accuracy").objective == "val_accuracy"


class TestItsSpaceStays:
    @pytest.mark.slow
    def test_a_resumed_search_recalls_it_and_tries_nothing(self, study):
        study.ends = {"preflight/optimizer-sgd": Fails("error", "boom")}
        first = study.search()
        assert study.asked[0] == "preflight/baseline"
        study.ends = {}  # it is repaired
        verdict = study.search("study.trials=12")
        assert not any(key.startswith("preflight/") for key in study.asked)
        assert (verdict.dropped, verdict.quarantined, verdict.objective) == (first.dropped, first.quarantined, first.objective)
        assert verdict.quarantined == ("optimizer/sgd",)
        assert len(study.records()) == 12
        assert {name for r in study.records().values() for name in r.recipe["optimizer"]} == {"adamw"}

    @pytest.mark.slow
    def test_what_broke_since_is_not_left_out(self, study):
        study.search()
        study.ends = {"preflight/optimizer-sgd": Fails("error", "boom")}
        assert study.search("study.trials=12").dropped == {}

    def test_recall(self):
        locked = {
            "left_out": {"optimizer/sgd": "boom", "schedule/cosine": "no such thing", "device/cuda": "no CUDA device"},
            "quarantined": ["optimizer/sgd"],
            "unfit": {"mlp": {"loss/focal": "no"}},
            "objective": "val_loss",
            "direction": "minimize",
            "part": "test",
        }
        settled = recall(Space.of(composed(*SPACE, *PLAIN)), locked)
        space, first = settled.space, settled.goal.first
        assert space.dropped == {"optimizer/sgd": "boom", "schedule/cosine": "no such thing"}, "what has dropped out already is no matter"
        assert (space.broken, list(space.options["optimizer"])) == ({"optimizer/sgd"}, ["adamw"])
        assert (first.name, first.direction, settled.part) == ("val_loss", "minimize", "test")
        assert space.unfit == {"mlp": {"loss/focal": "no"}}

    def test_what_is_not_searched_is_recalled(self):
        reason = {"optimizer/keep.weight_decay_scale": "it decays nothing", "optimizer/adam.lr": "it was not asked for"}
        locked = {"left_out": reason, "quarantined": [], "unfit": {}, "objective": "val_loss", "direction": "minimize", "part": "test"}
        space = recall(Space.of(composed("data=digits", "optimizer=keep")), locked).space
        assert {d.path for d in space.domains() if "keep" in d.path} == {"optimizer.keep.lr_scale"}
        assert space.dropped.keys() == {"optimizer/keep.weight_decay_scale"}

    @pytest.mark.parametrize("format", [None, 3])
    def test_a_study_of_another_version_is_refused_in_a_line(self, study, format):
        study.search()
        path = study.path / "s" / "space.yaml"
        locked = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump(locked | {"format": format}))
        before = {p: p.read_bytes() for p in (study.path / "s").rglob("*") if p.is_file() and p.name != "lock"}
        with pytest.raises(
            BadInput,
            match=r"^s was begun by another version of autoopt, whose trials cannot stand beside those of this one: give this search",
        ):
            study.search()
        assert {p: p.read_bytes() for p in (study.path / "s").rglob("*") if p.is_file() and p.name != "lock"} == before

    @pytest.mark.slow
    def test_the_strategy_and_the_executor_may_change(self, study):
        study.search("study.trials=3")
        study.search("study.trials=6", "strategy=random", "executor.trial_time=99s")
        assert len(study.records()) == 6


class TestNotConcluded:
    def test_the_baseline_fails(self, study):
        study.ends = {"0": Fails("nonfinite", "train_loss is nan")}
        message = "the baseline failed, so there is nothing to compare with .nonfinite: train_loss is nan.; begin another study with name="
        with pytest.raises(NotConcluded, match=message) as caught:
            study.search()
        assert caught.value.exit_code == 4
        assert study.trained() == ["0"]
        study.ends = {}
        for asking in (True, False):
            with pytest.raises(NotConcluded, match=message):
                study.search(asking=asking)
            assert study.asked == []

    @pytest.mark.parametrize("reason", ["lost", "timeout"])
    def test_a_baseline_that_the_machine_or_the_limit_ended_is_run_again(self, study, reason):
        study.ends = {"0": Fails(reason, "gone")}
        with pytest.raises(NotConcluded, match="the same command runs it again"):
            study.search()
        study.ends = {}
        assert study.search().part == "test"
        assert study.trained()[0] == "0"

    def test_the_baseline_cannot_be_confirmed(self, study):
        study.ends = {"0-final-1": Fails("timeout", "too long")}
        with pytest.raises(NotConcluded, match=r"the baseline cannot be confirmed: timeout: too long \(logs: .*/s/trials\)"):
            study.search()
        assert not (study.path / "s" / "verdict.yaml").exists()
        study.ends = {}
        assert study.search().part == "test"
        assert study.trained()[0] == "0-final-1"

    def test_where_the_baseline_fails_no_other_candidate_is_trained(self, study):
        study.ends = {"3": 0.99, "4": 0.98, "3-confirm-0": 0.99, "4-confirm-0": 0.98, "0-final-1": Fails("nonfinite", "nan")}
        with pytest.raises(NotConcluded, match="the baseline cannot be confirmed: nonfinite: nan"):
            study.search("study.trials=60", "study.stopping=false", "study.seeds=2", "study.confirm=2", "strategy=random")
        assert [key for key in study.trained() if "final" in key] == ["0-final-0", "3-final-0", "0-final-1", "3-final-1"]

    def test_the_last_of_several_reasons_is_told(self, study):
        study.ends = {"0-final-0": Fails("timeout", "first"), "0-final-1": Fails("nonfinite", "second")}
        with pytest.raises(NotConcluded, match="the baseline cannot be confirmed: nonfinite: second"):
            study.search()

    def test_the_test_split_cannot_be_measured(self, study):
        """It does not fall back to the validation part; the next run tries again."""
        study.ends = {"0-final-1-test": Fails("error", "no such file")}
        with pytest.raises(NotConcluded, match=r"the test split cannot be measured: error: no such file \(logs: .*/s/trials\)") as caught:
            study.search()
        assert caught.value.exit_code == 4
        assert not (study.path / "s" / "verdict.yaml").exists()
        assert not (study.path / "s" / "best").exists()
        study.ends = {}
        assert study.search().part == "test"
        assert study.trained() == ["0-final-1-test"]

    def test_finish_concludes_on_validation_where_the_test_split_cannot_be_measured(self, study):
        study.ends = {"0-final-1-test": Fails("error", "no such file")}
        with pytest.raises(NotConcluded, match=r"`autoopt finish s root=.*` concludes on the validation split"):
            study.search()
        verdict = study.search(asking=False)
        assert (verdict.part, verdict.untested, verdict.better) == ("validation", "the test split cannot be measured", False)
        assert (study.path / "s" / "best").exists()
        assert study.trained() == ["0-final-1-test"], "it is tried once more"
        assert any("the test split cannot be measured: error: no such file" in line for line in study.screen.lines)

    def test_where_the_test_split_does_not_tell_the_objective_after_all_validation_decides(self, study):
        """It would not tell it the next time either."""
        study.ends = {"0-final-1-test": outcome(size_mb=1.0)}
        verdict = study.search()
        assert (verdict.part, verdict.untested, verdict.better) == ("validation", "the test split does not measure it", False)
        assert "the test split does not measure val_accuracy after all: the validation split decides" in study.screen.lines

    @pytest.mark.slow
    def test_where_a_training_of_the_winner_fails_the_next_best_takes_its_place(self, study):
        study.ends = {"3": 0.99, "4": 0.98, "3-final-1": Fails("nonfinite", "nan"), "3-confirm-0": 0.99, "4-confirm-0": 0.98}
        verdict = study.search("study.trials=60", "study.stopping=false", "study.seeds=3", "study.confirm=2", "strategy=random")
        assert [key for key in study.trained() if "confirm" in key] == ["3-confirm-0", "4-confirm-0"]
        assert verdict.winner.trial == "4" and verdict.unsound == {"3": "nonfinite: nan"}
        assert verdict.rival is None, "what failed is no second best"

    @pytest.mark.slow
    def test_so_does_one_for_which_the_race_had_no_place(self, study):
        study.ends = {"1": 0.97, "2": 0.98, "3": 0.99, **{f"{key}-final-0": Fails("nonfinite", "nan") for key in "32"}}
        verdict = study.search("study.trials=5", "study.stopping=false", "strategy=random")
        assert verdict.winner.trial == "1" and list(verdict.unsound) == ["3", "2"] and not study.records("confirm")
        assert study.search("study.trials=5", "study.confirm=2", "study.stopping=false", "strategy=random").alone, "but no more than those"


class TestAStrategyForFiniteSpaces:
    FINITE = (
        "model=linear", "optimizer=sgd", "optimizer.sgd.lr=0.01,0.1", "optimizer.sgd.weight_decay=0", "schedule=constant",
        "loss.cross_entropy.label_smoothing=0", "regularizer=none", "batches.size=64", "strategy=grid", "study.trials=2",
    )  # fmt: skip

    def test_is_refused_before_the_search_where_a_compression_has_a_range(self, study):
        with pytest.raises(BadInput, match=r"strategy=grid cannot be used here: it needs a finite space, but compression\.prune_magn"):
            study.search(*self.FINITE, "compression=prune_magnitude")
        assert study.asked == []
        assert study.search(*self.FINITE, "compression=half").counts["complete"] > 2

    def test_is_taken_where_a_technique_with_a_range_drops_out(self, study):
        study.facts = study.facts | {"absent": {"augmentation": {"planes": "no pictures"}}}
        verdict = study.search(*self.FINITE, "augmentation=rotate,translate")
        assert verdict.dropped.keys() == {"augmentation/rotate", "augmentation/translate"} and verdict.counts["complete"] == 2


class TestWhereItIsMeasured:
    def test_a_test_split_that_fails_in_the_preflight_is_left_alone(self, study):
        study.ends = {"preflight/baseline": replace(outcome(val_accuracy=0.1), untested="no such file")}
        verdict = study.search("study.trials=2")
        assert (verdict.part, verdict.test_opened_for) == ("validation", 0)
        assert verdict.untested == "the test split cannot be measured"
        assert not any(key.endswith("-test") for key in study.asked)
        told = "the verdict compares on the validation split, which also chooses the winner"
        assert {"the test split cannot be measured: no such file", told} <= {*study.screen.lines}

    def test_a_test_split_that_does_not_measure_the_objective_is_left_alone(self, study):
        study.ends = {"preflight/baseline": replace(outcome(val_accuracy=0.1), tested={"test_loss": 1.0})}
        verdict = study.search("study.trials=2")
        assert (verdict.part, verdict.test_opened_for) == ("validation", 0)
        assert verdict.untested == "the test split does not measure it"
        told = "the verdict compares on the validation split, which also chooses the winner"
        assert f"the test split does not measure val_accuracy: {told}" in study.screen.lines

    def test_trainings_are_compared_though_the_test_split_cannot_be_measured_in_the_end(self, study):
        study.ends = {"0-final-1-test": Fails("error", "no such file")}
        with pytest.raises(NotConcluded, match="the test split cannot be measured"):
            study.search("objective=train_loss", "study.trials=2")
        assert study.search("objective=train_loss", "study.trials=2", asking=False).part == "training"

    def test_without_a_test_split_on_validation_which_never_says_is_better(self, study):
        study.facts = study.facts | {"test": False}
        study.ends = dict.fromkeys(("0", "0-final-0", "0-final-1"), 0.1)
        verdict = study.search()
        assert (verdict.part, verdict.test_opened_for, verdict.better) == ("validation", 0, False)
        assert verdict.untested == "there is no test split"
        assert not any(key.endswith("-test") for key in study.asked)
        told = "the verdict compares on the validation split, which also chooses the winner"
        assert f"the test split is missing: {told}" in study.screen.lines

    @pytest.mark.parametrize("objective", ["train_loss", "seconds"])
    def test_what_only_a_training_tells_is_compared_by_trainings_on_fresh_seeds(self, study, objective):
        study.ends = {"0": 0.9, "0-final-0": 0.9, "0-final-1": 0.91}
        verdict = study.search(f"objective={objective}")
        assert (verdict.part, verdict.test_opened_for) == ("training", 2), "what the test split tells is measured all the same"
        assert verdict.baseline.scores == [0.9, 0.91]
        assert f"{objective} is measured while training: the verdict compares trainings on fresh seeds" in study.screen.lines
        assert {"test_accuracy", "val_accuracy"} <= verdict.winner.metrics.keys()


class TestALightningModule:
    """Its baseline is the module as it is written."""

    def recipe(self, study, **facts):
        study.facts = study.facts | {"lightning": True, **facts}
        study.search("study.trials=2")
        assert "preflight/own-baseline" in study.asked
        return study.records()["0"].recipe

    def test_keeps_its_own_optimizer_and_schedule_and_is_given_nothing_more(self, study):
        recipe = self.recipe(study)
        assert (list(recipe["optimizer"]), list(recipe["schedule"])) == (["keep"], ["keep"])
        assert (recipe["augmentation"], recipe["regularizer"]) == ({}, {})
        assert (list(recipe["data"]), list(recipe["device"]), recipe["batches"]["size"]) == (["digits"], ["cpu"], 64)
        assert "baseline: mlp as it is written" in study.screen.lines

    def test_has_the_defaults_of_its_author_but_what_was_pinned(self, study):
        study.facts = study.facts | {"lightning": True}
        study.search("study.trials=1", "model.mlp.width=48", "model.mlp.depth=interval(5,6)")
        assert study.records()["0"].recipe["model"]["mlp"] == {**BASELINE.tree["model"]["mlp"], "width": 48}

    def test_without_an_optimizer_of_its_own_is_trained_by_the_first_that_was_selected(self, study):
        recipe = self.recipe(study, absent={"optimizer": {"own": "configure_optimizers is missing"}})
        assert list(recipe["optimizer"]) == ["adamw"]
        assert any(line.startswith("baseline: mlp as it is written, with adamw") for line in study.screen.lines)


@pytest.mark.parametrize(("spread", "shown"), [(0.1, False), (0.001, True)])
def test_the_verdict_says_how_many_seeds_a_difference_of_this_size_takes(study, spread, shown):
    study.ends = dict.fromkeys("01345", 0.1) | {"2": 0.9}
    for key, score in (("0", 0.5), ("2", 0.55)):
        for seed in (0, 1):
            study.ends |= {f"{key}-final-{seed}": score, f"{key}-final-{seed}-test": score + seed * spread * (1 if key == "0" else 0.7)}
    verdict = study.search()
    assert verdict.winner.trial == "2" and verdict.seeds_planned == 0
    assert (verdict.interval[0] > 0) == shown == (verdict.seeds_needed == 0), verdict.interval
    assert shown or verdict.seeds_needed > 2


class TestABaselineOfItsOwn:
    @pytest.mark.slow
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
        assert verdict.baseline.recipe == recipe
        assert study.records("final")["0-final-0"].recipe == recipe
        assert "preflight/own-baseline" in study.asked

    def test_it_is_refused_where_it_cannot_be_trained(self, study):
        study.ends = {"preflight/own-baseline": Fails("plugin", "boom", "optimizer", "momentum")}
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
        with pytest.raises(BadInput, match=r"a recipe has one value for each setting, but model\.mlp\.width is open$"):
            study.search(baseline=str(file))
        assert not (study.path / "s").exists()


def pinned_values(tree):
    """Every setting that a search of this tree may choose, with one value."""
    return [(domain.path, domain.default) for domain in Space.of(tree).domains()]


class TestEnough:
    MORE = ("study.trials=30", "study.stopping=false", "strategy=random", "study.ablation=false")

    @pytest.mark.slow
    def test_trials_that_get_no_better_end_the_search(self, study):
        study.ends = {str(n): 0.5 - n / 100 for n in range(30)} | {"4": 0.9, "4-final-0-test": 0.9, "4-final-1-test": 0.91}
        verdict = study.search(*self.MORE, "study.patience=6")
        why = "the last 6 were no better than trial 4 (study.patience=6)"  # and the search says so
        assert list(study.records()) == [str(n) for n in range(11)] and verdict.ended == f"after 11 of 30 trials: {why}"
        assert f"The search ended {verdict.ended}." in reasons(verdict)
        assert f"the search ends after 11 of 30 trials: {why}" in study.screen.lines
        study.search(*self.MORE, "study.patience=6")
        assert len(study.records()) == 11, "neither does the same command go on"
        assert study.search(*self.MORE, "study.patience=null").ended == "" and len(study.records()) == 30

    @pytest.mark.slow
    def test_a_search_that_has_had_its_trials_says_that_none_is_new(self, study):
        said = "s has had all its trials: a greater study.trials adds to the 3 that are there, another name= begins anew"
        study.search(*self.MORE, "study.trials=3")
        assert said not in study.screen.lines
        study.search(*self.MORE, "study.trials=3", "strategy=tpe")  # a strategy does not make it another study
        assert said in study.screen.lines and len(study.records()) == 3

    @pytest.mark.slow
    def test_a_search_that_is_concluded_announces_no_trials(self, study):
        study.search(*self.MORE, "study.trials=3")
        study.screen = Quiet()
        study.search(*self.MORE, asking=False)
        assert ("search", 3, 3) in study.screen.stages and not any("all its trials" in line for line in study.screen.lines)

    def test_so_do_the_trainings_that_were_planned(self, study):
        """A trial trains one of its three epochs."""
        verdict = study.search(*self.MORE, "study.trainings=4")
        assert len(study.records()) == 12
        assert verdict.ended == "after 12 of 30 trials: they had 4.0 whole trainings' worth of epochs (study.trainings=4)"

    def test_which_is_why_there_is_no_other_trial(self, study):
        study.ends = {"1": Fails("nonfinite", "nan")}
        alone = study.search(*self.MORE, "study.trainings=1", "study.epochs=1").alone
        assert alone == ("only the baseline was tried, because they had 1.0 whole trainings' worth of epochs (study.trainings=1)")


class TestASuccessor:
    """A study `new` beside a study `s` whose trials it takes over."""

    MORE = ("study.stopping=false", "strategy=random", "study.ablation=false")

    def go_on(self, study, *overrides):
        study.asked.clear()
        study.name, study.screen, tree = "new", Quiet(), {**study.tree(*self.MORE, "study.from=s", *overrides), "name": "new"}
        executor = Scripted(study.play, study.path / "new", 1, facts=study.facts)
        verdict = search(tree, study.screen, executor)
        return verdict, open_stored("new", str(study.path)).records["search"]

    @pytest.mark.slow
    def test_takes_the_trials_over_that_lie_in_its_space(self, study):
        study.search(*self.MORE, "study.trials=9")
        before = list(study.records().values())
        outside = [r for r in before if "cosine" in r.recipe["schedule"]]
        verdict, records = self.go_on(study, "schedule=constant,step", "study.trials=14")
        taken = [r for r in records if r.origin]
        assert 0 < len(outside) < 9 and len(records) == 14 + len(taken) - 1, "study.trials counts its own"
        assert [(r.origin, r.recipe, r.score, r.seed) for r in taken] == [
            (f"s/{r.key}", r.recipe, r.score, r.seed) for r in before if r not in outside
        ]
        assert taken[0].key == "0", "the baseline is the same, so it is not trained again"
        assert [key for key in study.trained() if key.isdigit()] == [str(n) for n in range(len(taken), len(records))]
        assert sum(verdict.counts.values()) == 13
        later = open_stored("new", str(study.path)).records
        assert verdict.trainings == 13 + len(later["confirm"]) + len(later["final"])
        assert f"s: {len(taken)} of 9 trials are taken over" in study.screen.lines
        assert "  s had schedule=constant,cosine, now constant,step" in study.screen.lines

    @pytest.mark.slow
    def test_tells_mlflow_of_the_trials_that_it_takes_over(self, study, monkeypatch):
        told = []

        class Listening(NoListener):
            def take(self, record):
                told.append((record.key, record.origin))

        study.search(*self.MORE, "study.trials=4")
        monkeypatch.setattr("autoopt.study.search.search_listener", lambda *_: Listening())
        self.go_on(study, "study.trials=2")
        assert told == [(str(n), f"s/{n}") for n in range(4)]

    @pytest.mark.slow
    def test_with_another_baseline_trains_that_first(self, study):
        study.search(*self.MORE, "study.trials=4")
        _, records = self.go_on(study, "optimizer=sgd,adamw", "study.trials=3")
        by_number = sorted(records, key=lambda r: int(r.key))
        assert [bool(r.origin) for r in by_number] == [False, True, True, True, True, False, False]
        assert "sgd" in by_number[0].recipe["optimizer"]

    @pytest.mark.slow
    def test_resumed_takes_nothing_over_again(self, study):
        study.search(*self.MORE, "study.trials=4")
        self.go_on(study, "study.trials=6")
        study.name = "s"
        study.search(*self.MORE, "study.trials=8")
        _, records = self.go_on(study, "study.trials=7")
        assert sum(bool(r.origin) for r in records) == 4 and len(records) == 7 + 3

    @pytest.mark.slow
    def test_killed_while_it_takes_trials_over_it_takes_the_rest_when_resumed(self, study, monkeypatch):
        study.search(*self.MORE, "study.trials=6")
        whole, take, count = {r.key: r for r in self.go_on(study, "study.trials=8")[1]}, Journal.take, iter(range(3))

        def killed(*arguments):
            if next(count, None) is None:
                raise Killed
            take(*arguments)

        shutil.rmtree(study.path / "new")
        monkeypatch.setattr(Journal, "take", killed)
        with pytest.raises(Killed):
            self.go_on(study, "study.trials=8")
        monkeypatch.setattr(Journal, "take", take)
        records = {r.key: r for r in self.go_on(study, "study.trials=8")[1]}
        assert [(key, r.recipe, r.origin, r.score) for key, r in records.items()] == [
            (key, r.recipe, r.origin, r.score) for key, r in whole.items()
        ]
        assert "s: 6 of 6 trials are taken over" in study.screen.lines

    def test_without_what_a_bound_needs_they_cannot_stand_beside_the_others(self):
        bounded = Goal((ACCURACY,), (Bound(Objective("latency_ms", "minimize"), 2.0),))
        assert trained_otherwise({}, {}, bounded, [record("1", 0.5)]) == "latency_ms was not measured"
        assert trained_otherwise({}, {}, bounded, [record("1", 0.5, metrics={"latency_ms": 9.0}), record("2", 0.5, "stopped")]) == ""
        assert trained_otherwise({"value": "best"}, {}, Goal((ACCURACY,)), []) == "study.value was best, not at its default"

    @pytest.mark.slow
    def test_with_more_epochs_tries_the_best_first(self, study):
        study.ends = {"0": 0.999, "3": 0.98, "4": 0.97}
        study.search(*self.MORE, "study.trials=6")
        best = [study.records()[key].recipe["optimizer"] for key in "34"]
        _, records = self.go_on(study, "study.trials=6", "study.epochs=9")
        assert not any(r.origin for r in records)
        assert [records[n].recipe["optimizer"] for n in (1, 2)] == best, "the baseline was the best, and is trial 0 again"
        assert any(line.endswith("but study.epochs was 3, not 9: the best 3 are tried first") for line in study.screen.lines)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (("objective=train_loss",), "because its objective was null, not train_loss"),
            (("split.test=0.3",), "because its split was "),
        ],
    )
    def test_of_other_scores_is_refused(self, study, change, said):
        study.search(*self.MORE, "study.trials=2")
        with pytest.raises(BadInput, match=f"^study.from=s: its scores cannot be compared, {said}"):
            self.go_on(study, *change)
        assert study.trained() == []

    def test_of_other_data_or_code_is_refused(self, study):
        study.search(*self.MORE, "study.trials=2")
        study.facts |= {"examples": "1"}
        with pytest.raises(BadInput, match="because its data were others"):
            self.go_on(study)

    def test_of_itself_or_of_nothing_is_refused(self, study):
        with pytest.raises(BadInput, match=r"study\.from=s is this study itself: give the successor another name="):
            study.search("study.from=s")
        with pytest.raises(BadInput, match="No study named 'z'"):
            study.search("study.from=z")

    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ("study.from=z", "^No study named 'z'"),
            ("study.start=gone.yaml", "^study.start=gone.yaml is no recipe that can be used: gone.yaml: "),
        ],
    )
    def test_of_nothing_is_refused_before_anything_is_warmed_up(self, study, setting, said):
        with pytest.raises(BadInput, match=said):
            search(study.tree(*self.MORE, setting), Quiet())  # without an executor, so that a real one would be warmed up
        assert list(study.path.glob("s")) == []

    def test_a_study_that_goes_on_does_not_ask_again_for_the_file_of_its_first_recipe(self, study):
        (start := study.path / "r.yaml").write_text("optimizer: {sgd: {lr: 0.05}}")
        study.search(*self.MORE, "schedule=constant", f"study.start={start}", "study.trials=2")
        start.unlink()
        study.search(*self.MORE, "schedule=constant", f"study.start={start}", "study.trials=3")
        assert len(study.records()) == 3


class TestMemory:
    MORE = ("study.stopping=false", "strategy=random", "study.ablation=false")

    @pytest.mark.slow
    def test_the_best_recipes_of_earlier_studies_are_tried_first(self, study):
        study.ends = {"3": 0.99, "4": 0.98}
        study.search(*self.MORE, "study.trials=6")
        best = [study.records()[key].recipe for key in "34"]
        tree = {**study.tree(*self.MORE, "study.memory=true", "optimizer.sgd.lr=interval(0.05,0.06)", "seed=7"), "name": "new"}
        study.name, screen = "new", Quiet()
        search(tree, screen, Scripted(study.play, study.path / "new", 1, facts=study.facts))
        tried = [r.recipe for r in open_stored("new", str(study.path)).records["search"]][1:3]
        assert [recipe["optimizer"].keys() for recipe in tried] == [recipe["optimizer"].keys() for recipe in best]
        assert [recipe["schedule"] for recipe in tried] == [recipe["schedule"] for recipe in best]
        assert all(0.05 <= recipe["optimizer"]["sgd"]["lr"] <= 0.06 for recipe in tried if "sgd" in recipe["optimizer"])
        assert "2 recipes are tried first, of earlier studies (study.memory=true)" in screen.lines

    @pytest.mark.slow
    def test_studies_that_did_not_measure_what_is_bounded_now_lend_their_best_all_the_same(self, study):
        study.ends, study.costs = {"3": 0.99, "4": 0.98}, {}
        study.search(*self.MORE, "study.trials=6")
        best = [study.records()[key].recipe["optimizer"].keys() for key in "34"]
        study.name, study.costs, screen = "new", {"latency_ms": 1.0}, Quiet()
        tree = {**study.tree(*self.MORE, "study.memory=true", "constraints.latency_ms=2", "seed=7"), "name": "new"}
        search(tree, screen, Scripted(study.play, study.path / "new", 1, facts=study.facts))
        tried = [r.recipe["optimizer"].keys() for r in open_stored("new", str(study.path)).records["search"]][1:3]
        assert tried == best and "2 recipes are tried first, of earlier studies (study.memory=true)" in screen.lines

    @pytest.mark.slow
    def test_what_is_tried_first_is_settled_when_the_study_begins(self, study):
        """Another study ends between its two sessions."""
        study.ends = {"3": 0.99, "4": 0.98}
        study.search(*self.MORE, "study.trials=6")

        def remember(trials):
            tree = {**study.tree(*self.MORE, "study.memory=true", f"study.trials={trials}", "seed=7"), "name": "new"}
            study.name = "new"
            search(tree, Quiet(), Scripted(study.play, study.path / "new", 1, facts=study.facts))
            return [r.recipe for r in open_stored("new", str(study.path)).records["search"]]

        whole = remember(5)
        shutil.rmtree(study.path / "new")
        remember(2)
        study.name, study.ends = "other", {"2": 0.999, "5": 0.99}
        search({**study.tree(*self.MORE), "name": "other"}, Quiet(), Scripted(study.play, study.path / "other", 1, facts=study.facts))
        study.ends = {"3": 0.99, "4": 0.98}
        assert remember(5) == whole
        (study.path / "new" / "start.yaml").write_text("recipes")
        with pytest.raises(BadInput, match=r"new/start\.yaml is not as it was written: restore it from a backup, or give"):
            remember(6)

    def again(self, study, *overrides):
        """What a study `new` says, whose every trial is new."""
        study.name, screen = "new", Quiet()
        tree = {**study.tree(*self.MORE, *overrides, "seed=7"), "name": "new"}
        search(tree, screen, Scripted(study.play, study.path / "new", 1, facts=study.facts))
        return screen.lines

    @pytest.mark.slow
    def test_a_study_that_has_begun_tries_nothing_first(self, study):
        study.search(*self.MORE, "study.trials=6")
        self.again(study, "study.trials=3")
        lines = self.again(study, "study.trials=4", "study.memory=true")
        said = "new has begun without recipes to try first, so that study.start, study.memory and study.from give it none"
        assert said in lines and not any("earlier studies" in line for line in lines)
        assert not (study.path / "new" / "start.yaml").exists()

    @pytest.mark.slow
    def test_studies_of_another_objective_and_damaged_ones_are_passed_over(self, study):
        study.search(*self.MORE, "study.trials=3", "objective=train_loss")
        (study.path / "broken").mkdir()
        (study.path / "broken" / "space.yaml").write_text("")
        tree = {**study.tree(*self.MORE, "study.memory=true", "study.trials=3"), "name": "new"}
        study.name, screen = "new", Quiet()
        search(tree, screen, Scripted(study.play, study.path / "new", 1, facts=study.facts))
        assert not any("earlier studies" in line for line in screen.lines)


def test_the_nearest_point_of_another_space():
    wide = Space.of(
        composed("data=digits", "model=mlp", "model.mlp.width=10,500", "optimizer=adamw,sgd", "augmentation=mixup", "batches.size=32,64")
    )
    narrow = Space.of(
        composed("data=digits", "model=mlp", "model.mlp.width=64,400", "optimizer=adamw,lion", "optimizer.adamw.lr=interval(1e-4,1e-3)")
    )
    chosen = {"model.mlp.width": 500, "optimizer": "adamw", "optimizer.adamw.lr": 0.02, "batches.size": 32}
    recipe = wide.walk(lambda domain: chosen.get(domain.path, domain.default))
    values = nearest_values(narrow.without_compression(), recipe)
    assert (values["model.mlp.width"], values["optimizer"], values["optimizer.adamw.lr"], values["batches.size"]) == (
        400,
        "adamw",
        1e-3,
        32,
    )
    narrow.without_compression().walk(lambda domain: domain.accept(values[domain.path]))


class TestBounds:
    """Every trial has a latency of 1 ms, but those whose end says something else."""

    MORE = ("study.trials=12", "study.stopping=false", "strategy=random")

    def slow(self, score, latency):
        return outcome(val_accuracy=score, test_accuracy=score, train_loss=0.1, latency_ms=latency, size_mb=1.0)

    @pytest.mark.slow
    def test_the_best_trial_within_them_wins(self, study):
        study.ends = {"3": self.slow(0.99, 2.5), "4": 0.98, "4-final-0-test": 0.9, "4-final-1-test": 0.91}
        verdict = study.search(*self.MORE, "constraints.latency_ms=2")
        assert verdict.winner.trial == "4" and verdict.searched == 0.98
        assert verdict.limits == (Limit("latency_ms at most 2", 1.0, 1.0, ()),)
        assert study.executor.most == 1, "a stopwatch runs alone"
        assert all(order.latency for order in study.executor.orders if order.key.isdigit())
        again = study.search(*self.MORE, "constraints.latency_ms=2")
        assert again.limits == verdict.limits, "the bounds come back from the study's folder"

    def test_a_baseline_that_misses_them_loses_to_a_worse_recipe(self, study):
        study.ends = {"0": self.slow(0.9, 9.0)} | {f"0-final-{i}-test": self.slow(0.9, 9.0) for i in range(2)}
        verdict = study.search(*self.MORE, "constraints.latency_ms=2")
        assert verdict.gain < 0 and verdict.best is verdict.winner and not verdict.better
        assert verdict.limits[0].missed == ("baseline",)

    def test_where_no_trial_keeps_them_the_nearest_is_named(self, study):
        study.ends = {str(n): self.slow(0.5, 3.0 + n % 5) for n in range(12)}
        verdict = study.search(*self.MORE, "constraints.latency_ms=2")
        missed = "trial 5, the nearest, misses latency_ms at most 2 (3)"
        assert verdict.alone == f"no trial keeps the bounds: {missed}; loosen them, or widen the space"
        assert f"none of 10 trials keeps the bounds so far: {missed.replace('5', '0', 1)}" in study.screen.lines

    def test_other_bounds_are_another_study(self, study):
        study.search("constraints.latency_ms=2")
        with pytest.raises(BadInput, match=r"s was begun with constraints\.latency_ms=2\.0, now 3\.0"):
            study.search("constraints.latency_ms=3")
        with pytest.raises(BadInput, match=r"s was begun with constraints\.latency_ms=2\.0, now nothing"):
            study.search()


def test_of_several_objectives_the_first_decides_and_the_front_has_all(study):
    study.ends = {str(n): outcome(val_accuracy=0.5 + n / 100, train_loss=0.1, latency_ms=1.0 + n, size_mb=1.0) for n in range(12)}
    study.ends["4"] = outcome(val_accuracy=0.5, train_loss=0.1, latency_ms=9.0, size_mb=1.0)
    verdict = study.search("objective=[val_accuracy,latency_ms]", "study.trials=12", "study.stopping=false", "study.ablation=false")
    assert [point.trial for point in verdict.front] == [str(n) for n in range(11, -1, -1) if n != 4]
    assert verdict.front[0].values == {"val_accuracy": pytest.approx(0.61), "latency_ms": 12.0}
    assert verdict.winner.trial == "11"


def test_a_technique_that_keeps_failing_is_not_proposed_again(study):
    """The preflight on two batches did not show it."""

    def play(order):
        if order.key.isdigit() and "sgd" in order.recipe.tree["optimizer"]:
            yield {"val_accuracy": 0.1, "train_loss": 0.1}
            raise Fails("error", "no", "optimizer", "sgd")
        return (yield from Study.play(study, order))

    study.play = play
    verdict = study.search("study.trials=20", "strategy=random")
    failed = [r for r in study.records().values() if r.state == "failed"]
    assert {r.technique for r in failed} == {"optimizer/sgd"} and len(failed) == 3
    assert verdict.quarantined == ("optimizer/sgd",)


def test_the_score_of_a_candidate_that_a_rung_stopped_is_said_to_be_an_early_one(study):
    study.ends = {str(n): outcome(stopped=True, val_accuracy=0.3, train_loss=0.1) for n in range(1, 6)} | {"0": 0.5}
    verdict = study.search()
    assert (verdict.searched, verdict.stopped_at) == (0.3, 1) and verdict.winner.trial != "0"
    assert any(f"had val_accuracy 0.3000 when it was stopped after epoch {verdict.stopped_at}" in line for line in reasons(verdict))


class TestWithoutAsking:
    @pytest.mark.slow
    def test_it_concludes_with_what_there_is(self, study):
        study.search("study.trials=4")
        verdict = study.search("study.trials=50", asking=False)
        assert list(study.records()) == list("0123")
        assert verdict.counts["complete"] + verdict.counts["stopped"] == 4

    def test_where_the_baseline_is_all_there_is_nothing_is_compared(self, study):
        verdict = study.search("study.trials=1")
        assert verdict.winner.trial == verdict.baseline.trial == "0"
        assert (verdict.gain, verdict.better) == (0.0, False)
        assert verdict.alone == "only the baseline was tried, because study.trials=1 allows no more"
        assert study.trained() == ["0", "0-final-0", "0-final-1", "0-final-0-test", "0-final-1-test"]

    def test_finished_before_a_second_trial_it_says_so(self, study):
        study.search("study.trials=1")
        alone = study.search("study.trials=9", asking=False).alone
        assert alone == "only the baseline was tried, because the search was finished early; the same search command goes on"

    def test_the_failures_of_all_others_are_told(self, study):
        study.ends = {"1": Fails("nonfinite", "nan"), "2": Fails("oom_host", "full"), "3": Fails("nonfinite", "nan")}
        assert study.search("study.trials=4").alone == (
            "no other trial was completed (2 failed with nonfinite, 1 failed with oom_host), and study.trials=4 allows no more"
        )

    def test_candidates_that_fail_on_fresh_seeds_are_told(self, study):
        study.ends = {"1-final-0": Fails("nonfinite", "nan")}
        alone = study.search("study.trials=2", "study.stopping=false").alone
        assert alone == "the best trials failed on fresh seeds, the last with nonfinite: nan"

    def test_a_space_of_one_recipe_is_told(self, study):
        pins = [f"{path}={value}" for path, value in pinned_values(study.tree("optimizer=adamw", "schedule=constant", "regularizer=none"))]
        alone = study.search("optimizer=adamw", "schedule=constant", "regularizer=none", "study.trials=3", *pins).alone
        assert alone == (
            "only the baseline was tried, because no untried recipe was found; "
            "select several techniques, or give several values to a setting"
        )
        assert "1 trials, not 3: the last 1000 proposals had been tried before" in study.screen.lines

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
        assert [key for key in study.trained() if key.isdigit()] == left
        assert study.records().keys() == before | {"0"}


class TestOneTraining:
    def train(self, study, *overrides):
        study.asked.clear()
        screen = Quiet()
        return train(study.tree(*overrides), screen, Scripted(study.play, study.path / "s", 1, facts=study.facts)), screen.lines

    def test_only_its_recipe_is_tried_trained_and_measured(self, study):
        study.ends = {"0": 0.7, "0-test": 0.6}
        trained, lines = self.train(study)
        assert not any("cannot be measured" in line for line in lines)
        assert (trained.score, trained.part, trained.metrics["val_accuracy"]) == (0.6, "test", 0.7)
        assert study.trained() == ["0", "0-test"] and study.asked[0] == "preflight/baseline"
        assert not any(key.startswith("preflight/optimizer") for key in study.asked)

    def test_it_settles_its_folder_which_is_no_search(self, study):
        self.train(study)
        stored = open_stored("s", str(study.path))
        assert (stored.state, stored.searched) == ("trained", False) and (stored.path / "trials" / "0").is_dir()
        assert not (stored.path / "journal.log").exists()
        with pytest.raises(BadInput, match="s was begun with"):
            self.train(study, "optimizer=sgd")

    def test_it_takes_no_folder_of_a_search_nor_a_search_its_folder(self, study):
        study.search()
        best = {path: path.read_bytes() for path in (study.path / "s" / "best").iterdir()}
        with pytest.raises(BadInput, match=r"^s is a search; give another name=$"):
            self.train(study)
        assert best == {path: path.read_bytes() for path in (study.path / "s" / "best").iterdir()}
        shutil.rmtree(study.path / "s")
        self.train(study)
        with pytest.raises(BadInput, match=r"^s is a single training; give another name=$"):
            study.search()

    def test_a_test_split_that_cannot_be_measured_is_told(self, study):
        study.ends = {"0": 0.7, "preflight/baseline": replace(outcome(val_accuracy=0.1), untested="no such file")}
        trained, lines = self.train(study)
        assert (trained.score, trained.part) == (0.7, "validation")
        assert "the test split cannot be measured: no such file" in lines

    def test_what_only_the_training_measures_is_said_to_be_of_it(self, study):
        measured = replace(outcome(val_accuracy=0.1), validated=["val_loss"])
        study.ends = {"0": 0.7, "preflight/baseline": measured}
        trained, _ = self.train(study)
        assert (trained.part, trained.note) == ("training", f"val_accuracy {number(trained.score)} of the training.")

    def test_a_module_is_trained_as_the_config_says_and_not_tried_as_it_is_written(self, study):
        study.facts = study.facts | {"lightning": True}
        self.train(study)
        assert "preflight/own-baseline" not in study.asked


class TestTime:
    """A turn of the scripted executor is a second on its clock, the only one that a study reads."""

    MORE = ("strategy=random", "study.stopping=false", "study.trials=500", "study.seeds=3")

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [1, 4])
    @pytest.mark.parametrize("limit", [60, 120])
    def test_the_whole_command_keeps_to_it_within_a_trial_and_five_percent(self, study, workers, limit):
        verdict = study.search(*self.MORE, f"executor.workers={workers}", f"study.time={limit}s")
        trial, pair = 2, 2 * 2  # turns; the first seed's measurements are made in any case
        assert study.executor.now() <= limit * 1.05 + trial + pair
        assert len(study.records()) > 5
        assert verdict.winner.trial != "0"
        assert verdict.elapsed == pytest.approx(study.executor.now(), abs=3)

    def test_a_time_for_the_baseline_alone_is_told(self, study):
        verdict = study.search(*self.MORE, "study.time=14s")
        assert (len(verdict.baseline.scores), verdict.seeds_planned) == (1, 3)
        assert verdict.alone == "only the baseline was tried, because the time ended (study.time=14s); give a longer one"

    @pytest.mark.slow
    @pytest.mark.parametrize("hangs", ["1", "3"])
    def test_it_ends_running_trials_too_and_a_longer_time_runs_them_again(self, study, hangs):
        uncut = study.search("strategy=random", "study.trials=4")
        rows = {key: r.score for key, r in study.records().items()}
        shutil.rmtree(study.path / "s")
        study.hangs = {hangs}
        verdict = study.search("strategy=random", "study.trials=4", "study.time=40s")
        assert study.executor.now() <= 44
        assert study.records().keys() == set(list("0123")[: int(hangs)]) and verdict.counts["failed"] == 0
        study.hangs = set()
        assert study.search("strategy=random", "study.trials=4").counts == uncut.counts
        assert {key: r.score for key, r in study.records().items()} == rows

    def test_a_baseline_that_does_not_end_in_time_is_told(self, study):
        study.hangs = {"0"}
        with pytest.raises(NotConcluded, match=r"the time ended before the baseline did \(study.time=20s\); give a longer one"):
            study.search("study.time=20s")
        assert study.executor.now() <= 24
        study.hangs = set()
        assert study.search().part == "test"

    def test_a_training_that_hangs_on_a_further_seed_ends_with_the_time(self, study):
        study.hangs = {"0-final-1"}
        verdict = study.search("strategy=random", "study.trials=4", "study.time=40s")
        assert (verdict.winner.trial != "0", len(verdict.baseline.scores), verdict.seeds_planned) == (True, 1, 2)
        assert study.executor.now() <= 48

    def test_the_first_session_counts_from_its_start(self, study):
        study.ends = {"0": Fails("nonfinite", "nan")}
        with pytest.raises(NotConcluded):
            study.search()
        assert study.records()["0"].elapsed == study.executor.now()

    @pytest.mark.slow
    def test_earlier_sessions_count(self, study):
        more = ("study.stopping=false",)
        study.search(*more, "study.trials=12")
        used = max(r.elapsed for r in study.records("test").values())
        limit = math.ceil((used - 1) / (1 - CONFIRM_SHARE))
        study.search(*more, "study.trials=20", f"study.time={limit}s")
        assert len(study.records()) == 12, "the time was over"
        study.search(*more, "study.trials=20", f"study.time={2 * limit + 100}s")
        assert len(study.records()) == 20

    @pytest.mark.slow
    def test_compress_has_a_share(self, study):
        more = ("compression=prune_magnitude", "study.stopping=false", "study.trials=500", "study.compress=500")
        study.search(*more, "study.time=200s")
        assert len(study.records("compress")) > 3
        assert study.executor.now() <= 200 * 1.05 + 2


def test_a_store_that_cannot_be_used_is_refused_before_anything_starts(study):
    with pytest.raises(BadInput, match=r"tracking\.uri=file:///tmp/x: "):
        study.search("tracking.enabled=true", "tracking.uri=file:///tmp/x")
    assert (study.asked, list(study.path.iterdir())) == ([], [])
