"""How techniques are found and described."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt import technique
from autoopt.catalogue import installation
from autoopt.config import broken_of_all, compose
from autoopt.domain import Acts, Bounds, Choice, Range, Unavailable
from autoopt.errors import BadInput, nearest
from autoopt.technique import LIVE, Param, available, build, catalogue, find, from_source, reflect

EVERY = sorted(catalogue())


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path, as pip would fill it; the catalogue is read anew before and after."""
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield tmp_path
    for path in [path for path in LIVE if path.startswith("live_")]:
        del LIVE[path]
    forget()


def forget():
    catalogue.cache_clear()
    find.cache_clear()


def distribution(site: Path, name: str, points: str, metadata: str = "") -> Path:
    info = site / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n{metadata}")
    (info / "entry_points.txt").write_text(points)
    return info


def module(site: Path, name: str, text: str) -> None:
    file = site / f"{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


HALVE = '''
from typing import Annotated
from autoopt.domain import Range

def halve(params, *, lr: Annotated[float, Range(0.1, 1.0)] = 0.5):
    """Halves."""
'''


@pytest.mark.parametrize(("slot", "name"), EVERY, ids=lambda part: part)
def test_reading_equals_reflection(slot, name):
    found = find(slot, name)
    assert from_source(slot, name, found.path, found.owner) == reflect(slot, name, found.path, found.owner) == found
    assert found.owner.startswith("autoopt ")


def test_what_a_signature_says():
    adamw = find("optimizer", "adamw")
    assert adamw.asks == ("params",)
    assert adamw.params["lr"] == Param("lr", float, Range(1e-5, 1e-1, log=True), 1e-3, Bounds(0))
    assert adamw.doc.startswith("Adam with weight decay decoupled")
    assert find("model", "mlp").params["connection"].domain == Choice("plain", "residual", "dense")
    assert find("augmentation", "mixup").asks == ("inputs", "targets") and find("augmentation", "mixup").acts == Acts(order="late")
    assert find("data", "csv").params["target"].default is technique.REQUIRED


def test_listing_names_and_signatures_imports_neither_torch_nor_plugins():
    script = (
        "import sys\n"
        "from autoopt.technique import catalogue, find\n"
        "found = [find(slot, name) for slot, name in catalogue()]\n"
        "heavy = ('torch', 'lightning', 'sklearn', 'pandas', 'numpy', 'autoopt.plugins')\n"
        "print(len(found), [name for name in sys.modules if name.startswith(heavy)])\n"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == f"{len(EVERY)} []"


def test_names_are_listed_by_slot():
    assert available("activation") == ["elu", "gelu", "keep", "leaky_relu", "mish", "prelu", "relu", "selu", "silu", "tanh"]


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BadInput, match=r"No optimizer named 'nestrov'\. Did you mean 'nesterov'\? Known: adabelief, adadelta, "):
        find("optimizer", "nestrov")
    with pytest.raises(BadInput, match=r"No optimizer named 'AdamW'\. Did you mean 'adamw'\?"):
        find("optimizer", "AdamW")
    with pytest.raises(BadInput, match=r"No optimizer named 'adamv'\. Did you mean 'adam' or 'adamw'\? Known: "):
        find("optimizer", "adamv")
    assert nearest("adamww", available("optimizer")).startswith("Did you mean 'adamw'?")
    assert nearest("xyz", ["ab"]) == "Known: ab."
    for name in ("adamw", "AdamW"):
        assert nearest(name, ["adamw", "AdamW"]).startswith(f"Did you mean '{name}'?")


def test_two_owners_of_a_name_are_both_named(site):
    module(site, "halving", HALVE)
    for name in ("one-plugin", "other_plugin"):
        distribution(site, name, "[autoopt.optimizer]\nhalve = halving:halve\n")
    with pytest.raises(BadInput, match=r"optimizer/halve is claimed by .*one-plugin 1\.2") as caught:
        find("optimizer", "halve")
    assert "other_plugin 1.2" in str(caught.value) and "uninstall one of them" in str(caught.value)
    assert find("optimizer", "adamw").name == "adamw"


def test_a_strangers_technique_is_found_with_its_owner(site):
    module(site, "halving", HALVE)
    distribution(site, "one-plugin", "[autoopt.optimizer]\nhalve = halving : halve\n")
    found = find("optimizer", "halve")
    assert (found.owner, found.path, found.asks) == ("one-plugin 1.2", "halving:halve", ("params",))
    assert "halving" not in sys.modules


def test_the_first_of_two_versions_on_the_path_counts(site, tmp_path_factory, monkeypatch):
    module(site, "halving", HALVE)
    distribution(site, "one-plugin", "[autoopt.optimizer]\nhalve = halving:halve\n")
    monkeypatch.syspath_prepend(str(front := tmp_path_factory.mktemp("front")))
    distribution(front, "One_Plugin", "[autoopt.optimizer]\nthird = halving:halve\n")
    forget()
    assert "third" in available("optimizer") and "halve" not in available("optimizer")


@pytest.mark.parametrize("points", ["[autoopt.optimizer\nbroken", "no section = here", "[autoopt.optimizer]\nnameless\n", "\0"])
def test_a_malformed_distribution_elsewhere_disturbs_nothing(site, points):
    distribution(site, "careless", points)
    (site / "empty-1.0.dist-info").mkdir()
    assert set(EVERY) <= set(catalogue())
    assert find("optimizer", "adamw").name == "adamw"


def test_a_group_that_is_no_slot_is_not_ours(site):
    distribution(site, "future", "[autoopt.teleport]\nnow = future:now\n")
    assert set(catalogue()) == set(EVERY)


def test_a_plugin_that_cannot_be_loaded_names_its_owner_and_the_extra(site):
    module(site, "lionish", "import very_deep_learning.optim\n" + HALVE)
    metadata = 'Requires-Dist: torch\nRequires-Dist: very-deep-learning>=2; extra == "deep"\n'
    distribution(site, "one-plugin", "[autoopt.optimizer]\nhalve = lionish:halve\n", metadata)
    found = find("optimizer", "halve")  # described all the same
    assert found.params["lr"].default == 0.5
    with pytest.raises(
        BadInput,
        match=r"optimizer/halve cannot be loaded: ModuleNotFoundError: No module named 'very_deep_learning' "
        r"\(from one-plugin 1\.2; pip install 'one-plugin\[deep\]'\)",
    ):
        found.load()


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'one-plugin[deep]'"),
        ({"url": "file:///wheels/one_plugin-1.2.whl", "archive_info": {}}, "pip install 'one-plugin[deep]'"),
        ({"url": "https://example.org/one.git", "vcs_info": {"vcs": "git"}}, "pip install 'one-plugin[deep]'"),
        ({"url": "file:///my%20code/one", "dir_info": {}}, "pip install '/my code/one[deep]'"),
        ({"url": "file:///my%20code/one", "dir_info": {"editable": True}}, "pip install -e '/my code/one[deep]'"),
    ],
    ids=["an index", "a wheel", "git", "a folder", "an editable folder"],
)
def test_an_extra_is_installed_as_its_distribution_was(site, origin, command):
    distribution(site, "one-plugin", "[autoopt.optimizer]\nhalve = lionish:halve\n")
    if origin is not None:
        (site / "one_plugin-1.2.dist-info" / "direct_url.json").write_text(json.dumps(origin))
    assert installation("one-plugin", "deep") == command


def test_every_hint_names_an_extra_that_there_is_and_no_other_way_to_install_it():
    """Each is made where `installation` makes it."""
    root = Path(__file__).parent.parent
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    code = "".join(file.read_text() for folder in ("autoopt", "plugins") for file in sorted((root / folder).rglob("*.py")))
    assert {*re.findall(r"installation\('autoopt', '(\w+)'\)", code)} <= extras.keys()
    assert not re.findall(r"pip install '?autoopt", code)


def test_a_plugin_that_is_broken_names_its_owner(site):
    module(site, "crashing", HALVE + "\nraise RuntimeError('no luck')\n")
    distribution(site, "one-plugin", "[autoopt.optimizer]\nhalve = crashing:halve\nlost = crashing:missing\n")
    with pytest.raises(BadInput, match=r"cannot be loaded: RuntimeError: no luck \(from one-plugin 1\.2\)$"):
        find("optimizer", "halve").load()
    with pytest.raises(BadInput, match=r"optimizer/lost cannot be loaded: .* \(from one-plugin 1\.2\)$"):
        find("optimizer", "lost")


def test_an_import_path_to_nowhere():
    with pytest.raises(BadInput, match=r"optimizer/thing cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'$"):
        find("optimizer", "no_such_module:thing")


def test_a_script_that_reads_the_command_line_as_it_is_imported_finds_no_words(site, monkeypatch):
    words = ["autoopt", "search", "--width=3"]
    monkeypatch.setattr("sys.argv", list(words))
    parse = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--width', default=8)\n"
    module(site, "script", f"{HALVE}\n{parse}width = parser.parse_args().width\n")
    assert find("optimizer", "script:halve").load().__module__ == "script"
    assert sys.modules["script"].width == 8 and sys.argv == words


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("raise SystemExit('no GPU')", "RuntimeError: importing it ends the process: SystemExit: no GPU (ending.py, line 1, which runs"),
        ("int('x')", "ValueError: invalid literal for int() with base 10: 'x' (ending.py, line 1, which runs whenever it is imported)"),
        ("import json, no_such", "ModuleNotFoundError: No module named 'no_such' (ending.py, line 1)"),
    ],
)
def test_a_script_that_fails_as_it_is_imported(site, line, told):
    module(site, "ending", f"{line}\n{HALVE}")
    with pytest.raises(BadInput, match=re.escape(f"optimizer/halve cannot be loaded: {told}")):
        find("optimizer", "ending:halve").load()


def test_a_signal_during_an_import_is_no_fault_of_the_module(site):
    module(site, "interrupted", "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    raise SystemExit(1)\n" + HALVE)
    with pytest.raises(SystemExit):
        find("optimizer", "interrupted:halve").load()


def test_an_import_path_to_a_name_that_is_not_there():
    with pytest.raises(BadInput, match=r"optimizer=torch\.optim:Adamm: torch\.optim has no 'Adamm'\. Did you mean 'Adam' or 'AdamW'\?"):
        find("optimizer", "torch.optim:Adamm")


def test_an_entry_point_to_a_name_that_is_not_there_names_its_owner(site):
    module(site, "halving", HALVE)
    distribution(site, "one-plugin", "[autoopt.optimizer]\nlost = halving:halv\n")
    with pytest.raises(BadInput, match=r"halving has no 'halv'\. Did you mean 'halve'\? .*\(from one-plugin 1\.2\)$"):
        find("optimizer", "lost")
    sys.modules.pop("halving")


def test_what_is_no_builder_is_refused(site):
    module(site, "constants", "answer = 42\n")
    with pytest.raises(BadInput, match="loss=constants:answer: expected a class or a function, got int"):
        find("loss", "constants:answer")


PACKAGE = {
    "mine/__init__": "from mine.parts import Net, Net as Renamed\nfrom .parts import make\n",
    "mine/parts": '''
from torch import nn

class Net(nn.Module):
    """Mine."""

    def __init__(self, task, hidden: int = 64, scale: float = 1, *, name: str | None = None, sizes=(1, 2)):
        super().__init__()

def make(task, *, hidden: int = 32, rate: "float" = 0.5) -> nn.Module:
    """Made."""
    return Net(task, hidden)
''',
}


@pytest.mark.parametrize("path", ["mine:Net", "mine:Renamed", "mine.parts:Net"])
def test_an_import_path_of_a_class_re_exported_or_not(site, path):
    for name, text in PACKAGE.items():
        module(site, name, text)
    read = from_source("model", "Net", path)
    assert "mine" not in sys.modules and "mine.parts" not in sys.modules
    assert (read.asks, read.doc) == (("task",), "Mine.")
    assert {name: (p.scalar, p.default) for name, p in read.params.items()} == {
        "hidden": (int, 64),
        "scale": (float, 1),
        "name": (str, None),
        "sizes": (None, [1, 2]),
    }
    assert find("model", path).name == path.partition(":")[2]


def test_an_import_path_of_a_function(site):
    for name, text in PACKAGE.items():
        module(site, name, text)
    read, imported = from_source("model", "make", "mine:make"), reflect("model", "make", "mine:make")
    assert read.asks == imported.asks == ("task",)
    assert {name: p.scalar for name, p in imported.params.items()} == {"hidden": int, "rate": float}
    sys.modules.pop("mine"), sys.modules.pop("mine.parts")


def test_a_class_of_torch_by_its_import_path():
    found = find("optimizer", "torch.optim:Adam")
    assert found.asks == ("params",) and found.params["lr"].scalar is float and found.params["betas"].default == [0.9, 0.999]


def test_live_objects_are_described_and_built(site):
    class Net(torch.nn.Module):
        def __init__(self, task, *, hidden: int = 8):
            super().__init__()
            self.layer = torch.nn.Linear(task, hidden)

    LIVE["live_notebook:Net"] = Net
    found = find("model", "live_notebook:Net")
    assert (found.name, found.asks, found.params["hidden"]) == ("Net", ("task",), Param("hidden", int, None, 8))
    assert build(found, {"task": 3, "other": 1}, {"hidden": 5}).layer.out_features == 5


def test_a_range_that_is_no_literal_is_imported(site):
    module(site, "computed", HALVE.replace("0.1, 1.0", "LOW, 1.0").replace("def halve", "LOW = 0.25\n\ndef halve"))
    assert find("optimizer", "computed:halve").params["lr"].domain == Range(0.25, 1.0)


TRAP = '''
from typing import Annotated
from autoopt.domain import Acts, Choice, Range

def make(params, *, value: {} = {}){}:
    """Trapped."""
'''


@pytest.mark.parametrize(
    ("annotated", "default", "returns"),
    [
        ("float", "().__class__.__base__.__subclasses__()[0].__name__", ""),
        ("float", "[print('run') for _ in (1,)][0]", ""),
        ("float", "(lambda: 1)()", ""),
        ("float", "int('1')", ""),
        ("int", "2 ** 9", ""),
        ("str", "f'{int.__name__}'", ""),
        ("Annotated[float, Range(*(0.1, 1.0))]", "0.5", ""),
        ("Annotated[float, Range(0.1, 1.0).__class__(0.2, 1.0)]", "0.5", ""),
        ("float", "1.0", " -> Annotated[object, Acts(fills=str('loss'))]"),
    ],
)
def test_what_is_no_literal_is_never_run_by_reading(site, annotated, default, returns):
    module(site, "trap", TRAP.format(annotated, default, returns))
    with pytest.raises(NameError, match="is not a literal"):
        from_source("optimizer", "make", "trap:make")
    assert "trap" not in sys.modules and find("optimizer", "trap:make").doc == "Trapped."  # by importing it
    del sys.modules["trap"]


@pytest.mark.parametrize("annotated", ["().__class__", "torch.Tensor", "print('run')"])
def test_an_annotation_that_is_no_literal_says_nothing(site, annotated):
    module(site, "trap", TRAP.format(annotated, "1.0", ""))
    assert from_source("optimizer", "make", "trap:make").params["value"].type is Any


def test_annotations_in_quotes_are_read(site):
    module(site, "trap", TRAP.format("'Annotated[int, Range(1, 8)]'", "-(2) | 1", " -> \"Annotated[object, Acts(order='late')]\""))
    read = from_source("optimizer", "make", "trap:make")
    assert read.params["value"] == Param("value", int, Range(1, 8), -1) and read.acts == Acts(order="late")
    assert read == reflect("optimizer", "make", "trap:make")
    del sys.modules["trap"]


def test_what_is_decorated_is_imported(site):
    decorator = "def swapped(f):\n    return lambda params, *, other=3: 0\n"
    module(site, "trap", TRAP.format("float", "1.0", "").replace("def make", f"{decorator}\n@swapped\ndef make"))
    with pytest.raises(LookupError, match="has a decorator"):
        from_source("optimizer", "make", "trap:make")
    assert [*find("optimizer", "trap:make").params] == ["other"]
    del sys.modules["trap"]


@pytest.mark.parametrize(
    ("annotated", "scalar"),
    [("float | Tensor", float), ("list[float] | float", float), ("Path", str), ("Literal['a', 'b']", str), ("int | None", int)],
)
def test_of_a_type_that_is_not_known_here_the_rest_counts(site, annotated, scalar):
    default = {"Path": "''", "Literal['a', 'b']": "'a'"}.get(annotated, "1")
    imports = "from pathlib import Path\nfrom typing import Literal\nfrom torch import Tensor\n"
    name = f"typed_{abs(hash(annotated))}"
    module(site, name, f"{imports}\ndef make(*, value: {annotated} = {default}):\n    '''Typed.'''\n")
    read, imported = from_source("device", "make", f"{name}:make"), reflect("device", "make", f"{name}:make")
    assert read.params["value"].scalar is imported.params["value"].scalar is scalar


@pytest.mark.parametrize(
    ("kind", "value", "accepted"),
    [
        (float, 1, 1.0),
        (int, 2.0, 2),
        (str, 3, "3"),
        (bool, True, True),
        (int, None, None),
        (float | None, 1, 1.0),
        (str | list, ["a"], ["a"]),
        (str | list[str], ["a"], ["a"]),
    ],
)
def test_values_are_taken_in_the_arguments_type(kind, value, accepted):
    taken = Param("x", kind).accept(value)
    assert taken == accepted and type(taken) is type(accepted)


@pytest.mark.parametrize(("kind", "value"), [(int, 1.5), (float, "fast"), (bool, 1), (int, True), (str, True)])
def test_values_of_another_type_are_refused(kind, value):
    with pytest.raises(ValueError, match=f"expected {kind.__name__}, got {value!r}"):
        Param("x", kind).accept(value)


@pytest.mark.parametrize(("low", "high", "more"), [(1, 1, {}), (2, 1, {}), (0, 1, {"log": True}), (1, 2, {"log": True, "step": 1})])
def test_ranges_that_cannot_be(low, high, more):
    with pytest.raises(ValueError, match="Range needs"):
        Range(low, high, **more)


@pytest.mark.parametrize("options", [(), (1,), (1, [2])])
def test_choices_that_cannot_be(options):
    with pytest.raises(ValueError, match="Choice needs two or more scalars"):
        Choice(*options)


def test_an_order_that_cannot_be():
    with pytest.raises(ValueError, match=r"^Acts\(order='latest'\): expected one of early, middle, late$"):
        Acts(order="latest")


def test_unavailable_says_why():
    with pytest.raises(Unavailable, match="cnn needs images"):
        build(find("model", "cnn"), {"task": type("Task", (), {"input_shape": (3,), "outputs": 1})}, {})


def test_what_all_cannot_load_is_told(site):
    distribution(site, "torn", "[autoopt.optimizer]\ntorn = torn_opt:torn\n")
    module(site, "torn_opt", "def torn(params):\n    return (\n")
    (line,) = broken_of_all(compose(["data=digits", "optimizer=all"]))
    assert line.startswith("optimizer/torn cannot be loaded: SyntaxError: ") and line.endswith("(from torn 1.2)")
    assert not [*broken_of_all(compose(["data=digits"]))], "where no slot has all"
