"""The whole of it: real processes, real data, from the command line to the verdict."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest
import torch
import yaml

from autoopt.config import compose
from autoopt.records.journal import Journal
from autoopt.records.stages import SEARCH
from autoopt.records.stored import open_stored
from autoopt.slots import SLOTS
from autoopt.space import Space

pytestmark = pytest.mark.slow
SMALL = [
    "name=s",
    "data=digits",
    "data.digits.train=300",
    "model=mlp",
    "model.mlp.width=32",
    "optimizer=adamw,sgd",
    "schedule=constant",
    "augmentation=none",
    "regularizer=none",
    "initializer=keep",
    "loss=cross_entropy",
    "device=cpu",
    "device.cpu.precision=32",
    "batches.size=64",
    "study.epochs=3",
    "study.trials=4",
    "study.seeds=1",
    "study.ablation=false",
    "executor.workers=2",
    "tracking.enabled=false",
]
MINE = '''
import os, signal, time
import lightning.pytorch as L
import torch
from torch.optim import AdamW, Optimizer
from autoopt import Unavailable

class Nap(L.Callback):
    """Makes a trial last."""
    def __init__(self, *, seconds: float = 0.2):
        self.seconds = seconds
    def on_train_epoch_start(self, trainer, module):
        if trainer.max_epochs > 1:
            time.sleep(self.seconds)

class Later(AdamW):
    """Does it at its sixth step; the preflight takes two."""
    def __init__(self, params, act):
        super().__init__(params)
        self.act, self.count = act, 0
    def step(self, closure=None):
        self.count += 1
        if self.count == 6:
            self.act()
        return super().step(closure)

def fail(): raise RuntimeError("only in earnest")
def die(): os.kill(os.getpid(), signal.SIGKILL)
def hang(): time.sleep(1000)
def leave(): os._exit(3)

def raises(params, total_steps) -> Optimizer:
    if total_steps > 2: fail()
    return AdamW(params)
def returns(params, total_steps) -> Optimizer:
    return "no optimizer" if total_steps > 2 else AdamW(params)
def steps_badly(params) -> Optimizer: return Later(params, fail)
def dies(params) -> Optimizer: return Later(params, die)
def hangs(params) -> Optimizer: return Later(params, hang)
def leaves(params) -> Optimizer: return Later(params, leave)
def diverges(params, total_steps) -> Optimizer: return torch.optim.SGD(params, lr=1e30 if total_steps > 2 else 1e-3)

def unavailable(params) -> Optimizer: raise Unavailable("no such machine")
def raises_now(params) -> Optimizer: fail()
def returns_now(params) -> Optimizer: return 3
def dies_now(params) -> Optimizer: die()
def hangs_now(params) -> Optimizer: hang()
def leaves_now(params) -> Optimizer: leave()
'''
NETS = """
import lightning.pytorch as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from autoopt.data.task import Task

class Lit(L.LightningModule):
    def __init__(self, *, hidden: int = 16):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    def forward(self, x): return self.net(x)
    def training_step(self, batch, index): return nn.functional.cross_entropy(self(batch[0]), batch[1])
    def validation_step(self, batch, index):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())
    def configure_optimizers(self): return torch.optim.Adam(self.parameters(), lr=3e-3)

class Bare(Lit):
    configure_optimizers = L.LightningModule.configure_optimizers

class Digits(L.LightningDataModule):  # without a test split
    def __init__(self):
        super().__init__()
        self.batch_size = 32
    def loader(self, rows):
        x, y = load_digits(return_X_y=True)
        return DataLoader(TensorDataset(torch.tensor(x[rows] / 16).float(), torch.tensor(y[rows])), self.batch_size)
    def train_dataloader(self): return self.loader(slice(0, 300))
    def val_dataloader(self): return self.loader(slice(300, 500))

def narrow(task: Task) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
"""


class Bench:
    """Runs commands in one folder, and reads what they leave."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.study = folder / "autoopt-runs" / "s"
        (folder / "mine.py").write_text(MINE)
        (folder / "nets.py").write_text(NETS)

    def start(self, *arguments: str, **limits: int):
        return forked.start([*arguments], self.folder, **limits)

    def end(self, process, code: int) -> str:
        return forked.end(process, self.folder, code)

    def search(self, *overrides: str, code: int = 0) -> str:
        return self.end(self.start("search", *SMALL, *overrides), code)

    @property
    def trials(self):
        return open_stored("s", str(self.study.parent)).records["search"]

    @property
    def verdict(self):
        return yaml.safe_load((self.study / "verdict.yaml").read_text())

    def until(self, condition) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, (self.folder / "out.txt").read_text()
            time.sleep(0.02)

    def told(self, count: int) -> bool:
        """Whether so many trials have their record."""
        return (self.study / "journal.log").exists() and (self.study / "journal.log").read_text().count('"autoopt"') >= count

    def processes(self) -> list[int]:
        """Those that stand in this folder, the trials' first."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if (path / "cwd").readlink() == self.folder and b"State:\tZ" not in (path / "status").read_bytes():
                    found.append(int(path.name))
            except OSError:  # ended just now, or another user's
                continue
        return sorted(found, reverse=True)

    def alone(self) -> None:
        self.until(lambda: not self.processes())


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    for pid in made.processes():
        os.kill(pid, signal.SIGKILL)


def rows(trials):
    """What of a trial has to be the same wherever and whenever it ran."""
    return [(t.key, t.recipe, t.seed, t.state, t.score, t.curve("val_accuracy")) for t in trials]


def test_a_whole_search_and_the_same_command_again(bench):
    """By the installed command, with a template of its own."""
    command = [Path(sys.executable).with_name("autoopt"), "search", *SMALL, "study.seeds=2", "study.ablation=true"]
    said = subprocess.run(command, cwd=bench.folder, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr + said.stdout
    assert said.stderr == ""
    verdict, trials, journal = bench.verdict, bench.trials, (bench.study / "journal.log").read_bytes()
    assert [t.key for t in trials] == ["0", "1", "2", "3"]
    assert verdict["part"] == "test"
    assert verdict["counts"]["failed"] == 0
    assert verdict["trainings"] == 4 + 2 * 2 + len(open_stored("s", str(bench.study.parent)).records["ablation"])
    assert verdict["test_opened_for"] == len({verdict["baseline"]["trial"], verdict["winner"]["trial"]})
    assert len(verdict["winner"]["scores"]) == 2
    assert verdict["conclusion"] in said.stdout
    names = {p.name for p in bench.study.iterdir()}
    assert names == {"best", "config.yaml", "journal.log", "lock", "report.html", "space.yaml", "template.log", "trials", "verdict.yaml"}
    simpler = {"simple.yaml"} if verdict["ablation"] and verdict["ablation"]["simpler"] else set()
    of_mlflow = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "input_example.json", "serving_input_example.json"}
    files = {"README.md", "model.json", "model.onnx", "model.safetensors", "recipe.yaml", *of_mlflow, *simpler}
    assert {p.name for p in (bench.study / "best").iterdir()} == files
    side = verdict["winner"] if verdict["better"] else verdict["baseline"]
    which = f"trial {side['trial']}" if verdict["better"] else "the baseline"
    readme = (bench.study / "best" / "README.md").read_text()
    assert readme.startswith(f"# s: {which}, {side['title']}\n") and "mean over 2 seeds" in readme and "model.predict(" in readme
    again = bench.search("study.seeds=2", "study.ablation=true")
    assert "to go" not in again
    assert (bench.study / "journal.log").read_bytes() == journal
    assert bench.verdict | {"elapsed": 0} == verdict | {"elapsed": 0}
    assert {"python", "torch", "processor", "threads", "device"} <= trials[1].environment.keys()
    said = bench.end(bench.start("reproduce", "s", "1"), 0)
    assert said.splitlines()[-1].startswith("The same to the last bit: trial 1 had val_accuracy "), said
    bench.alone()


@pytest.mark.parametrize("finished", [0, 5], ids=["in trial 0", "in confirm"])
def test_a_killed_supervisor(bench, finished):
    nap = ("regularizer=[mine:Nap]", "study.trials=4")
    process = bench.start("search", *SMALL, *nap)
    bench.until(lambda: bench.told(finished) and len(bench.processes()) >= 3)
    os.kill(process.pid, signal.SIGKILL)
    bench.end(process, -signal.SIGKILL)
    before = bench.trials
    bench.search(*nap)
    assert [t.key for t in bench.trials] == ["0", "1", "2", "3"]
    assert rows(bench.trials)[: len(before)] == rows(before)
    assert bench.verdict["counts"]["failed"] == 0
    bench.alone()


def test_a_signal_lets_trials_end_and_the_same_command_resumes(bench):
    process = bench.start("search", *SMALL, "regularizer=[mine:Nap]", "study.trials=8")
    bench.until(lambda: bench.told(1))
    os.kill(process.pid, signal.SIGTERM)
    said = bench.end(process, 143)
    assert "Stopping: the running trials finish first; a second signal ends them at once." in said
    last = said.splitlines()[-1]
    way = "the same command resumes, `autoopt finish s trust=mine:Nap` concludes with the trials so far"
    assert last == f"autoopt: interrupted by SIGTERM; {way}"
    before = bench.trials
    assert 1 <= len(before) < 8
    assert {t.state for t in before} <= {"complete", "stopped"}
    bench.alone()
    bench.search("regularizer=[mine:Nap]", "study.trials=8")
    assert rows(bench.trials)[: len(before)] == rows(before)
    assert len(bench.trials) == 8


def test_a_second_signal_ends_at_once(bench):
    process = bench.start("search", *SMALL, "regularizer=[mine:Nap]", "regularizer.Nap.seconds=1000")
    bench.until(lambda: (bench.study / "journal.log").exists() and len(bench.processes()) >= 3)
    for _ in range(2):
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGINT)
    assert "interrupted by SIGINT" in bench.end(process, 130)
    bench.alone()
    assert bench.trials == []


def test_two_at_the_same_time(bench):
    process = bench.start("search", *SMALL, "regularizer=[mine:Nap]")
    bench.until(lambda: bench.told(1))
    (bench.folder / "out.txt").rename(bench.folder / "first.txt")
    assert f"autoopt: s is being searched by process {process.pid}; wait for it" in bench.search("regularizer=[mine:Nap]", code=2)
    bench.end(process, 0)


def test_a_killed_child(bench):
    process = bench.start("search", *SMALL, "regularizer=[mine:Nap]", "regularizer.Nap.seconds=0.4", "executor.workers=1")
    bench.until(lambda: bench.told(1) and bench.processes()[0] > process.pid)
    journal = bench.study / "journal.log"
    bench.until(lambda: journal.read_text().count('"op_code":4') == 2)  # trial 1 was asked for
    time.sleep(0.2)
    os.kill(bench.processes()[0], signal.SIGKILL)
    said = bench.end(process, 0)
    assert "  trial 1 is tried again: lost: killed by signal 9 (SIGKILL)" in said
    assert {t.key for t in bench.trials} == set("0123")
    assert (bench.verdict["counts"]["failed"], bench.verdict["reasons"]) == (0, {}), "it is no fault of the recipe"


ENDINGS = {
    "raises": ("plugin", "optimizer/raises: RuntimeError: only in earnest"),
    "returns": ("plugin", "optimizer/returns: returned str, expected Optimizer"),
    "steps_badly": ("plugin", "optimizer/steps_badly: RuntimeError: only in earnest"),
    "dies": ("lost", "SIGKILL"),
    "leaves": ("lost", "3"),
    "hangs": ("timeout", "took longer than 6 s, its time limit (executor.trial_time sets it)"),
    "diverges": ("nonfinite", "loss is"),
}


def test_what_breaks_in_earnest_ends_its_trial_alone(bench):
    options = ",".join(f"mine:{name}" for name in ENDINGS)
    said = ""
    for total in (26, 60, 120):  # now and then one has not been drawn by then
        said += bench.search(
            f"optimizer=adamw,{options}", "executor.trial_time=6s", f"study.trials={total}", "strategy=random", "study.stopping=false"
        )
        assert len(bench.trials) == total
        if {name for trial in bench.trials for name in trial.recipe["optimizer"]} >= ENDINGS.keys():
            break
    seen = {}
    for trial in bench.trials:
        (name,) = trial.recipe["optimizer"]
        seen.setdefault(name, set()).add((trial.state, trial.reason))
        if name in ENDINGS:
            assert trial.reason == ENDINGS[name][0], trial
            assert ENDINGS[name][1] in trial.detail, trial
            assert f"trial {trial.key} failed ({trial.reason}): {trial.detail}" in said
    assert seen.keys() == {"adamw", *ENDINGS}
    assert seen["adamw"] == {("complete", None)}
    bench.alone()


def test_what_breaks_in_the_preflight_drops_out(bench):
    broken = {
        "unavailable": "no such machine",
        "raises_now": "RuntimeError: only in earnest",
        "returns_now": "returned int, expected Optimizer",
        "dies_now": "lost: ",
        "leaves_now": "lost: ",
        "hangs_now": "timeout: took longer than 6 s",
    }
    options = ",".join(f"mine:{name}" for name in broken)
    said = bench.search(f"optimizer=adamw,{options}", "executor.trial_time=6s", "study.trials=2")
    dropped = bench.verdict["dropped"]
    assert dropped.keys() == {f"optimizer/{name}" for name in broken}
    for name, reason in broken.items():
        assert dropped[f"optimizer/{name}"].startswith(reason)
    assert "left out: optimizer/unavailable" in said
    assert re.search(
        r"raises_now: RuntimeError: only in earnest \(mine.py, line \d+\); autoopt plugins check mine:raises_now tells more", said
    )
    assert "Left out, because it failed: optimizer/dies_now (lost: " in said
    assert {next(iter(t.recipe["optimizer"])) for t in bench.trials} == {"adamw"}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["objective=val_acuracy"], "autoopt: objective=val_acuracy is not logged. Did you mean 'val_accuracy'? Logged: "),
        (["model=nets:narrow"], "the task needs outputs (128, 10)"),
        (["optimizer=mine:dies_now"], "autoopt: the baseline cannot be trained: lost: "),
    ],
)
def test_what_cannot_be_searched_is_said_and_nothing_starts(bench, overrides, said):
    small = [o for o in SMALL if not o.startswith("model.mlp")]
    found = bench.end(bench.start("search", *small, *overrides), 2)
    assert said in found
    assert not (bench.study / "space.yaml").exists()
    assert "Traceback" not in found


def test_data_that_is_not_there_leaves_nothing_behind(bench):
    keep = [o for o in SMALL if not o.startswith("data")]
    said = bench.end(bench.start("search", *keep, "data=csv", "data.csv.path=none.csv", "data.csv.target=y"), 2)
    assert said.splitlines()[-1] == "autoopt: data.csv.path: there is no file none.csv"
    assert not bench.study.parent.exists()


def test_a_baseline_that_fails_in_earnest_ends_the_search(bench):
    """What was found would compare with nothing: exit code 4, at once, and so it stays."""
    for _ in range(2):
        said = bench.search("optimizer=mine:raises,adamw", "study.trials=50", "executor.workers=1", code=4)
        why = r"plugin: optimizer/raises: RuntimeError: only in earnest \(mine.py, line \d+\)"
        last = f"autoopt: the baseline failed, so there is nothing to compare with \\({why}\\); begin another study with name="
        assert re.fullmatch(last, said.splitlines()[-1])
        assert [(t.key, t.state) for t in bench.trials] == [("0", "failed")]
    assert "Traceback" not in said
    bench.alone()


def test_a_baseline_of_ones_own(bench):
    file = bench.folder / "mine.yaml"
    pins = [o for o in SMALL if o.partition("=")[0] in SLOTS]
    recipe = Space.of(compose([*pins, "data=breast_cancer", "optimizer=adamw", "optimizer.adamw.lr=0.004", "study.epochs=9"])).baseline()
    write = dict(recipe.tree)
    file.write_text(yaml.safe_dump(write | {"optimizer": "mine:raises_now"}))
    said = bench.search("baseline=mine.yaml", "trust=mine:raises_now", code=2)
    assert said.splitlines()[-1].startswith("autoopt: baseline=mine.yaml cannot be trained: optimizer/raises_now: ")
    assert not (bench.study / "space.yaml").exists()
    file.write_text(yaml.safe_dump(write))
    more = ("baseline=mine.yaml", "study.trials=2", "optimizer=sgd")
    bench.search(*more)
    found, other = (t.recipe for t in bench.trials)
    assert (found["optimizer"]["adamw"]["lr"], found["study"], list(found["data"])) == (0.004, {"epochs": 3}, ["digits"])
    assert list(other["optimizer"]) == ["sgd"]
    file.write_text(file.read_text().replace("0.004", "0.005"))
    assert "s was begun with baseline.optimizer.adamw.lr=0.004, now 0.005" in bench.search(*more, code=2)


def test_a_store_that_cannot_be_used(bench):
    said = bench.search("tracking.enabled=true", f"tracking.uri=file://{bench.folder}/mlruns", code=2)
    assert said.startswith("autoopt: tracking.uri=file://")
    assert len(said.splitlines()) == 1
    assert not bench.study.exists()


def test_what_was_left_out_stays_out_in_the_next_session(bench):
    """A study keeps its space, though a plugin is repaired by then: what was drawn before would not compare."""
    (bench.folder / "mine.py").write_text(MINE + "def repaired(params) -> Optimizer: fail()\n")
    bench.search("optimizer=adamw,sgd,mine:repaired")
    assert bench.verdict["dropped"].keys() == {"optimizer/repaired"}
    (bench.folder / "mine.py").write_text(MINE + "def repaired(params) -> Optimizer: return AdamW(params)\n")
    assert "quarantined: optimizer/repaired: " in bench.search("optimizer=adamw,sgd,mine:repaired", "study.trials=8")
    assert bench.verdict["dropped"].keys() == {"optimizer/repaired"}
    assert bench.verdict["quarantined"] == ["optimizer/repaired"]
    assert len(bench.trials) == 8 and not any("repaired" in trial.recipe["optimizer"] for trial in bench.trials)


def test_the_same_seed_gives_the_same_search_cut_or_grown(bench):
    bench.search("executor.workers=1", "study.trials=5")
    whole, confirmed = rows(bench.trials), open_stored("s", str(bench.study.parent)).records["final"]
    bench.study.rename(bench.study.with_name("whole"))
    bench.search("executor.workers=1", "study.trials=2")
    assert rows(bench.trials) == whole[:2]
    bench.search("executor.workers=1", "study.trials=5")
    assert rows(bench.trials) == whole
    again = open_stored("s", str(bench.study.parent)).records["final"]
    assert rows(confirmed) == [row for row in rows(again) if row[0] in {r.key for r in confirmed}]


def test_a_time_budget(bench):
    bench.search("study.time=8s", "study.trials=1000", "study.seeds=2")
    assert 1 <= len(bench.trials) < 1000
    begun = [t.datetime_start for t in Journal(bench.study / "journal.log", "s", write=False).trials(SEARCH)]
    assert (max(begun) - min(begun)).total_seconds() < 8
    assert bench.verdict["counts"]["failed"] == 0


def test_finish(bench):
    nap = ("regularizer=[mine:Nap]", "study.trials=50", "executor.workers=1")
    process = bench.start("search", *SMALL, *nap)
    bench.until(lambda: bench.told(3))
    os.kill(process.pid, signal.SIGINT)
    bench.end(process, 130)
    before = bench.trials
    said = bench.end(bench.start("finish", "s", "trust=mine:Nap"), 0)
    assert rows(bench.trials) == rows(before)
    assert bench.verdict["conclusion"] in said
    assert "Not concluded" not in bench.end(bench.start("show", "s"), 0)


def test_compression_is_a_second_stage(bench):
    bench.search("compression=half,prune_magnitude", "study.compress=3", "study.trials=3")
    study = open_stored("s", str(bench.study.parent))
    assert len({json.dumps(r.recipe) for r in study.records["compress"]}) == 3, "none is tried twice"
    assert all(r.epochs == 0 and r.state == "complete" for r in study.records["compress"]), "nothing is trained again"
    assert not any(r.recipe["compression"] for r in study.records["search"])
    compressed = [r for r in study.records["compress"] if r.recipe["compression"]]
    assert compressed
    assert all(r.metrics["size_mb"] < 0.6 * r.metrics["uncompressed_size_mb"] for r in compressed)
    bench.search("compression=half,prune_magnitude", "study.compress=6", "study.trials=6")
    assert len(open_stored("s", str(bench.study.parent)).records["compress"]) == 6


def test_a_dead_tracking_server_changes_no_score(bench):
    bench.search("study.trials=3", "executor.workers=1")
    without = rows(bench.trials)
    bench.study.rename(bench.study.with_name("without"))
    said = bench.search("study.trials=3", "executor.workers=1", "tracking.enabled=true", "tracking.uri=http://127.0.0.1:9")
    assert rows(bench.trials) == without
    (line,) = [line for line in said.splitlines() if line.startswith("MLflow lacks ")]
    spooled = [json.loads(text) for text in (bench.study / "tracking.jsonl").read_text().splitlines()]
    assert int(line.split()[2]) == sum("key" in record for record in spooled)
    bench.alone()


def test_a_full_disk(bench):
    """The journal reaches a limit of its file system: said in a line, and the same command goes on."""
    said = bench.end(bench.start("search", *SMALL, "executor.workers=1", "study.trials=20", largest=16_000), 75)
    assert said.splitlines()[-1].startswith("autoopt: autoopt-runs/s/journal.log cannot be written: ")
    assert "Traceback" not in said
    bench.alone()
    before = bench.trials
    bench.search("executor.workers=1", "study.trials=6")
    assert rows(bench.trials)[: len(before)] == rows(before)
    assert len(bench.trials) == max(6, len(before))


def test_a_table(bench):
    lines = ["length,colour,price", *(f"{i % 17},{'red' if i % 3 else 'blue'},{(i % 17) * 2.0 + i % 3}" for i in range(200))]
    lines[9] = "error" + lines[9][1:]
    (bench.folder / "t.csv").write_text("\n".join(lines))
    table = ["data=csv", "data.csv.path=t.csv", "data.csv.target=price", "loss=mse"]
    keep = [o for o in SMALL if not o.startswith(("data", "loss"))]
    said = bench.end(bench.start("search", *keep, *table), 0)
    assert "data: column 'length': 1 cell cannot be read as a number and counts as missing; the first is 'error' in row 9\n" in said
    assert (bench.verdict["objective"], bench.verdict["direction"]) == ("val_rmse", "minimize")
    assert bench.verdict["baseline"]["metrics"]["test_rmse"] == pytest.approx(bench.verdict["baseline"]["score"])


def lightning(bench, model, *overrides):
    own = ("model", "loss", "optimizer", "schedule", *("data" for o in overrides if o.startswith("data=")))
    keep = [o for o in SMALL if not o.startswith(own)]
    return bench.end(bench.start("search", *keep, f"model=nets:{model}", *overrides), 0)


def test_a_module_of_ones_own(bench):
    lightning(bench, "Lit", "optimizer=keep,adamw", "schedule=keep,constant", "study.trials=6")
    verdict = bench.verdict
    assert (verdict["objective"], verdict["part"]) == ("val_acc", "test")
    for slot in ("activation", "initializer", "loss", "optimizer", "schedule"):
        assert list(verdict["baseline"]["recipe"][slot]) == ["keep"]
    assert {next(iter(t.recipe["optimizer"])) for t in bench.trials} == {"keep", "adamw"}
    assert (bench.folder / "nets.py").read_text() == NETS


def test_trial_0_is_the_module_as_it_is_written_whatever_is_named(bench):
    said = lightning(bench, "Lit", "optimizer=adamw,sgd", "augmentation=noise", "study.trials=2")
    assert "baseline: Lit as it is written" in said
    first, second = (t.recipe for t in bench.trials)
    assert (list(first["optimizer"]), list(first["schedule"]), first["augmentation"]) == (["keep"], ["keep"], {})
    assert next(iter(second["optimizer"])) in ("adamw", "sgd")


def test_a_module_without_an_optimizer_is_trained_by_the_first_one(bench):
    said = lightning(bench, "Bare", "study.trials=2", "study.epochs=12")
    assert "baseline: Bare as it is written, with adamw" in said
    assert bench.verdict["baseline"]["metrics"]["val_acc"] > 0.4, "an untrained network is right once in ten"


def test_data_without_a_test_split(bench):
    lightning(bench, "Lit", "data=nets:Digits", "optimizer=keep", "schedule=keep", "study.trials=2", "study.seeds=2")
    verdict = bench.verdict
    assert (verdict["part"], verdict["test_opened_for"]) == ("validation", 0)
    assert verdict["winner"]["trial"] == "0" or "there is no test split" in verdict["conclusion"]
    assert open_stored("s", str(bench.study.parent)).records["test"] == []
    with (bench.folder / "nets.py").open("a") as file:
        file.write("# another thing\n")
    said = lightning(bench, "Lit", "data=nets:Digits", "optimizer=keep", "schedule=keep", "study.trials=2", "study.seeds=2")
    assert "data=nets:Digits, model=nets:Lit: its file has changed since s was begun" in said


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and AUTOOPT_TEST_GPU=1")
@pytest.mark.timeout(600)
def test_on_a_gpu_all_techniques_train_and_nothing_foreseeable_fails(bench):
    slots = ("activation", "initializer", "augmentation", "regularizer", "optimizer", "schedule", "compression")
    small = [o for o in SMALL if o.split("=")[0] not in (*slots, "model") and not o.startswith(("model.", "device", "executor"))]
    large = ["model=cnn", "device=cuda", "executor.gpus_per_trial=0.125", "study.trials=40", "study.compress=6"]
    process = bench.start("search", *small, *(f"{slot}=all" for slot in slots), *large)
    forked.end(process, bench.folder, seconds=580)  # each of its hundreds of processes brings CUDA up
    assert yaml.safe_load((bench.study / "space.yaml").read_text())["quarantined"] == []
    records = open_stored("s", str(bench.study.parent)).records
    failed = [r for stage in ("search", "compress") for r in records[stage] if r.state == "failed"]
    assert {r.reason for r in failed} <= {"nonfinite"}, [(r.reason, r.detail) for r in failed]
    assert all(r.metrics["peak_gpu_memory_mb"] > 1 for r in records["search"] if r.state == "complete")
