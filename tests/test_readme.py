"""What the README and the documentation say is true today: every command composes, and each kind of example runs once."""

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import forked
import pytest
import torch

from autoopt.cli import COMMANDS, CONFIGURED
from autoopt.commands.options import read_options
from autoopt.config import SETTINGS
from autoopt.errors import EXIT_CODES
from autoopt.slots import PLUGGABLE
from autoopt.space import Space
from autoopt.technique import available, find
from autoopt.testing import check

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {"README.md": README} | {str(p.relative_to(ROOT / "docs")): p.read_text() for p in sorted((ROOT / "docs").rglob("*.md"))}
LIVE = [name for name in PAGES if name.startswith("tutorials/")] + ["howto/deploy.md"]
QUICK = ["study.trials=3", "study.epochs=2", "study.confirm=1", "study.seeds=2", "study.compress=2", "tracking.enabled=false"]


def blocks(text: str, language: str = r"\w+") -> list[tuple[str, str]]:
    """The fenced blocks, each with its language."""
    return re.findall(rf"^```({language})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command line, in the blocks and in the tables."""
    rows = re.findall(r"\| `([^`]+)` \|$", text, re.MULTILINE)
    for line in [*rows, *(line for _, block in blocks(text, "bash") for line in block.splitlines())]:
        yield shlex.split(re.sub(r"^.*/bin/|\s+#.*", "", line))


def configured() -> list[str]:
    """Every line of every page that composes a config, once."""
    lines = [words for text in PAGES.values() for words in commands(text) if words[:1] == ["autoopt"] and words[1] in CONFIGURED]
    return list(dict.fromkeys(shlex.join(words[1:]) for words in lines))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, with their data, in a directory of their own."""
    folder = tmp_path_factory.mktemp("desk")
    for file in (ROOT / "examples").glob("*.*"):
        shutil.copy(file, folder)
    run([sys.executable, "make_data.py"], folder)
    return folder


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ----------------------------------------------------------------------------------------------------------------------- what is cheap


@pytest.mark.parametrize("line", configured())
def test_a_config_of_it_composes(line: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.syspath_prepend(str(desk))
    command, *words = shlex.split(line)
    asked = read_options(words, command)
    assert asked is not None and set(asked.tree()) >= PLUGGABLE.keys()


def test_the_search_of_the_rate_alone_has_one_choice(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.syspath_prepend(str(desk))
    (line,) = (words for words in commands(PAGES["howto/model.md"]) if "optimizer.keep.weight_decay_scale=1" in words)
    asked = read_options(line[2:], line[1])
    assert asked is not None
    space = Space.of(asked.tree()).fitting({"loss": dict.fromkeys(("task", "class_counts"), "a LightningModule computes its own")})
    assert {domain.key for domain in space.domains()} == {"model.LitNet.lr"}


def test_every_command_that_it_names_is_there() -> None:
    """In the lines of commands, and at the beginning of code in the text."""
    lines = [words[1] for text in PAGES.values() for words in commands(text) if words[:1] == ["autoopt"]]
    named = {*lines, *re.findall(r"`autoopt ([a-z]+)", "".join(PAGES.values()))}
    assert named - COMMANDS.keys() == set() and {"search", "plan", "schema", "export"} <= named


def test_every_setting_that_it_names_is_there() -> None:
    heads = "|".join({key.partition(".")[0] for key in SETTINGS if "." in key})
    named = set(re.findall(rf"`({heads})\.(\w+)[=`]", "".join(text for name, text in PAGES.items() if name != "reference/files.md")))
    plugged = {(point, name) for point in ("strategy", "executor") for name in available(point)}
    assert {f"{head}.{name}" for head, name in named - plugged} - SETTINGS.keys() == set() and len(named) > 20


def test_the_readme_is_short_and_needs_no_repository_around_it() -> None:
    assert len(README.splitlines()) < 200
    links = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target and not target.startswith("#")]
    assert links == ["docs/images/leaderboard.png"] and (ROOT / links[0]).is_file()


def test_the_set_up_commands_install_into_an_environment_of_their_own() -> None:
    first, second = [block.strip() for _, block in blocks(README, "bash") if "-m venv" in block]
    for line in (first, second):
        assert "\n" not in line and "-c constraints.txt" in line
    assert second.endswith("/bin/pytest -n 2")


@pytest.mark.slow
def test_the_reference_names_everything() -> None:
    pages = reference()
    assert all(f"## autoopt {name}" in pages["commands"] for name in COMMANDS)
    assert all(f"| `{key}` |" in pages["settings"] for key in SETTINGS)
    assert all(f"[{slot}](techniques.md#{slot})" in pages["slots"] and f"## {slot}\n" in pages["techniques"] for slot in PLUGGABLE)
    assert all(f"\n| {name} | " in pages["techniques"] for slot in PLUGGABLE for name in available(slot))
    assert all(f"| {code} | {meaning} |" in pages["exit-codes"] for code, meaning in EXIT_CODES.items())


def reference() -> dict[str, str]:
    """The generated pages, by a process that imports the hook as mkdocs does."""
    code = "import json, reference_pages; print(json.dumps(reference_pages.pages()))"
    return json.loads(run([sys.executable, "-c", code], ROOT / "docs"))


def test_the_optimizer_of_the_tutorial_is_that_of_the_examples_and_passes_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (ROOT / "examples" / "my_opt.py").read_text()
    assert ("python", code) in blocks(PAGES["tutorials/optimizer.md"])
    assert [code.endswith(block) for language, block in blocks(README) if language == "python"] == [True]
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    technique = find("optimizer", "my_opt:sign_momentum")
    assert check(technique) == []
    w = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)
    w.grad = torch.tensor([5.0, -0.1, 0.0])
    technique.load()([w], lr=0.25).step()
    assert w.tolist() == [0.75, 1.25, 1.0], "steps of lr * sign(m)"


def test_the_other_examples_are_shown_as_they_are() -> None:
    assert (ROOT / "examples" / "in_python.py").read_text().partition('"""\n\n')[2] in PAGES["howto/python.md"]
    assert ("yaml", (ROOT / "examples" / "night.yaml").read_text()) in blocks(PAGES["howto/space.md"])


# --------------------------------------------------------------------------------------------------------------------------- what runs


@pytest.mark.slow
def test_the_documentation_is_built_without_a_warning(tmp_path: Path) -> None:
    run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)], ROOT)
    assert (tmp_path / "reference" / "settings" / "index.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", LIVE)
def test_the_steps_of_a_page_run(name: str, desk: Path) -> None:
    """Its first search on a small budget, and all that follows; the files of its study are those of the reference."""
    for number, (language, block) in enumerate(blocks(PAGES[name], "bash|python")):
        if language == "python":
            (desk / "step.py").write_text(block)
            forked.end(forked.run(forked.enter_script, desk / "step.py"), desk)
            continue
        for words in (shlex.split(line, comments=True) for line in block.splitlines()):
            if words[0] == "pip":
                break  # what follows needs an installation
            if words[0] == "autoopt" and words[1] != "plan" and not (words[1] == "search" and studied(name, number)):
                arguments = [*words[1:], *(quick(words) if words[1] == "search" else [])]
                forked.end(forked.start(arguments, desk), desk)
    assert unnamed_files(desk / "autoopt-runs") == set()


def studied(name: str, number: int) -> bool:
    """Whether an earlier block of the page has a search."""
    return any("autoopt search" in block for _, block in blocks(PAGES[name], "bash|python")[:number])


def quick(words: list[str]) -> list[str]:
    """A small budget; options that are compared need four trials each."""
    return [*QUICK, "study.trials=8"] if any("study.compare" in word for word in words) else QUICK


def unnamed_files(root: Path) -> set[str]:
    """The files of the studies that the reference does not name."""
    files = [file.relative_to(root).parts[1:] for file in root.rglob("*") if file.is_file()]
    named = re.findall(r"`([^`]+)`", PAGES["reference/files.md"])
    shown = {"/".join(("trials/N", parts[-1]) if parts[0] == "trials" else parts) for parts in files}
    return {name for name in shown if name not in named and not name.startswith("export/")}


@pytest.mark.slow
def test_the_example_in_python_runs_and_mlflow_has_the_names_of_the_reference(desk: Path, template: Path) -> None:
    shutil.copy(template, desk / "mlflow.db")
    forked.end(forked.run(forked.enter_script, desk / "in_python.py"), desk)
    with sqlite3.connect(desk / "mlflow.db") as store:
        keys = {table: {key for (key,) in store.execute(f"select distinct key from {table}")} for table in ("tags", "params", "metrics")}
    named = set(re.findall(r"`([^`]+)`", PAGES["reference/mlflow.md"]))
    assert {key for key in keys["tags"] if key.startswith("autoopt.")} <= named
    assert {"objective", "gain", "gain_low", "gain_high", "seconds", "latency_ms", "size_mb"} <= keys["metrics"] & named
    assert {"objective", "data", "epochs", "lr", "batch_size"} <= keys["params"] & named
