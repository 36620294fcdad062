import errno
import os
import re
import subprocess
import sys
from dataclasses import replace
from fcntl import LOCK_EX, flock
from pathlib import Path
from socket import gethostname

import pytest
import yaml
from scripted import composed, space

from autoopt.config import compose
from autoopt.errors import BadInput
from autoopt.goal import Goal, Objective
from autoopt.records.folder import FORMAT, SUM, Folder, contents, default_name, derived_seed, replace_file, study_identity, summed
from autoopt.records.journal_file import StoreError
from autoopt.records.run_fields import searched_parameters
from autoopt.records.settled import Settled
from autoopt.tracking import store_uri
from autoopt.tracking.spool import Destination

SETTLED = Settled(space(), Goal((Objective("val_accuracy", "maximize"),)), "test")
FACTS = {"examples": "0", "sources": {}}


@pytest.fixture
def folder(tmp_path):
    """Opens studies under one root, and closes them."""
    made = []

    def make(*overrides):
        made.append(Folder({**composed("data=digits", *overrides), "root": str(tmp_path)}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def begun(folder, *overrides):
    one = folder(*overrides)
    one.settle(SETTLED, FACTS)
    return closed(one)


def closed(one):
    one.close()
    one.lock = os.open(os.devnull, os.O_RDONLY)  # for the fixture to close
    return one


MAY_CHANGE = (
    "study.trials=7",
    "study.time=1h",
    "study.stopping=false",
    "study.confirm=1",
    "study.seeds=2",
    "executor.workers=3",
    "executor.trial_time=5m",
    "strategy=random",
    "strategy.bayes.startup=20",
    "tracking.enabled=false",
    "tracking.uri=sqlite:///other.db",
    "tracking.experiment=x",
)


@pytest.mark.parametrize("change", MAY_CHANGE)
def test_budget_strategy_executor_and_tracking_may_change(folder, change):
    first = begun(folder, "name=s")
    second = folder("name=s", change)
    assert second.path == first.path
    assert default_name(second.tree) == default_name(first.tree)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimizer=adamw", r"^s was begun with optimizer=adamw,sgd, now adamw$"),
        ("optimizer=sgd,adamw", r"^s was begun with optimizer=adamw,sgd, now sgd,adamw$"),
        ("augmentation=none", r"^s was begun with augmentation=[\w,]+, now none$"),
        ("optimizer.adamw.lr=0.01", r"s was begun with optimizer\.adamw\.lr=.*interval.*, now 0\.01"),
        ("model=linear", r"^s was begun with model=mlp, now linear$"),
        ("data.digits.train=100", r"s was begun with data\.digits\.train=null, now 100"),
        ("split.seed=1", r"s was begun with split\.seed=0, now 1"),
        ("batches.size=32", r"s was begun with batches\.size=choice\(32, *64, *128\), now 32"),
        ("seed=1", r"s was begun with seed=0, now 1"),
        ("objective=val_f1", r"s was begun with objective=null, now val_f1"),
        ("direction=minimize", r"s was begun with direction=null, now minimize"),
        ("study.epochs=7", r"s was begun with study\.epochs=30, now 7"),
        ("trainer.gradient_clip_val=5", r"s was begun with trainer\.gradient_clip_val=nothing, now 5"),
        ("trainer.callbacks=my:callbacks", r"s was begun with trainer\.callbacks=nothing, now my:callbacks"),
    ],
)
def test_anything_else_is_refused_with_the_difference(folder, change, said):
    base = ["name=s", *([] if change.startswith("optimizer=") else ["optimizer=adamw,sgd"])]
    first = begun(folder, "name=s", "optimizer=adamw,sgd")
    with pytest.raises(BadInput) as caught:
        folder(*base, change)
    assert len(caught.value.problems) == 2, "one line for one change"
    assert re.search(said, caught.value.problems[0])
    assert caught.value.problems[-1].startswith("A study keeps its space: give it another name=, or leave name= out, or repeat")
    assert default_name(composed("data=digits", *base, change)) != default_name(first.tree)
    assert folder("name=s", "optimizer=adamw,sgd"), "what was refused holds no lock"


def test_another_order_of_the_options_is_another_study():
    """The first option is the baseline."""
    assert default_name(composed("data=digits", "optimizer=adamw,sgd")) != default_name(composed("data=digits", "optimizer=sgd,adamw"))


def test_a_baseline_file_is_known_by_what_it_says(folder, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("optimizer: {sgd: {lr: 0.1}}\n")
    asked = ("name=s", f"baseline={file}")
    first = begun(folder, *asked)
    name = default_name(first.tree)
    file.write_text("# the same\noptimizer:\n  sgd:\n    lr: 0.1\n")
    closed(folder(*asked))
    moved = tmp_path / "moved.yaml"
    moved.write_text(file.read_text())
    assert default_name(composed("data=digits", "name=s", f"baseline={moved}")) == name == default_name(first.tree)
    file.write_text("optimizer: {sgd: {lr: 0.2}}\n")
    with pytest.raises(BadInput) as caught:
        folder(*asked)
    assert caught.value.problems[0] == "s was begun with baseline.optimizer.sgd.lr=0.1, now 0.2"
    assert default_name(first.tree) != name
    with pytest.raises(BadInput, match=r"s was begun with baseline\.optimizer\.sgd\.lr=0\.1, now nothing"):
        folder("name=s")


def test_the_default_name(folder):
    one = folder()
    assert one.path.name == one.name
    assert pytest.approx(len(one.name)) == len("digits-mlp-") + 6
    assert one.name.startswith("digits-mlp-")


@pytest.mark.slow
def test_only_one_process_at_a_time(folder, tmp_path):
    script = (
        "import sys, time; from autoopt.config import compose; from autoopt.records.folder import Folder\n"
        f"folder = Folder(compose(['root={tmp_path}', 'data=digits', 'name=s'])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BadInput, match=rf"s is being searched by process {other.pid}; wait for it, or give this search another name="):
            folder("name=s")
        other.kill()
        other.wait()
        assert (tmp_path / "s" / "lock").read_text() == f"{other.pid} {gethostname()}"
        folder("name=s")
    assert (tmp_path / "s" / "lock").read_text() == f"{os.getpid()} {gethostname()}"


def test_a_script_that_its_own_trials_begin_again_is_told_the_way_out(folder, monkeypatch):
    monkeypatch.setattr("autoopt.process.system.trials_here", True)
    _held = folder("name=s")
    with pytest.raises(BadInput, match="s is being searched, and what its own processes import begins it again: put the call under if"):
        folder("name=s")


def test_a_search_on_another_host_is_named_with_its_host(folder, tmp_path):
    (tmp_path / "s").mkdir()
    with (tmp_path / "s" / "lock").open("w") as lock:
        lock.write("77 node07")
        lock.flush()
        flock(lock, LOCK_EX)
        with pytest.raises(BadInput, match=r"s is being searched by process 77 on node07; wait for it"):
            folder("name=s")


def test_a_file_system_without_locks_is_told_as_such(folder, monkeypatch):
    """Such as Lustre mounted without `flock`: nobody searches there."""

    def flock(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(BadInput, match=r"lock cannot be locked \(Function not implemented\): give a root= on another file system"):
        folder("name=s")


def test_a_longer_process_number_leaves_nothing_behind(folder, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "lock").write_text("12345678901234567890" * 20)
    folder("name=s")
    assert (tmp_path / "s" / "lock").read_text() == f"{os.getpid()} {gethostname()}"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"root=.*/file: .*/file/s cannot be written: Not a directory"):
        Folder(compose([f"root={tmp_path}/file", "data=digits", "name=s"]))


def test_nothing_is_settled_before_it_is_known_to_work(folder, tmp_path):
    folder("name=s")
    assert [p.name for p in (tmp_path / "s").iterdir()] == ["lock"]


def test_what_is_settled(folder):
    one = folder("name=s", "optimizer=sgd,adamw")
    one.settle(SETTLED, FACTS)
    settled, config = (yaml.safe_load((one.path / name).read_text()) for name in ("space.yaml", "config.yaml"))
    assert list(settled["identity"]["optimizer"]) == list(config["optimizer"]) == ["sgd", "adamw"], "the first is the baseline's"
    assert settled["techniques"]["optimizer/sgd"].startswith("autoopt ")
    assert (settled["objective"], settled["direction"]) == ("val_accuracy", "maximize")
    assert (settled["left_out"], settled["quarantined"], settled["format"]) == ({}, [], FORMAT)
    assert settled["columns"] == searched_parameters(SETTLED.space) and "optimizer" in settled["columns"]
    assert one.locked == settled
    assert compose([f"{k}={v}" for k, v in {"root": config["root"]}.items()], str(one.path / "config.yaml")) == config


def test_what_was_left_out_is_settled_with_it(folder):
    dropped = {"device/cuda": "no CUDA device", "optimizer/mine": "boom"}
    one = folder("name=s")
    assert one.locked is None
    found = replace(space(), dropped=dropped, broken=frozenset({"optimizer/mine"}), unfit={"mlp": {"activation/relu": "no"}})
    one.settle(Settled(found, Goal((Objective("val_loss", "minimize"),)), "training"), FACTS)
    one.settle(SETTLED, FACTS)
    assert (one.locked["left_out"], one.locked["quarantined"]) == (dropped, ["optimizer/mine"])
    assert (one.locked["objective"], one.locked["direction"], one.locked["part"]) == ("val_loss", "minimize", "training"), "it stays"
    assert one.locked["unfit"] == {"mlp": {"activation/relu": "no"}}


def test_the_space_stays_and_the_config_follows(folder):
    one = begun(folder, "name=s", "study.trials=5")
    before = (one.path / "space.yaml").read_bytes()
    two = folder("name=s", "study.trials=9")
    two.settle(SETTLED, FACTS)
    assert (two.path / "space.yaml").read_bytes() == before
    assert yaml.safe_load((two.path / "config.yaml").read_text())["study"]["trials"] == 9


def test_the_command_that_finishes_it(folder, tmp_path, monkeypatch):
    assert folder("name=s").finish == f"autoopt finish s root={tmp_path}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "config")
    default = Folder(compose(["data=digits", "name=s", "augmentation=[own_parts:noise]", "metrics=own_parts:score own_parts:other"]))
    assert default.finish == "autoopt finish s trust=own_parts:noise,own_parts:score,own_parts:other"
    default.close()


@pytest.mark.parametrize("call", ["open", "replace", "fsync"])
def test_writing_is_all_or_nothing(tmp_path, monkeypatch, call):
    path = tmp_path / "verdict.yaml"
    replace_file(path, "old")
    replace_file(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["verdict.yaml"]

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if call == "fsync" else type(path), call, full)
    with pytest.raises(StoreError, match=r"verdict\.yaml cannot be written: No space left on device"):
        replace_file(path, "newer")
    monkeypatch.undo()
    assert path.read_text() == "new"


def test_a_file_that_has_changed_in_any_byte_is_told(tmp_path):
    path = tmp_path / "space.yaml"
    replace_file(path, summed("a: 1\nb: [2, 3]\n"))
    whole = path.read_bytes()
    assert contents(path, ["a"]) == {"a": 1, "b": [2, 3]}
    remedy = "restore it from a backup, or give the search another name="
    for place in range(len(whole)):
        spoilt = [whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]]
        for text in spoilt if place >= len(SUM) else spoilt[:1]:
            path.write_bytes(text)
            with pytest.raises(BadInput, match=rf"space\.yaml (is|cannot|lacks) .*: {remedy}$"):
                contents(path, ["a"])


def test_a_file_of_an_earlier_version_has_no_checksum(tmp_path):
    (tmp_path / "space.yaml").write_text("a: {b: 1}\n")
    assert contents(tmp_path / "space.yaml", ["a.b"]) == {"a": {"b": 1}}
    with pytest.raises(BadInput, match=r"space\.yaml lacks a\.c: restore it"):
        contents(tmp_path / "space.yaml", ["a.c"])


def test_seeds_have_names():
    seeds = {derived_seed(seed, key) for seed in range(3) for key in ("0", "1", "0-final-0", "search 0")}
    assert len(seeds) == 12
    assert all(0 <= s < 2**31 for s in seeds)
    assert max(derived_seed(0, str(n)) for n in range(500)) > 0.99 * 2**31, "all of 31 bits are used"
    assert derived_seed(0, "1") == derived_seed(0, "1")
    assert derived_seed(11, "2") != derived_seed(1, "12")


def test_other_data_under_the_same_name_is_refused(folder):
    one = folder()
    one.same_data("abc")  # there is nothing yet to compare with
    one.settle(SETTLED, FACTS | {"examples": "abc"})
    one.same_data("abc")
    with pytest.raises(BadInput, match=r"the data of .* has changed since it was begun: put it back, or give this search another name="):
        one.same_data("def")


def test_a_study_that_could_not_be_begun_leaves_nothing_of_its_own(folder, tmp_path):
    one = folder()
    (one.path / "template.log").touch()
    one.vanish()
    assert not one.path.exists()
    two = folder()
    (two.path / "mine.txt").touch()
    two.vanish()
    assert [p.name for p in two.path.iterdir()] == ["mine.txt"]
    three = folder()
    three.settle(SETTLED, FACTS)
    three.vanish()
    assert (three.path / "lock").exists() and three.locked


def test_code_that_has_changed_is_named(folder):
    one = folder()
    assert one.changed_code({"model=mine:Net": "a"}) == [], "it is new"
    one.settle(SETTLED, FACTS | {"sources": {"model=mine:Net": "a", "loss=mine:loss": "a"}})
    assert one.changed_code({"model=mine:Net": "b", "loss=mine:loss": "a", "loss=mine:other": "c"}) == ["model=mine:Net"]


SECRET = "s3cr%2Ft-w0rd"
ADDRESSES = [
    f"{scheme}://{who}@host{rest}"
    for scheme in ("https", "postgresql", "mysql+pymysql")
    for who, rest in ((f"me:{SECRET}", ""), (SECRET, ""), (f"me:{SECRET}", ":5/db?a=b"), ("me", f"/db?password={SECRET}"))
]


@pytest.mark.parametrize("uri", ADDRESSES)
def test_no_password_of_a_tracking_server_is_written(folder, uri):
    one = folder("name=s", f"tracking.uri='{uri}'")
    one.settle(SETTLED, FACTS)
    written = "".join(path.read_text() for path in one.path.iterdir())
    assert SECRET not in written and "s3cr/t-w0rd" not in written and "host" in written
    assert (one.path / "config.yaml").stat().st_mode & 0o777 == 0o600
    kept = yaml.safe_load((one.path / "config.yaml").read_text())["tracking"]["uri"]
    with pytest.raises(
        BadInput, match=r"tracking\.uri=.*\*\*\*.*: the credentials in it were not kept: give tracking\.uri= with them"
    ) as said:
        store_uri(kept)
    assert SECRET not in str(said.value)


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////data/runs.db?timeout=60&mode=rwc",
        "postgresql://host/db?sslmode=require&connect_timeout=10&application_name=runs",
        "mysql+pymysql://host/db?charset=utf8mb4",
        "mssql+pyodbc://host/db?driver=ODBC+Driver+18+for+SQL+Server&TrustServerCertificate=yes",
        "sqlite:///file:/data/runs.db?cache=shared&uri=true",
    ],
)
def test_settings_in_an_address_are_no_credentials(uri):
    where = Destination("s", uri, "runs")
    assert where.header()["uri"] == where.shown == uri


LEAKY = ["password", "PWD", "passwd", "user", "api_key", "access-token", "client_secret", "odbc_connect", "sig", "code", "jwt", "sas"]


@pytest.mark.parametrize("key", [*LEAKY, "options", "X-Amz-Signature", "t%6Fken", "anything"])
def test_credentials_in_an_address_are_hidden_under_any_key_that_is_no_known_setting(key):
    where = Destination("s", f"mssql+pyodbc://host/db?timeout=60&{key}={SECRET}", "runs")
    assert where.header()["uri"] is None and where.shown == f"mssql+pyodbc://host/db?timeout=60&{key}=***"


def test_a_credential_without_a_key_is_hidden():
    assert Destination("s", f"https://host/path?{SECRET}", "runs").header()["uri"] is None


def test_a_password_is_not_shown_in_an_error():
    with pytest.raises(BadInput, match=r"tracking\.uri=ftp://me:\*\*\*@host: expected one of"):
        store_uri(f"ftp://me:{SECRET}@host")


def test_settings_that_came_later_are_no_part_of_the_identity_at_their_defaults():
    """A study of an earlier version goes on."""
    plain, scaled = (study_identity(compose(["data=digits", *more])) for more in ([], ["batches.scale_lr=linear"]))
    assert "scale_lr" not in plain["batches"] and scaled["batches"]["scale_lr"] == "linear"
    assert plain["study"] == {"epochs": 30} and not {"constraints", "trainer"} & plain.keys()
