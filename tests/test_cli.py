"""The command: its words, its exit codes, what it says of bad input, and completion."""

import io
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from test_terminal import in_a_terminal

import autoopt
from autoopt.cli import COMMANDS, main
from autoopt.config import SETTINGS, compose, composing, presets
from autoopt.errors import EXIT_CODES, BadInput
from autoopt.slots import PLUGGABLE
from autoopt.technique import available

AUTOOPT = Path(sys.executable).with_name("autoopt")
CONFIGURED = ("search", "plan", "train")
DATA = ", ".join(available("data"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory, with nothing of it left on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def said(capsys):
    """Run a command in this process: its exit code, what it printed, and the lines of its errors."""

    def run(*arguments):
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


def refused(said, *arguments):
    """The lines about bad input, and that nothing else happened."""
    code, out, lines = said(*arguments)
    assert code == 2 and out == "" and lines
    assert all(line.startswith("autoopt: ") for line in lines)
    assert list(Path().iterdir()) == [] or all(p.suffix in (".yaml", ".py") for p in Path().iterdir())
    return [line.removeprefix("autoopt: ") for line in lines]


def shell(*arguments, **more):
    return subprocess.run([AUTOOPT, *arguments], capture_output=True, text=True, env={**os.environ, **more}, timeout=60)


# in a process of its own


@pytest.mark.slow
def test_bad_input_in_a_process_of_its_own(here):
    done = shell("search", "data=digits", "optimizer=adamww", "seed=x", "study.trails=3")
    assert (done.returncode, done.stdout) == (2, "") and list(here.iterdir()) == []
    assert done.stderr.splitlines() == [
        "autoopt: No optimizer named 'adamww'. Did you mean 'adamw'? Known: "
        + ", ".join(sorted([*available("optimizer"), "all", "recommended"]))
        + ".",
        "autoopt: No setting named 'study.trails'. Did you mean 'study.trials'? Known: study.ablation, study.compare, study.compress, "
        "study.confirm, study.epochs, study.from, study.memory, study.patience, study.seeds, study.start, study.stopping, study.time, "
        "study.trainings, study.trials, study.value.",
        "autoopt: seed=x: expected int, got 'x'",
    ]


def test_a_system_that_cannot_fork_is_told_at_the_start(said, monkeypatch):
    monkeypatch.delattr(os, "fork")
    assert refused(said, "--version") == ["autoopt forks a process for each trial, which Windows cannot do; use Linux, or WSL 2 on Windows"]
    with pytest.raises(BadInput, match="use Linux, or WSL 2 on Windows"):
        autoopt.search(["data=digits"])


def test_a_working_directory_that_was_deleted_is_told_at_the_start(said, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert said("search", "data=digits") == (2, "", ["autoopt: the working directory was deleted; change to another"])
    with pytest.raises(BadInput, match="the working directory was deleted"):
        autoopt.search(["data=digits"])


def test_assertions_that_are_left_out_are_told_at_the_start():
    done = shell("search", "data=digits", PYTHONOPTIMIZE="1")
    line = "Python's -O and PYTHONOPTIMIZE leave out the assertions, which Hydra's parser needs; run autoopt without them"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"autoopt: {line}\n")


LIGHT = """
import contextlib, io, sys
from autoopt.cli import main
COMMANDS = [["--help"], ["--version"], ["plugins"], ["plugins", "optimizer"], ["plugins", "show", "optimizer/adamw"], ["plugins", "--json"],
    ["plugins", "--markdown"], ["schema"], ["search", "--help"], ["plan", "-h"],
    ["search", "data=digits", "--cfg", "job"], ["search", "optimizer=x"],
    ["-sc", "install=bash"], ["search", "data=digits", "--info", "defaults"]]
for command in COMMANDS:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(command)
    large = {"torch", "lightning", "mlflow", "sklearn", "pandas", "torchmetrics", "plotly", "jinja2"}
    heavy = {m.split(".")[0] for m in sys.modules} & large
    heavy |= {m for m in sys.modules if m.startswith("autoopt.plugins.") and m.count(".") > 2}
    print(code, *sorted(heavy), command)
"""


@pytest.mark.slow
def test_looking_things_up_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 14
    assert all(line.startswith(("0 [", "2 ['search', 'optimizer=x']")) for line in lines), lines


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["list"], ["--help"], ["plugins", "data"], ["search", "data=digits", "--cfg", "job"], ["show", "x"], ["search", "--help"]],
    ids=str,
)
def test_a_module_of_the_working_directory_replaces_none_that_is_installed(here, arguments):
    for name in ("yaml", "random", "rich", "hydra", "optuna", "dataclasses"):
        (here / f"{name}.py").write_text(f"open({str(here / 'ran')!r}, 'a').write(__name__)\nraise SystemExit(9)")
    (here / "x-1.dist-info").mkdir()
    (here / "x-1.dist-info" / "METADATA").write_text("Name: x\nVersion: 1\n")
    (here / "x-1.dist-info" / "entry_points.txt").write_text("[autoopt.data]\nlying_here = random:data\n")
    done = shell(*arguments)
    assert done.returncode == (2 if arguments == ["show", "x"] else 0), done.stderr
    assert not (here / "ran").exists() and "lying_here" not in done.stdout


# words


def test_the_overview_names_every_command(said):
    for words in ([], ["--help"], ["-h"], ["help"]):
        code, out, err = said(*words)
        assert (code, err) == (0, []) and all(f"\n  {name} " in out for name in COMMANDS)


def test_the_version(said):
    assert said("--version") == (0, f"autoopt {version('autoopt')}\n", [])


@pytest.mark.parametrize("command", CONFIGURED)
def test_help_lists_every_slot_technique_setting_and_preset(said, command):
    code, out, err = said(command, "data=nope", "--help")
    assert (code, err) == (0, []) and out.startswith(f"Usage: autoopt {command} ")
    words = out.split()
    for slot in PLUGGABLE:
        assert {slot, *available(slot), *presets(slot)} <= set(words)
    assert set(SETTINGS) <= set(words) and {"study=quick", "study=thorough", "local"} <= set(words)
    assert ("recipe=" in out) == (command == "train") and ("--strict" in out.splitlines()[0]) == (command == "search")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert lines["study.trials"].endswith(" [60]") and lines["root"].endswith(" [autoopt-runs]") and not lines["name"].endswith("]")
    assert (
        lines["study=quick"].split()[1:] == ["trials=12,", "epochs=10,", "seeds=3"]
        and "keep, adamw, nesterov, adamw.lr=" in lines["optimizer=recommended"]
    )
    assert all(f"\n  {code:<23}  {meaning}\n" in out for code, meaning in EXIT_CODES.items())


@pytest.mark.slow
def test_help_breaks_no_word_on_a_terminal():
    script = "from autoopt.cli import main; main(['search', '--help'])"
    lines = in_a_terminal(script, 80).replace("\r", "").splitlines()
    settings = lines[lines.index("Settings, with their defaults:") :]
    assert max(map(len, settings[:40])) <= 80 and any(line.startswith(" " * 27) for line in settings)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in CONFIGURED])
def test_the_other_commands_help(said, command):
    for flag in ("-h", "--help"):
        code, out, err = said(command, flag)
        assert (code, err) == (0, []) and out.startswith(f"Usage: autoopt {command} ")
        assert all(len(line) <= 80 for line in out.splitlines() if not line.startswith(("Usage: ", "       autoopt ")))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["serch"], f"No command named 'serch'. Did you mean 'search'? Known: {', '.join(sorted(COMMANDS))}."),
        (
            ["predict", "s"],
            """No command named 'predict'. In Python: autoopt.load("autoopt-runs/NAME/best").predict(examples); for a server: """,
        ),
        (["--what"], "No command named '--what'. "),
        (["data=digits"], "No command named 'data=digits'. "),
        *(([c, "--hlp"], f"--hlp: no such option; autoopt {c} --help lists them") for c in CONFIGURED),
        (["search", "data=digits", "-x"], "-x: no such option; autoopt search --help lists them"),
        *(([c, "data=digits", "--strict"], f"--strict: no such option; autoopt {c} --help lists them") for c in ("plan", "train")),
        (["search", "--multirun", "data=digits"], "--multirun: no such option"),
        (["search", "data=digits", "--cfg", "hydra"], "--cfg hydra: no such option"),
        *(([c, "--what"], f"--what: no such option; autoopt {c} --help lists them") for c in ("list", "show", "finish", "ui")),
        (["plugins", "--what"], "--what: no such option. Known: --markdown, --json."),
        (["search", "missing.yaml"], "missing.yaml: No such file or directory"),
        (["search", "missing.yml", "data=digits"], "missing.yml: No such file or directory"),
        (["search", "data=digits", "missing"], "missing: expected key=value, such as optimizer=adamw"),
        (["train", "recipe=missing.yaml"], "missing.yaml: there is no such file"),
        (["train", "recipe=missing"], "No study named 'missing' in autoopt-runs/. Known: none."),
        (["train", "recipe=a", "recipe=b"], "recipe=b: give only one recipe or file"),
        (["search", "data=digits", "recipe=a"], "No setting named 'recipe'."),
        (["search"], f"data=… is missing: give one of {DATA}, or module:LightningDataModule"),
        (["search", "--info"], "data=… is missing: give one of "),
        (["plan", "data=csv"], "data.csv.target is missing: give data.csv.target=…"),
        (["plan", "data=digits,diabetes"], "data=digits,diabetes: all trials have the same data; give one"),
        (["search", "data=digits", "name=../x"], "name=../x: expected at most 64 letters"),
        (["search", "data=digits", "root="], "root=: expected a folder; root=. is the working directory"),
        (["search", "data=digits", "optimizer=no_such_module:Net"], "optimizer/Net cannot be loaded: ModuleNotFoundError: "),
        (["search", "data=digits", "baseline=missing.yaml"], "missing.yaml: No such file or directory"),
        (["search", "data=digits", "+x=1"], "+x=1: keys cannot be added or deleted; give x=1"),
        (["search", "data=digits", "~optimizer"], "~optimizer: keys cannot be added or deleted; give optimizer=…"),
        (["--shell-completion"], "--shell-completion: expected install=bash"),
    ],
    ids=str,
)
def test_what_is_refused_and_that_nothing_is_begun(said, arguments, line):
    first, *rest = refused(said, *arguments)
    assert line in first and (not rest or "csv" in line)


def test_all_problems_of_a_file_and_a_command_line_at_once(said, here):
    Path("own.yaml").write_text("data: digits\nsed: 1\noptimizer: {adamw: {lr: fast}}\n")
    assert refused(said, "search", "own.yaml", "study.trials=0", "split.test=0.9") == [
        "No setting named 'sed'. Did you mean 'seed'? " + refused(said, "search", "own.yaml")[0].partition("? ")[2],
        "optimizer.adamw.lr=fast: expected float, got 'fast'",
        "study.trials=0: expected 1 or more",
        "split.validation=0.2, split.test=0.9: expected shares above 0 that leave some for training",
    ]


@pytest.mark.parametrize("text", ["a: [1", "a: &x [1]\nb: *x", "- data", "a: 1\n---\nb: 2"])
def test_a_file_that_is_no_config(said, here, text):
    Path("own.yaml").write_text(text)
    (line,) = refused(said, "search", "own.yaml", "data=digits")
    assert line.startswith("own.yaml: ")


def test_debug_shows_where_bad_input_was_found(said):
    code, _, lines = said("search", "data=digits", "seed=x", "--debug")
    assert code == 2 and lines[0] == "Traceback (most recent call last):" and lines[-1] == "autoopt: seed=x: expected int, got 'x'"
    code, _, lines = said("--debug", "serch")
    assert code == 2 and lines[0] == "Traceback (most recent call last):"


class Full(Exception):
    exit_code = 75


@pytest.mark.parametrize(
    ("error", "code", "traced", "last"),
    [
        (BadInput("one", "two"), 2, False, "autoopt: two"),
        (RuntimeError("oh"), 1, True, "autoopt: This is a bug in autoopt: please report it with the lines above and the command."),
        (Full("no space left"), 75, False, "autoopt: no space left"),
    ],
)
def test_exit_codes(said, monkeypatch, error, code, traced, last):
    def fail(arguments):
        raise error

    monkeypatch.setattr("autoopt.commands.plugins.run", fail)
    found, out, lines = said("plugins")
    assert (found, out, lines[-1]) == (code, "", last)
    assert any("Traceback" in line for line in lines) == traced


@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "by a library that turns it into an error of its own"])
def test_ctrl_c(said, monkeypatch, wrapped):
    def fail(arguments):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if wrapped:
                raise RuntimeError("not composed") from None
            raise

    monkeypatch.setattr("autoopt.commands.plugins.run", fail)
    assert said("plugins") == (130, "", ["autoopt: interrupted by SIGINT"])


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_bug():
    line = f"{AUTOOPT} plugins --json | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["plugins", "--json"], ["search", "data=digits", "--cfg", "job"]], ids=str)
def test_a_closed_pipe_ends_a_command_without_a_word(here, arguments):
    """Also where all that is printed waits in the buffer until the end."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([AUTOOPT, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("line", "code", "err"),
    [
        ("autoopt plugins data >&-", 0, ""),
        ("autoopt plugins data <&- >&- 2>&-", 0, ""),
        ("autoopt plugins data >/dev/full", 75, "autoopt: the output cannot be written: No space left on device\n"),
        ("autoopt search data=digits --cfg job >/dev/full 2>&1", 75, ""),
        ("autoopt nope 2>/dev/full", 2, ""),
    ],
)
def test_an_output_that_is_closed_or_full_is_no_bug(line, code, err):
    path = f"{AUTOOPT.parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env={**os.environ, "PATH": path}, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", err)


CLOSED = """
import os, sys
from autoopt.cli import open_standard_files
open_standard_files()
file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
print("printed")
os.system("echo by a program; echo by a program >&2")
os.write(file, b"written")
"""


def test_what_is_printed_goes_into_no_file_where_the_output_is_closed(tmp_path):
    line = f"{sys.executable} -c '{CLOSED}' {tmp_path / 'file'} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", line], timeout=60).returncode == 0
    assert (tmp_path / "file").read_text() == "written"


def test_files_are_utf8_in_every_locale(here):
    Path("baseline.yaml").write_text("# größer\noptimizer: {adamw: {lr: 0.01}}\n", encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for arguments in (["plugins"], ["search", "data=digits", "baseline=baseline.yaml", "--cfg", "job"]):
        done = shell(*arguments, **ascii_only)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.parametrize("recipe", ["/", "/tmp"])
def test_a_folder_is_no_recipe(said, recipe):
    assert refused(said, "train", "data=digits", f"recipe={recipe}") == [f"'{recipe}' is neither a file nor the name of a study"]


# --cfg


@pytest.mark.parametrize(
    "arguments",
    [
        ["data=digits"],
        ["data=csv", "data.csv.path='a b, (1)=c.csv'", "data.csv.target=y", "augmentation=[mixup]", "study=quick", "study.time=8h"],
        ["data=digits", "optimizer=adamw,my_opt:Thing", "optimizer.adamw.lr=interval(1e-4,1e-2)", "optimizer.Thing.lr=0.1,0.2"],
    ],
    ids=str,
)
def test_the_printed_config_is_a_file_that_composes_to_the_same(said, here, arguments):
    Path("my_opt.py").write_text("class Thing:\n    def __init__(self, params, lr: float = 0.1):\n        pass\n")
    code, out, err = said("search", *arguments, "--cfg", "job")
    assert (code, err) == (0, []) and yaml.safe_load(out) == compose(arguments)
    Path("whole.yaml").write_text(out)
    assert said("search", "whole.yaml", "--cfg", "job") == (0, out, [])
    assert yaml.safe_load(said("plan", "-c", "job", "whole.yaml", "seed=3")[1])["seed"] == 3


def test_a_recipe_is_composed_under_the_command_line(said, here):
    Path("recipe.yaml").write_text("data: {digits: {}}\noptimizer: {sgd: {lr: 0.5}}\nschedule: {constant: {}}\n")
    code, out, _ = said("train", "recipe=recipe.yaml", "seed=3", "--cfg", "job")
    tree = yaml.safe_load(out)
    assert code == 0 and tree["optimizer"]["sgd"]["lr"] == 0.5 and tree["seed"] == 3
    over = yaml.safe_load(said("train", "optimizer=adamw", "recipe=recipe.yaml", "--cfg", "job")[1])
    assert list(over["optimizer"]) == ["adamw"] and list(over["schedule"]) == ["constant"]


# completion


def completions(said, monkeypatch, line, *arguments):
    monkeypatch.setattr(sys, "argv", ["autoopt"])
    monkeypatch.setattr(composing, "OURS", {slot: {} for slot in PLUGGABLE})  # without what other tests have put there
    monkeypatch.setattr(composing, "STORED", {})
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    code, out, err = said(*(arguments or ("-sc", "query=bash")))
    assert (code, err) == (0, [])
    return out.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("autoopt ", list(COMMANDS)),
        ("autoopt se", list(COMMANDS)),
        ("autoopt search optimizer=", [f"optimizer={n}" for n in sorted([*available("optimizer"), "all", "recommended"])]),
        ("autoopt search optimizer=nes", ["optimizer=nesterov"]),
        ("/usr/bin/autoopt  plan data=", [f"data={n}" for n in available("data")]),
        ("autoopt search optimizer.adamw.", [f"optimizer.adamw.{a}=" for a in ("beta1", "beta2", "lr", "weight_decay")]),
        ("autoopt train data=diabetes optimizer.adamw.l", ["optimizer.adamw.lr="]),
        ("autoopt search optimizer=sgd,adamw optimizer.sgd.", ["optimizer.sgd.lr=", "optimizer.sgd.weight_decay="]),
        ("autoopt search optimizer=sgd optimizer.sgd.lr='interval(1, 2)' optimizer.sgd.w", ["optimizer.sgd.weight_decay="]),
        ("autoopt search study=qu", ["study=quick"]),
        ("autoopt search study.tr", ["study.trainings=", "study.trials="]),
        ("autoopt search my.yaml tracking.u", ["tracking.uri="]),
        ("autoopt search nonsense=1 optimizer=nonsense seed", ["seed="]),
        ("autoopt search model=my_net:Net model.Net.h", ["model.Net.hidden="]),
        (
            "autoopt search strategy=",
            ["strategy=bayes", "strategy=grid", "strategy=one_epoch", "strategy=optuna", "strategy=random", "strategy=tpe"],
        ),
        ("autoopt search strategy.bayes.", ["strategy.bayes.reduction=", "strategy.bayes.rungs=", "strategy.bayes.startup="]),
        ("autoopt search executor=lo", ["executor=local"]),
        ("autoopt search strategy=random executor.w", ["executor.workers="]),
        ("autoopt search --c", []),
        ("autoopt show x", []),
        ("autoopt show ", ["digits-cnn", "digits-mlp"]),
        ("autoopt export digits-m", ["digits-mlp"]),
        ("autoopt report digits-mlp ", []),
        ("autoopt ui root=elsewhere ", ["other"]),
        ("autoopt list ", []),
        ("autoopt train recipe=digits-c", ["recipe=digits-cnn"]),
        ("autoopt plugins ", ["show", "check", "new", *PLUGGABLE]),
        ("autoopt plugins show schedule/cos", ["schedule/cosine", "schedule/cosine_restarts"]),
        ("autoopt plugins new opt", ["optimizer/"]),
        ("autoopt search optimizer=adamw,sg", ["optimizer=adamw,sgd"]),
        ("autoopt search augmentation=mixup,cutmix,c", ["augmentation=mixup,cutmix,color_jitter", "augmentation=mixup,cutmix,crop"]),
        ("autoopt nonsense x", []),
    ],
)
def test_bash_completion(said, monkeypatch, here, line, words):
    (here / "my_net.py").write_text("class Net:\n    def __init__(self, task, hidden: int = 3):\n        pass\n")
    for study in ("autoopt-runs/digits-cnn", "autoopt-runs/digits-mlp", "elsewhere/other"):
        (here / study).mkdir(parents=True)
        (here / study / "space.yaml").touch()
    assert completions(said, monkeypatch, line) == words


def test_completion_may_be_asked_of_a_command(said, monkeypatch):
    assert completions(said, monkeypatch, "autoopt search optimizer=nes", "search", "-sc", "query=bash") == ["optimizer=nesterov"]


@pytest.mark.slow
def test_every_slot_is_completed(said, monkeypatch):
    assert {f"{slot}=" for slot in PLUGGABLE} <= set(completions(said, monkeypatch, "autoopt search "))


@pytest.mark.slow
def test_completion_in_bash():
    script = """
        eval "$(autoopt search -sc install=bash)"
        complete -p autoopt
        COMP_LINE="autoopt search optimizer=ada" COMP_CWORD=2
        hydra_bash_completion
        echo "${COMPREPLY[@]}"
    """
    path = f"{AUTOOPT.parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env={**os.environ, "PATH": path}, timeout=60)
    assert done.stderr == ""
    rule, reply = done.stdout.splitlines()
    assert rule.endswith("-F hydra_bash_completion autoopt") and reply.split() == [
        f"optimizer={n}" for n in available("optimizer") if n.startswith("ada")
    ]


def test_an_output_that_lacks_a_letter_gets_a_question_mark(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["search", "--help"]) == 0
    assert b"[FILE.yaml] [key=value ?]" in out.buffer.getvalue()
