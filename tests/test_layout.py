"""How the code is laid out: who may import whom (CONTRIBUTING.md has the order), what has to be installed, what an import does."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
KNOWN = {("autoopt", "api")}
"""The package loads what needs torch at its first use."""


def order() -> list[str]:
    """The parts of the package from the top down, as the table in CONTRIBUTING.md has them."""
    rows = re.findall(r"^\| (`.*?`) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    return [name.rstrip("/") for row in rows for name in re.findall(r"`(.*?)`", row)]


def modules(folder: str) -> dict[str, Path]:
    """The files of a folder, by the names under which they are imported."""
    files = sorted((ROOT / folder).rglob("*.py"))
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    return {name if folder == "autoopt" else f"autoopt.{name}": file for name, file in names.items()}


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """What a file imports, in its functions too, with the line; not what is for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from ((f"autoopt.{name.name}" if node.module == "autoopt" else str(node.module), node.lineno) for name in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and isinstance(node.args[0], ast.Constant):
            yield node.args[0].value, node.lineno
        yield from imports(node)


def upward(module: str, source: str, parts: list[str]) -> list[str]:
    """The imports of a file that point to a part above its own."""
    own = part_of(module)
    found = {(name, line) for name, line in imports(ast.parse(source)) if name.startswith("autoopt.")}
    above = {name for name in parts if parts.index(name) < parts.index(own)} | {"plugins"}
    return [
        f"{module}:{line} imports {name}" for name, line in sorted(found) if part_of(name) in above and (module, part_of(name)) not in KNOWN
    ]


def part_of(module: str) -> str:
    """The part that a module is in; the package itself imports nothing but its last parts, and its command all."""
    return {"autoopt": "domain", "autoopt.__main__": "cli"}.get(module) or module.split(".")[1]


def test_every_part_has_its_place():
    parts = order()
    there = {part_of(name) for name in modules("autoopt")}
    assert len(parts) == len(set(parts)) and set(parts) == there


@pytest.mark.slow
def test_imports_point_down():
    parts = order()
    assert [line for name, file in modules("autoopt").items() for line in upward(name, file.read_text(), parts)] == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("autoopt.data.table", "from autoopt.module.embedded import width", ["autoopt.data.table:1 imports autoopt.module.embedded"]),
        ("autoopt.data.table", "def f():\n    import autoopt.trial", ["autoopt.data.table:2 imports autoopt.trial"]),
        ("autoopt.recipe", "from autoopt import space", ["autoopt.recipe:1 imports autoopt.space"]),
        ("autoopt.recipe", "importlib.import_module('autoopt.api')", ["autoopt.recipe:1 imports autoopt.api"]),
        ("autoopt", "import autoopt.technique", ["autoopt:1 imports autoopt.technique"]),
        ("autoopt.study.search", "from autoopt.plugins.data.csv import csv", ["autoopt.study.search:1 imports autoopt.plugins.data.csv"]),
        ("autoopt.trial.run", "if TYPE_CHECKING:\n    from autoopt.study.search import search", []),
        ("autoopt.trial.run", "from autoopt.module.net import Net\nfrom autoopt import errors", []),
        ("autoopt.space.space", "from autoopt.space.option import Option\nfrom autoopt.grammar import parse", []),
    ],
)
def test_an_import_that_points_up_or_at_a_plugin_is_told(module, source, found):
    assert upward(module, source, order()) == found


# ----------------------------------------------------------------------------------------------------------------------- distributions


def canonical(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


NEEDED = {canonical(requirement) for requirement in PROJECT["project"]["dependencies"]}
BUNDLES = ("all", "docs", "dev")
EXTRAS = {name: {*map(canonical, said)} for name, said in PROJECT["project"]["optional-dependencies"].items() if name not in BUNDLES}
installed = cache(packages_distributions)  # takes a second


def distributions(source: ast.AST) -> set[str]:
    """The distributions that a file imports; one that is not installed goes by the name of what is imported."""
    tops = {name.split(".")[0] for name, _ in imports(source)} - {"autoopt"} - sys.stdlib_module_names
    declared = NEEDED.union(*EXTRAS.values())
    found = [[canonical(name) for name in installed().get(top, [top])] for top in tops]  # several may bring one package
    return {next((name for name in names if name in declared), names[0]) for names in found}


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["autoopt", "plugins"])
def test_what_is_imported_is_declared(folder):
    """A plugin may need an extra; a file of autoopt that needs one says which."""
    missing = {}
    for name, file in modules(folder).items():
        tree = ast.parse(file.read_text())
        extras = EXTRAS if folder == "plugins" else re.findall(r"Needs the extra `(\w+)`", ast.get_docstring(tree) or "")
        missing[name] = distributions(tree) - NEEDED.union(*(EXTRAS[extra] for extra in extras))
    assert {name: found for name, found in missing.items() if found} == {}


@pytest.mark.slow
def test_what_is_declared_is_imported():
    files = [file for folder in ("autoopt", "plugins") for file in modules(folder).values()]
    assert NEEDED.union(*EXTRAS.values()) - set().union(*(distributions(ast.parse(file.read_text())) for file in files)) == set()


def test_every_package_is_installed():
    folders = {file.parent for folder in ("autoopt", "plugins") for file in modules(folder).values()}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    names = {name if name.startswith("autoopt") else f"autoopt.{name}" for name in names}
    assert names == {name for name in PROJECT["tool"]["setuptools"]["packages"] if name.split(".")[1:2] != ["conf"]}


# ------------------------------------------------------------------------------------------------------------------- what an import does


@pytest.mark.slow
def test_importing_autoopt_changes_no_state_of_anybody():
    """Compared after everything that it imports of others has been imported."""
    files = modules("autoopt") | modules("plugins")
    del files["autoopt.__main__"]
    others = {name for file in files.values() for name, _ in imports(ast.parse(file.read_text())) if not name.startswith("autoopt")}
    said = json.dumps([sorted(others), sorted(files)])
    script = Path(__file__).with_name("state_after_imports.py")
    done = subprocess.run([sys.executable, script], input=said, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("{}", 0), done.stderr


def without_encoding(source: str) -> list[int]:
    """The lines where a file is read or written as text, in an encoding that depends on the machine."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return [
        call.lineno
        for call in calls
        if call.func.attr in ("read_text", "write_text")  # type: ignore[attr-defined]
        and "encoding" not in [word.arg for word in call.keywords]
        and not (call.func.attr == "read_text" and call.args)  # type: ignore[attr-defined]  # a file of a distribution's metadata
    ]


def test_text_files_are_utf8_on_every_machine():
    assert without_encoding("a.read_text()\na.write_text('x', encoding='utf-8')\na.write_text('x')") == [1, 3]
    files = [file for folder in ("autoopt", "plugins") for file in (ROOT / folder).rglob("*.py")]
    assert [f"{file}:{line}" for file in files for line in without_encoding(file.read_text())] == []
