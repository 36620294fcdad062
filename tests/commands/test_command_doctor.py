"""`autoopt doctor`: what is checked, and what is broken with its remedy."""

import tomllib
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from autoopt.catalogue import catalogue
from autoopt.cli import main
from autoopt.commands.installed import Checked, check_package, devices_here, environment, plugins, registered_in_vain, versions_tested
from autoopt.commands.stores import check_folder, check_stores, check_study
from autoopt.executor.resources import Machine
from autoopt.records.folder import FORMAT
from autoopt.technique import find

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path, as pip would fill it; the catalogue is read anew before and after."""
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield tmp_path
    forget()


def forget():
    catalogue.cache_clear()
    find.cache_clear()


def distribution(site, name, points, metadata=""):
    info = site / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n{metadata}")
    (info / "entry_points.txt").write_text(points)
    return Distribution.at(info)


def broken(checks):
    return [check.text for check in checks if check.state == "broken"]


def test_a_sound_installation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [
        "environment", "devices", "plugins", "stores", "", "Nothing is broken."
    ]  # fmt: skip
    assert f"{len(catalogue())} plugins are loaded" in out and list(tmp_path.iterdir()) == []


def test_something_broken_is_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("autoopt.commands.installed.plugins", lambda: iter([Checked("ok", "most")]))
    assert main(["doctor", "tracking.uri=runs.json"]) == 1
    out = capsys.readouterr().out
    assert "  broken   tracking.uri=runs.json: MLflow keeps runs in a database or a server" in out and out.endswith("\n1 broken\n")


@pytest.mark.parametrize(("word", "line"), [("now", "doctor: unexpected argument 'now'"), ("rot=x", "doctor: no setting named 'rot'")])
def test_what_is_refused(capsys, word, line):
    assert main(["doctor", word]) == 2
    assert capsys.readouterr().err.startswith(f"autoopt: {line}")


def test_every_package_has_a_tested_version():
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["all"]]
    names = {canonicalize_name(Requirement(line).name) for line in needed} - {"autoopt"}
    assert names <= versions_tested().keys()


@pytest.mark.parametrize(
    ("line", "state", "text"),
    [
        ("numpy>=2", "ok", "numpy"),
        ("numpy>=900", "broken", "autoopt needs >=900: pip install 'numpy>=900'"),
        ("numpy<1", "broken", "autoopt needs <1: pip install 'numpy<1'"),
        ("nowhere>=1", "broken", "nowhere is not installed: pip install 'nowhere>=1'"),
        ("numpy>=900; extra == 'x'", "note", "autoopt needs >=900"),
    ],
)
def test_a_package(line, state, text):
    found = check_package(Requirement(line), versions_tested())
    assert found.state == state and text in found.text


def test_a_package_of_another_version_than_the_tested_one_is_no_fault():
    assert check_package(Requirement("numpy"), {"numpy": "0.1"}).text.endswith("autoopt is tested with 0.1")
    assert check_package(Requirement("nowhere; extra == 'x'"), {}) is None


def test_python_is_checked(monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.9.1")
    assert "Python 3.9.1" in next(environment()).text and "autoopt needs Python >=3.11" in next(environment()).text


def test_a_gpu_that_does_not_work_is_broken(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that CUDA sees none
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls: Machine(4.0, ("0",))))
    processors, gpu = devices_here()
    assert processors == ("ok", "4 processors: 4 trials at a time on the CPU")
    assert gpu.state == "broken" and gpu.text.startswith("GPU 0: ") and "nvidia-smi" in gpu.text


def test_plugins_that_cannot_be_loaded(site, monkeypatch):
    points = {f"{kind}_one": f"{kind}_module:build" for kind in ("wrong", "leaving", "lacking")}
    metadata = "Provides-Extra: more\nRequires-Dist: nowhere>=1; extra == 'more'\n"
    distribution(site, "mine", "[autoopt.optimizer]\n" + "".join(f"{name} = {path}\n" for name, path in points.items()), metadata)
    (site / "wrong_module.py").write_text("1 / 0")
    (site / "leaving_module.py").write_text("raise SystemExit(3)")
    (site / "lacking_module.py").write_text("import nowhere")
    monkeypatch.setattr("autoopt.commands.installed.catalogue", lambda: {k: v for k, v in catalogue().items() if "mine 1.2" in v[0][1]})
    checks = list(plugins())
    faults = sorted(broken(checks))
    assert [fault.partition(":")[0] for fault in faults] == [
        "optimizer/leaving_one cannot be loaded",
        "optimizer/wrong_one cannot be loaded",
    ]
    assert "SystemExit: 3 (from mine 1.2)" in faults[0] and "ZeroDivisionError" in faults[1] and "mine 1.2" in faults[1]
    notes = [check.text for check in checks if check.state == "note"]
    assert notes == ["optimizer/lacking_one: an extra is not installed: pip install 'mine[more]'"]


def test_plugins_that_are_registered_in_vain(tmp_path):
    future = distribution(tmp_path, "future", "[autoopt.optimiser]\nnow = future:now\n")
    careless = distribution(tmp_path, "careless", "[autoopt.optimizer]\nnameless\n")
    fine = distribution(tmp_path, "fine", "[autoopt.optimizer]\nnow = fine:now\n[console_scripts]\nfine = fine:main\n")
    foreign = distribution(tmp_path, "foreign", "")
    (tmp_path / "foreign-1.2.dist-info" / "entry_points.txt").write_bytes(b"[autoopt.optimizer]\nna\xefve = foreign:now\n")
    first, second, third = broken(registered_in_vain([future, careless, fine, foreign]))
    assert first.startswith("future 1.2: its plugins in the group autoopt.optimiser are not seen: no such slot. Did you mean 'optimizer'?")
    assert "careless-1.2.dist-info is malformed" in second and second.endswith("install it again")
    assert "foreign-1.2.dist-info is malformed (UnicodeDecodeError" in third


def test_folders(tmp_path, monkeypatch):
    assert check_folder(tmp_path, "here").text.startswith("here can be written, ")
    assert check_folder(tmp_path / "a" / "b", "there").text.startswith("there can be made, ")
    monkeypatch.setattr("autoopt.commands.stores.LITTLE", 1e30)
    assert check_folder(tmp_path, "here").state == "note"
    (fault,) = broken([check_folder(Path("/proc/x"), "root=/proc/x")])
    assert fault.startswith("root=/proc/x: /proc cannot be written") and "give another folder" in fault


def test_studies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("spoilt", "other", "lost"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "journal.log").touch()
    for name, text in (("spoilt", f"format: {FORMAT}"), ("other", "format: 1")):
        (tmp_path / "runs" / name / "space.yaml").write_text(text)
        (tmp_path / "runs" / name / "config.yaml").write_text("study: {trials: 1}\ntracking: {}\n")
    (tmp_path / "runs" / "spoilt" / "journal.log").write_text("nothing\n{}\n")
    states = [(check.state, check.text) for check in check_stores({"root": "runs"})]
    assert [state for state, _ in states] == ["ok", "note", "broken", "broken", "ok", "ok"]
    assert states[1][1].startswith("other was begun by another version of autoopt (format 1, ")
    assert "journal.log, line 1" in states[2][1] and states[3][1].startswith("runs/lost has a journal, but no space.yaml")
    assert states[4][1] == "1 study in runs/ can be read"


def test_records_that_mlflow_lacks_are_told(tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    (study / "space.yaml").write_text(f"format: {FORMAT}")
    (study / "config.yaml").write_text("study: {trials: 1}\ntracking: {}\n")
    (study / "tracking.jsonl").write_text('{"spool": "x", "uri": "sqlite:///x.db", "experiment": "e"}\n{"key": "1"}\n')
    (note,) = check_study(study)
    assert note.state == "note" and "MLflow lacks 1 records: python -m autoopt.tracking" in note.text
