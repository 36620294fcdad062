"""`autoopt list`, `show`, `finish` and `ui`, where there is nothing, or nothing of this name."""

import json
import shutil
from dataclasses import replace
from datetime import date
from fcntl import LOCK_EX, flock
from pathlib import Path
from socket import gethostname
from types import SimpleNamespace

import pytest
import yaml
from test_report import verdict

from autoopt.cli import main
from autoopt.commands import show
from autoopt.commands.export import check_free, without_option, written
from autoopt.commands.plan import Workload, aligned, budget, plan_lines, slot_lines, task_in_words
from autoopt.config import compose
from autoopt.deployment.card import CARD_FACTS
from autoopt.errors import BadInput
from autoopt.goal import Bound, Goal, Objective
from autoopt.recipe import Recipe
from autoopt.records.folder import FORMAT
from autoopt.records.intact import check_journal
from autoopt.records.journal import Journal
from autoopt.records.journal_file import StoreError
from autoopt.records.record import Record
from autoopt.records.settled import Settled
from autoopt.records.stages import FINAL, SEARCH
from autoopt.records.stored import open_stored
from autoopt.records.verdict import Point
from autoopt.report.sentence import compared, conclusion
from autoopt.report.terminal import spent
from autoopt.space import Space
from autoopt.store import Store, digest
from autoopt.study.rebuild import rebuild_mirror
from autoopt.study.runner import Runner

TODAY = date.today().isoformat()
RECIPE = dict(Space.of(compose(["data=digits", "study=quick"])).baseline().tree)


LONG = "a" * 300


def ended(key, score, state="complete", **fields):
    return Record(key, "search", RECIPE, 0, state, score, {}, {}, [], 0, 1, 1.0, 1.0, **fields)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def said(*arguments):
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return said


@pytest.fixture
def begun(tmp_path):
    """A study that was begun, and has no trial yet."""
    folder = tmp_path / "runs" / "signs"
    folder.mkdir(parents=True)
    (folder / "space.yaml").write_text("identity: {}\nobjective: val_loss\ndirection: minimize\n")
    (folder / "config.yaml").write_text(yaml.safe_dump(compose(["data=digits", "study=quick"])))
    (folder / "journal.log").touch()
    return folder


@pytest.fixture
def trained(begun):
    """What `autoopt train` leaves."""
    (begun / "journal.log").unlink()
    (begun / "space.yaml").write_text((begun / "space.yaml").read_text() + "searched: false\n")
    for left in "best", "trials/0":
        (begun / left).mkdir(parents=True)
    return begun


def test_no_studies(run, tmp_path):
    assert run("list") == (0, "No studies in autoopt-runs/. Begin one: autoopt search data=digits\n", "")
    assert run("list", "root=elsewhere")[1].startswith("No studies in elsewhere/.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["list", "signs"], "list: unexpected argument 'signs'; see autoopt list --help"),
        (["list", "rot=x"], "list: no setting named 'rot'. Did you mean 'root'? Known: root."),
        (["list", "--all"], "--all: no such option; autoopt list --help lists them"),
        (["show"], "show: name a study; known: none yet"),
        (["show", "root=runs"], "show: name a study; known: signs"),
        (["show", "sings", "root=runs"], "No study named 'sings' in runs/. Did you mean 'signs'? Known: signs."),
        (["show", "signs"], "No study named 'signs' in autoopt-runs/. Known: none."),
        (["show", "signs", "3", "root=runs"], "signs has no finished trial 3. Known: none."),
        (["show", "signs", "3", "4", "root=runs"], "show: unexpected argument '4'"),
        (["show", "signs", "rot=runs"], "show: no setting named 'rot'. Did you mean 'root'? Known: root."),
        (["finish"], "finish: name a study; known: none yet"),
        (["finish", "sings", "root=runs"], "No study named 'sings' in runs/. Did you mean 'signs'?"),
        (["finish", "signs", "root=runs"], "signs has no finished trial yet; there is nothing to conclude"),
        (["finish", "signs", "--now", "root=runs"], "--now: no such option"),
        (["ui", "port=many"], "port=many: expected a number"),
        (["ui", "port="], "port=: expected a number"),
        (["ui", "port=70000"], "port=70000: expected a number up to 65535"),
        (["ui", "port=²"], "port=²: expected a number"),
        (["show", "signs", f"root={LONG}"], f"root={LONG} cannot be read: File name too long"),
        (["list", f"root={LONG}"], f"root={LONG} cannot be read: File name too long"),
        (["show", LONG, "root=runs"], f"No study named '{LONG}' in runs/. Known: signs."),
        (["train", f"recipe={LONG}", "root=runs"], f"No study named '{LONG}' in runs/. Known: signs."),
        (["search", f"{LONG}.yaml"], f"{LONG}.yaml: File name too long"),
        (["search", "data=digits", f"model={LONG}.yaml"], f"{LONG}.yaml: File name too long"),
        (["search", "data=digits", f"baseline={LONG}.yaml"], f"{LONG}.yaml: File name too long"),
        (["ui", "prt=1"], "ui: no setting named 'prt'. Did you mean 'port'? Known: port, root, tracking.uri."),
        (["ui", "signs"], "No study named 'signs' in autoopt-runs/."),
        (["ui", "sings", "root=runs"], "No study named 'sings' in runs/. Did you mean 'signs'?"),
        (["train", "recipe=sings", "root=runs"], "No study named 'sings' in runs/. Did you mean 'signs'?"),
        (["train", "recipe=sings", "root='runs'"], "No study named 'sings' in runs/. Did you mean 'signs'?"),
        (["train", "recipe=signs", "root=runs"], "signs has no winner yet; give recipe=signs/TRIAL, or resume its search"),
        (["train", "recipe=signs/3", "root=runs"], "signs has no finished trial 3. Known: none."),
    ],
    ids=str,
)
def test_what_is_refused(run, begun, arguments, line):
    before = sorted(p.name for p in begun.iterdir())
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and err.startswith(f"autoopt: {line}") and err.count("\n") == 1
    assert sorted(p.name for p in begun.iterdir()) == before


def test_a_study_that_was_begun(run, begun):
    code, out, _ = run("list", "root=runs")
    assert code == 0 and out.splitlines()[1].split() == ["signs", TODAY, "interrupted", "0/12", "0.00"]
    code, out, _ = run("show", "signs", "root=runs")
    assert (code, out) == (0, "signs\nNot concluded yet: 0 of 12 trials.\n\nfolder: runs/signs\n")


def test_a_name_that_the_shell_has_completed(run, begun, monkeypatch):
    """As a folder, with a slash at its end."""
    journal = Journal(begun / "journal.log", "signs", "minimize")
    journal.add(SEARCH, ended("0", 0.5))
    journal.close()
    monkeypatch.chdir(begun.parent)
    assert run("show", "signs/", "root=.") == run("show", "signs", "root=.")


def test_the_best_trial_of_an_unconcluded_study_is_shown_first(run, begun):
    """It minimises."""
    journal = Journal(begun / "journal.log", "signs", "minimize")
    for key, score, state in [("0", 0.5, "complete"), ("1", 0.25, "complete"), ("2", None, "failed"), ("3", 0.75, "complete")]:
        journal.add(SEARCH, ended(key, score, state, reason=None if score else "lost"))
    journal.close()
    _, out, _ = run("show", "signs", "root=runs")
    header, *rows = (line.split() for line in out.splitlines()[3:8])
    assert header == ["rank", "trial", "val_loss", "gain", "state", "time", "recipe"]
    title = Recipe(RECIPE).title().split()
    assert rows == [
        ["1", "1", "0.2500", "+0.2500", "complete", "1", "s", *title],
        ["2", "0", "0.5000", "+0.0000", "baseline", "1", "s", *title],
        ["3", "3", "0.7500", "-0.2500", "complete", "1", "s", *title],
        ["2", "failed", "(lost)", "1", "s", *title],
    ]
    shown = json.loads(run("show", "signs", "--json", "root=runs")[1])
    assert shown["objectives"] == {"val_loss": "minimize"} and [trial["trial"] for trial in shown["trials"]] == ["1", "0", "3", "2"]
    assert [trial["gain"] for trial in shown["trials"]] == [0.25, 0.0, -0.25, None]
    (listed,) = json.loads(run("list", "--json", "root=runs")[1])
    assert {key: listed[key] for key in ("best", "gain", "interval", "trials", "of")} == {
        "best": 0.25, "gain": 0.25, "interval": None, "trials": 4, "of": 12,
    }  # fmt: skip
    assert run("list", "root=runs")[1].splitlines()[1].split()[3:] == ["4/12", "0.00", "val_loss", "0.2500", "+0.2500"]


def test_a_study_of_many_trials_is_shown_with_the_best_of_them(run, begun, monkeypatch):
    monkeypatch.setattr(show, "MOST", 2)
    journal = Journal(begun / "journal.log", "signs", "minimize")
    for number in range(5):
        journal.add(SEARCH, ended(str(number), 1.0 - 0.1 * number))
    journal.close()
    lines = run("show", "signs", "root=runs")[1].splitlines()
    assert [line.split()[:2] for line in lines[4:6]] == [["1", "4"], ["2", "3"]] and lines[6] == "and 3 more, which --json lists"
    assert len(json.loads(run("show", "signs", "--json", "root=runs")[1])["trials"]) == 5


def test_a_verdict_is_shown_as_the_search_printed_it_wherever_the_study_lies(run, begun):
    points = (Point("7", "sgd", {"val_accuracy": 0.5, "flops": 1.0}),)
    given = verdict(front=points, study="signs", folder="/elsewhere/signs")
    (begun / "verdict.yaml").write_text(given.yaml())
    journal = Journal(begun / "journal.log", "signs", "minimize")
    journal.add(SEARCH, ended("0", 0.5))
    journal.close()
    _, out, err = run("show", "signs", "root=runs")
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == "signs" and lines[1].split() == ["baseline", "winner", "(trial", "7)"]
    assert lines[2].split() == [*["val_accuracy", "on", "the", "test", "split"], "0.5000", "0.8000"]
    for part in (conclusion(given), compared(given), spent(given), "autoopt train recipe=signs/TRIAL root=runs trains one of them."):
        assert lines.count(part) == 1


def test_a_trial_is_a_card_with_its_curves(run, begun):
    journal = Journal(begun / "journal.log", "signs", "minimize")
    journal.add(SEARCH, ended("0", 0.5))
    curves = {"epoch": [1, 2, 3], "val_loss": [2.0, 1.0, 0.25], "own": [None, 1.0, None]}
    journal.add(SEARCH, replace(ended("7", 0.25), curves=curves, metrics={"val_loss": 0.25, "size_mb": 12.5}, epochs=3, origin="old/3"))
    journal.add(SEARCH, ended("8", None, "failed", reason="lost", detail="killed [bold]"))
    journal.close()
    lines = run("show", "signs", "7", "root=runs")[1].splitlines()
    assert lines[1].startswith("search, complete, rank 1, val_loss 0.2500, gain +0.2500, 3 epochs, 1 s, seed ")
    assert "taken over from old/3" in lines
    assert ", 1 epoch, 1 s, " in run("show", "signs", "0", "root=runs")[1]
    rows = [line.split() for line in lines]
    assert ["val_loss", "2.0000", "0.2500", "█▄▁"] in rows and ["own", "1.0000", "1.0000", "▁"] in rows and ["size_mb", "12.50"] in rows
    assert "lost: killed [bold]" in run("show", "signs", "8", "root=runs")[1], "text is no markup"
    shown = json.loads(run("show", "signs", "7", "root=runs", "--json")[1])
    assert shown["epochs"]["val_loss"] == [2.0, 1.0, 0.25] and shown["recipe"] == RECIPE


def test_a_study_that_runs_is_running(run, begun):
    with (begun / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        assert run("list", "root=runs")[1].splitlines()[1].split()[2] == "running"
    assert run("list", "root=runs")[1].splitlines()[1].split()[2] == "interrupted"
    (begun / "lock").write_text(f"77 {gethostname()}")
    assert run("list", "root=runs")[1].splitlines()[1].split()[2] == "interrupted"


def test_a_study_of_another_host_is_not_taken_for_dead(run, begun, monkeypatch):
    """Its lock may not be seen here."""
    told = []
    monkeypatch.setattr("autoopt.commands.words.end_runs", lambda paths: told.extend(paths))
    (begun / "lock").write_text("77 node07")
    assert run("list", "root=runs")[1].splitlines()[1].split()[2] == "unknown"
    run("show", "signs", "root=runs")
    assert told == []


def test_the_pages_are_served_on_the_store_and_port_that_are_named(run, begun, monkeypatch):
    served = []
    (begun / "tracking.jsonl").write_text('{"spool": "0123456789"}\n{"end": true}\n')
    monkeypatch.setattr("autoopt.commands.ui.ui", lambda uri, **more: served.append((uri, more)) or 0)
    assert run("ui", "signs", "root=runs", "tracking.uri=sqlite:///x.db", "port=5055")[0] == 0
    assert run("ui", "tracking.uri=sqlite:///y.db")[0] == 0
    assert [(Path(uri).name, more) for uri, more in served] == [
        ("x.db", {"port": 5055, "experiment": "signs", "view": "autoopt-01234567"}),
        ("y.db", {"port": 0, "experiment": None, "view": None}),
    ]


def test_pages_that_lack_a_study_say_how_it_comes_there(run, begun, monkeypatch):
    (begun / "tracking.jsonl").write_text('{"spool": "0123456789"}\n{"end": true}\n')
    config = begun / "config.yaml"
    config.write_text(config.read_text().replace("enabled: true", "enabled: false"))
    monkeypatch.setattr("autoopt.commands.ui.ui", lambda *_, **__: 0)
    told = "MLflow was not told of the runs of signs (tracking.enabled=false): autoopt report signs root=runs --mirror writes them"
    assert told in run("ui", "signs", "root=runs")[1]


def test_a_training_is_no_search(run, trained):
    code, out, _ = run("list", "root=runs")
    assert code == 0 and out.splitlines()[1].split() == ["signs", TODAY, "trained"]
    assert run("show", "signs", "root=runs")[1].startswith("signs\nA training, not a search: best/ holds the trained model.\n")
    said = run("finish", "signs", "root=runs")
    assert said == (2, "", "autoopt: signs is a training, not a search; there is nothing to conclude\n")


def test_a_training_that_has_not_ended(run, trained):
    (trained / "best").rmdir()
    assert run("list", "root=runs")[1].splitlines()[1].split() == ["signs", TODAY, "interrupted"]
    assert "it has not ended" in run("show", "signs", "root=runs")[1]


def test_finish_concludes_with_the_study_as_it_was_configured(run, begun, monkeypatch):
    journal = Journal(begun / "journal.log", "signs")
    journal.add(SEARCH, ended("0", 0.5))
    journal.close()
    called = []
    monkeypatch.setattr("autoopt.commands.finish.search", lambda tree, screen, **more: called.append((tree, more)))
    monkeypatch.setattr("autoopt.commands.finish.closing", lambda verdict, say, mirrored: None)
    assert run("finish", "signs", "root=runs")[0] == 0
    config = yaml.safe_load((begun / "config.yaml").read_text())
    assert called == [(config | {"root": "runs"}, {"asking": False})]


def planning(*overrides, folds=1, part="test"):
    """What a plan is made from: a study that is ready, with two workers, and its settled space."""
    tree = compose(list(overrides))
    runner = Runner(SimpleNamespace(workers=2), None, None, None)
    ready = SimpleNamespace(tree=tree, runner=runner, facts={"folds": folds}, baseline=None)
    return ready, Settled(Space.of(tree), Goal((Objective("val_accuracy", "maximize"),)), part)


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        (
            [],
            [
                "ablation  at most 10 trainings of recipes between the baseline and the winner, if it wins",
                "in all    28 trainings, 2 at a time; at most 140 epochs",
            ],
        ),
        (
            ["compression=half", "study.ablation=false"],
            ["compress  7 compressions of the best 1", "in all    18 trainings and 7 compressions, 2 at a time; at most 90 epochs"],
        ),
        (
            ["study.trials=60", "study.ablation=false"],
            [
                "confirm   the best 4 race on fresh seeds, the better half goes on: 6 trainings",
                "in all    72 trainings, 2 at a time; at most 360 epochs",
            ],
        ),
        (
            ["study.trials=61", "study.ablation=false", "study.compare=optimizer", "optimizer=adamw,sgd,lion"],
            [
                "compare   20 trials of each optimizer; the best of each on 5 fresh seeds",
                "in all    81 trainings, 2 at a time; at most 405 epochs",
            ],
        ),
    ],
    ids=["none", "half", "more", "compared"],
)
def test_the_sum_of_a_plan(overrides, lines):
    node = ["study.trials=12", "study.seeds=3", "study.epochs=5", "study.stopping=false", "study.compress=7"]
    ready, settled = planning("data=digits", *node, *overrides)
    text = [line.strip() for line in budget(ready, settled, Workload.of(ready, settled))]
    assert [line for line in text if line.startswith(("compress", "compare", "confirm", "ablation", "in all"))] == lines


@pytest.mark.parametrize(
    ("overrides", "changes", "kept"),
    [
        ([], {}, 2 * 3 + 1),
        ([], {"folds": 5}, 5 * 2 * 3 + 1),
        (["compression=half"], {}, 12 + 7 + 2 * 3 + 1),
        (["study.compare=optimizer", "optimizer=adamw,sgd,lion"], {}, 3 * 5 + 2 * 3 + 1),
        (["study.compare=optimizer", "optimizer=adamw,sgd,lion"], {"part": "validation"}, 2 * 3 + 1),
    ],
    ids=["none", "folds", "compressed", "compared", "without a test part"],
)
def test_how_many_weights_a_study_keeps_at_most(overrides, changes, kept):
    sizes = ["study.trials=12", "study.seeds=3", "study.compress=7"]
    assert Workload.of(*planning("data=digits", *sizes, *overrides, **changes)).weights == kept


def test_where_time_is_judged_a_plan_counts_one_trial_at_a_time():
    ready, settled = planning("data=digits", "study.trials=12")
    timed = replace(settled, goal=Goal(settled.goal.objectives, (Bound(Objective("latency_ms", "minimize"), 2.0),)))
    text = "\n".join(budget(ready, timed, Workload.of(ready, timed)))
    assert "trainings, 1 at a time" in text


def test_a_plan_refuses_the_comparison_that_a_search_refuses():
    few = ["optimizer.sgd.lr=0.1,0.2,0.3", "optimizer.sgd.weight_decay=0", "schedule=constant", "augmentation=none", "regularizer=none",
           "batches.size=32", "initializer=keep", "loss=mse", "model.mlp.width=8", "model.mlp.depth=1", "model.mlp.connection=plain",
           "device=cpu", "device.cpu.precision=32"]  # fmt: skip
    said = ["data=digits", "optimizer=adamw,sgd", "study.compare=optimizer", "study.trials=8"]
    with pytest.raises(BadInput, match=r"study\.compare=optimizer: sgd leaves 3 recipes, fewer than its 4 trials"):
        Workload.of(*planning(*said, *few))
    ready, settled = planning(*said)
    with pytest.raises(BadInput, match=r"study\.compare=optimizer: only adamw is left; optimizer/sgd was left out: it fails"):
        list(plan_lines(ready, replace(settled, space=settled.space.without("optimizer", "sgd", "it fails"))))


def test_a_plan_claims_no_task_for_a_module_with_loaders():
    """Batches of images and masks are none of classes, and no regression of one value."""
    facts = {"kind": "regression", "input_shape": (3, 8, 8), "outputs": 1, "lightning": True, "sizes": {}}
    assert task_in_words(facts) == "of the LightningModule: inputs 3x8x8; examples: as the data module splits them"
    ours = {**facts, "lightning": False, "sizes": {"train": 5}}
    assert task_in_words(ours) == "regression: inputs 3x8x8, 1 outputs; examples: 5 train"


def test_a_plan_tells_what_may_be_chosen_in_a_slot():
    space = Space.of(compose(["data=digits", "optimizer=adamw,sgd", "optimizer.adamw.lr=interval(1e-4,1)", "optimizer.sgd.lr=0.5,20",
                              "regularizer=l1,gradient_clip,ema", "regularizer.l1.use=true", "regularizer.ema.use=false"]))  # fmt: skip
    optimizer = [line.split() for line in slot_lines(space, "optimizer")]
    assert optimizer[:2] == [["optimizer", "(one", "of", "these)"], ["adamw"]]
    assert "tag(log, interval(0.0001, 1.0))   (advised: tag(log, interval(1e-05, 0.1)))" in "\n".join(slot_lines(space, "optimizer"))
    assert any(line[:3] == ["lr", "choice(0.5,", "20.0)"] and "(advised:" in line for line in optimizer)
    techniques = [line.strip() for line in slot_lines(space, "regularizer") if not line.startswith("      ")]
    assert techniques == ["regularizer", "l1  always", "gradient_clip  on or off", "ema  never"]


def test_a_plan_shows_no_settings_that_are_not_given():
    space = Space.of(compose(["data=csv", "data.csv.path=a.csv", "data.csv.target=y"]))
    shown = [line.split()[0] for line in slot_lines(space, "data")]
    assert shown == ["data", "csv", "target", "path"]


def test_the_columns_of_a_plan_hold_with_a_long_key():
    lines = list(aligned([("loss/mse", "none"), ("optimizer/keep.weight_decay_scale", "no group")], "  "))
    assert lines == [f"  loss/mse{' ' * 25}  none", "  optimizer/keep.weight_decay_scale  no group"]


def test_a_mirror_that_cannot_be_written_is_told(begun, monkeypatch):
    journal = Journal(begun / "journal.log", "signs")
    journal.add(SEARCH, ended("0", 0.5))
    journal.close()
    study = open_stored("signs", str(begun.parent))
    with monkeypatch.context() as full:
        full.setattr("os.write", refusing(OSError(28, "No space left on device")))
        with pytest.raises(StoreError, match=r"runs/signs has no room for \d+ records of signs: MLflow got none"):
            rebuild_mirror(study, "sqlite:///none.db")
    monkeypatch.setattr("os.mkdir", refusing(OSError(30, "Read-only file system")))
    with pytest.raises(StoreError, match="runs/signs cannot be written: Read-only file system"):
        rebuild_mirror(study, "sqlite:///none.db")


def refusing(error):
    def refuse(*_):
        raise error

    return refuse


@pytest.mark.parametrize("arguments", [["list"], ["show", "signs"]])
def test_a_study_whose_process_died_is_told_to_mlflow_by_the_next_command(run, begun, monkeypatch, arguments):
    told = []
    monkeypatch.setattr("autoopt.commands.words.end_runs", lambda paths: told.extend(paths))
    with (begun / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        run(*arguments, "root=runs")
        assert told == [], "it runs"
    run(*arguments, "root=runs")
    assert told == [Path("runs/signs")]


@pytest.mark.parametrize(
    ("arguments", "rest", "model"),
    [
        (["s", "--register", "m"], ["s"], "m"),
        (["--register=m", "s", "17"], ["s", "17"], "m"),
        (["s", "to=d"], ["s", "to=d"], None),
    ],
)
def test_the_name_of_a_registered_model_is_taken_from_the_arguments(arguments, rest, model):
    assert without_option(arguments, "--register") == (rest, model)


@pytest.mark.parametrize("arguments", [["s", "--register"], ["--register="], ["--register", "--json"]])
def test_a_registered_model_needs_a_name(arguments):
    with pytest.raises(BadInput, match="--register: name the model, such as --register my-model"):
        without_option(arguments, "--register")


def test_an_export_takes_no_place_that_holds_something_else(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years")
    (tmp_path / "file").write_text("data")
    (tmp_path / "empty").mkdir()
    for name in ("precious", "file"):
        with pytest.raises(BadInput, match=f"to=.*{name} exists already and is not an earlier export; name a new folder"):
            check_free(tmp_path / name)
    check_free(tmp_path / "empty")
    check_free(tmp_path / "new")
    (tmp_path / "precious" / "model.json").write_text("{}")
    check_free(tmp_path / "precious")
    study = tmp_path / "runs" / "signs"
    (study / "best").mkdir(parents=True)
    (study / "space.yaml").touch()
    (study / "best" / "model.json").write_text("{}")
    (tmp_path / "link").symlink_to(study)
    for path in (study / "best", tmp_path / "link" / "best", study / ".." / "signs" / "best"):
        with pytest.raises(BadInput, match=r"to=.*best is the best of a study, which its verdict tells of"):
            check_free(path)


def with_export(folder, weights):
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights)
    card = {"recipe": {}, "sha256": digest(folder / "model.safetensors"), **dict.fromkeys(CARD_FACTS)}
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def test_a_form_that_cannot_be_written_is_told(run, begun, monkeypatch):
    def write(folder):
        raise OSError(30, "Read-only file system", str(folder / "README.md"))

    with_export(begun / "best", b"weights")
    monkeypatch.setattr("autoopt.deployment.checkpoint.write_checkpoint", write)
    code, _, err = run("export", "signs", "root=runs")
    assert code == 75 and "best/model.ckpt cannot be written: [Errno 30] Read-only file system: 'runs/signs/best/README.md'" in err


def test_nothing_stays_of_an_earlier_export_in_its_place(begun, tmp_path):
    best, place = with_export(begun / "best", b"new"), with_export(tmp_path / "out", b"old")
    (place / "model.onnx").write_bytes(b"old")
    written(open_stored("signs", str(begun.parent)), None, place)
    assert sorted(path.name for path in place.iterdir()) == ["model.json", "model.safetensors"]
    assert (place / "model.safetensors").read_bytes() == b"new" == (best / "model.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs"]


def with_trial(folder):
    journal = Journal(folder / "journal.log", "signs", "minimize")
    journal.add(SEARCH, ended("0", 0.5))
    journal.close()
    (folder / "trials" / "0").mkdir(parents=True)


def test_a_trial_whose_weights_were_not_kept_is_not_exported(run, begun):
    with_trial(begun)
    journal = Journal(begun / "journal.log", "signs", "minimize")
    journal.add(FINAL, ended("0-final-0", 0.5))
    journal.close()
    (begun / "trials" / "0-final-0").mkdir()
    with Store(begun).writing("0-final-0") as path:
        path.write_bytes(b"weights")
    code, _, err = run("export", "signs", "0", "root=runs")
    assert (code, " ".join(err.split())) == (2, "autoopt: signs has no winner yet; autoopt finish signs root=runs concludes it")
    (begun / "best").mkdir()
    (begun / "best" / "model.safetensors").write_bytes(b"weights")
    card = {"recipe": {}, "sha256": digest(Store(begun).weights("0-final-0")), "objective": "val_loss", **dict.fromkeys(CARD_FACTS)}
    (begun / "best" / "model.json").write_text(json.dumps(card))
    code, out, err = run("export", "signs", "0", "root=runs")
    assert (code, out) == (2, "") and not (begun / "export").exists()
    kept = "kept are those of 0-final-0; autoopt train recipe=signs/0 root=runs trains it again"
    assert " ".join(err.split()).endswith(f"/runs/signs/trials/0/model.safetensors; {kept}")


SPOILT = {
    "config.yaml": [
        "",
        "a: [",
        "- 1",
        "a: 1",
        "\x00",
        "study: 3\ntracking: {}",
        "[" * 3000,
        "{a: " * 300 + "1" + "}" * 300,
        "a: 2000-13-01",
    ],
    "verdict.yaml": ["", "a: [", "- 1", "gain: 1", "# crc32 1\ngain: 1", "{}", "[" * 99 + "]" * 99],
    "space.yaml": ["", "a: [", "3", "# crc32 1\nformat: 3"],
    "journal.log": ["nothing\n{}\n", ""],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in SPOILT.items() for text in texts], ids=repr)
def test_a_spoilt_study_is_told_in_one_line_and_hides_no_other(run, begun, name, text):
    shutil.copytree(begun, begun.parent / "whole")
    with_trial(begun)
    (begun / name).write_text(text)
    code, out, err = run("list", "root=runs")
    assert "whole" in out.split() and err.count("\n") == 1
    assert code == 2 and name in err
    if name == "space.yaml":  # which a study without trials is shown without
        return
    code, out, err = run("show", "signs", "root=runs")
    assert code == (75 if text.startswith("nothing") else 2) and out == ""
    assert err.count("\n") == 1 and f"runs/signs/{name}" in err


def test_a_journal_that_cannot_be_opened_is_told_in_one_line_and_hides_no_other(run, begun):
    shutil.copytree(begun, begun.parent / "whole")
    (begun / "journal.log").unlink()
    (begun / "journal.log").mkdir()
    code, out, err = run("list", "root=runs")
    assert "whole" in out.split() and (code, err.count("\n")) == (2, 1)
    for command in ("show", "report", "finish", "export"):
        assert run(command, "signs", "root=runs") == (75, "", "autoopt: runs/signs/journal.log cannot be opened: Is a directory\n")


@pytest.mark.parametrize("how", ["journal lost", "folder renamed"])
def test_a_study_that_lost_its_trials_is_not_shown_as_a_new_one(run, begun, how):
    with_trial(begun)
    if how == "journal lost":
        (begun / "journal.log").unlink()
    else:
        begun.rename(begun.parent / "other")
    name = "signs" if how == "journal lost" else "other"
    for arguments in (("list",), ("show", name), ("finish", name), ("export", name), ("reproduce", name, "0")):
        code, _, err = run(*arguments, "root=runs")
        assert code == 2 and err.count("\n") == 1
        assert f"runs/{name}/journal.log has no trials of {name}, but trials/0 is there: restore it" in err, arguments


@pytest.mark.parametrize("text", ["", f"format: {FORMAT}", "a: [", "[]"])
def test_a_spoilt_space_ends_a_search_before_it_begins(run, begun, text):
    (begun / "space.yaml").write_text(text)
    before = (begun / "config.yaml").read_text()
    code, out, err = run("search", "data=digits", "name=signs", "root=runs")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "space.yaml" in err and "restore it from a backup, or give" in err
    assert (begun / "config.yaml").read_text() == before


@pytest.mark.parametrize("left", ["verdict.yaml", "trials/3"])
def test_a_study_whose_journal_is_lost_does_not_begin_anew(tmp_path, left):
    check_journal(tmp_path)
    (tmp_path / left).mkdir(parents=True)
    with pytest.raises(BadInput, match=rf"journal\.log has no trials of .*, but {left} is there: restore it from a backup"):
        check_journal(tmp_path)
