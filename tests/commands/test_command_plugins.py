"""`autoopt plugins`: what is installed, and the contract over it."""

import json
import re
import sys
from dataclasses import replace

import pytest

from autoopt import Choice, Range, grammar
from autoopt.cli import main
from autoopt.commands.check import slot_of_path
from autoopt.commands.plugins import lacking
from autoopt.errors import BadInput
from autoopt.signature import missing_package
from autoopt.slots import PLUGGABLE
from autoopt.technique import REQUIRED, available, catalogue, find

OWN = '''
import torch


class Thing(torch.optim.SGD):
    """A step down the slope, as in my thesis.

    Me 2024.
    """

    def __init__(self, params, *, lr: float = 0.1):
        super().__init__(params, lr=lr)


class Stuck(torch.optim.Optimizer):
    """Does nothing.

    Me 2024.
    """

    def __init__(self, params, *, lr: float = 0.1):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        return None if closure is None else closure()
'''


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def said(*arguments):
        code = main(["plugins", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return said


@pytest.mark.slow
def test_the_list_has_every_technique_under_its_slot(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    slot, found = "", set()
    for line in out.splitlines():
        if line.startswith("  "):
            found.add((slot, line.split()[0]))
        else:
            slot = line.partition(":")[0]
    assert found == set(catalogue())
    assert all(find(*key).doc.splitlines()[0] in out for key in found)


@pytest.mark.parametrize("slot", PLUGGABLE)
def test_one_slot(run, slot):
    lines = run(slot)[1].splitlines()
    assert lines[0] == f"{slot}: {PLUGGABLE[slot].about}" and [line.split()[0] for line in lines[1:]] == available(slot)


def test_json_says_what_a_signature_says(run):
    rows = json.loads(run("--json")[1])
    assert {(r["slot"], r["name"]) for r in rows} == set(catalogue())
    adamw = next(r for r in rows if (r["slot"], r["name"]) == ("optimizer", "adamw"))
    assert adamw["params"]["lr"] == {"type": "float", "searched": "tag(log, interval(1e-05, 0.1))", "default": 0.001, "bounds": "0 or more"}
    assert (adamw["asks"], adamw["fills"], adamw["order"]) == (["params"], None, "early")
    assert adamw["about"].startswith("Adam with weight decay") and "arXiv:1711.05101" in adamw["source"]
    csv = next(r for r in rows if r["name"] == "csv")
    assert csv["params"]["target"] == {"type": "str", "searched": None, "required": True} and csv["params"]["kind"]["default"] is None
    assert next(r for r in rows if r["name"] == "mixup")["order"] == "late"
    for row in rows:
        for name, param in row["params"].items():
            domain = find(row["slot"], row["name"]).params[name].domain
            said = None if param["searched"] is None else grammar.interpret(param["searched"])
            written = replace(domain, step=None) if isinstance(domain, Range) else domain and Choice(*domain.options)
            assert said == written, "its options, though others may be given"
            assert param.get("step") == getattr(domain, "step", None)
    assert [r["slot"] for r in json.loads(run("optimizer", "--json")[1])] == ["optimizer"] * len(available("optimizer"))


def test_a_technique_that_cannot_be_used_is_marked_with_what_it_needs(run, monkeypatch, tmp_path):
    (tmp_path / "lacking.py").write_text("import no_such_package\n\n\ndef mine(x):\n    pass\n")
    (tmp_path / "guarded.py").write_text("try:\n    import no_such_package\nexcept ImportError:\n    pass\n\n\ndef mine(x):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("lacking", "guarded"):
        technique = find("loss", f"{module}:mine")
        assert lacking(technique) == " [cannot be used: needs no_such_package: pip install no_such_package]"
    assert lacking(find("optimizer", "adamw")) == "" and missing_package("guarded") is None
    listed = {entry["name"]: entry["lacks"] for entry in json.loads(run("optimizer", "--json")[1])}
    assert listed["adamw"] is None


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A distribution with a technique whose defaults are no JSON, and with one that cannot be imported."""
    site = tmp_path / "site"
    (site / "odd-1.0.dist-info").mkdir(parents=True)
    (site / "odd-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (site / "odd-1.0.dist-info" / "entry_points.txt").write_text("[autoopt.initializer]\nodd = odd_init:odd\nbroken = broken_init:broken\n")
    (site / "odd_init.py").write_text('KIND = complex\n\n\ndef odd(model, *, most=float("inf"), kind=KIND):\n    """Odd."""\n')
    (site / "broken_init.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(site)
    for cached in catalogue, find:
        cached.cache_clear()
    yield
    for cached in catalogue, find:
        cached.cache_clear()


def test_defaults_that_are_no_json(run, odd):
    code, out, _ = run("initializer", "--json")
    listed = {entry["name"]: entry for entry in json.loads(out, parse_constant=pytest.fail)}
    assert code == 0 and "orthogonal" in listed and "broken" not in listed
    assert {name: param["default"] for name, param in listed["odd"]["params"].items()} == {"most": None, "kind": "<class 'complex'>"}


@pytest.mark.slow  # imports torch
@pytest.mark.parametrize("word", ["odd", "initializer"])
def test_a_broken_technique_keeps_no_other_from_being_checked(run, odd, word, monkeypatch):
    monkeypatch.setattr("autoopt.testing.check", lambda technique: [])
    code, out, err = run("check", word)
    lines = out.splitlines()
    assert (code, err) == (1, "") and "ok       initializer/odd" in lines and ", 1 failed, " in lines[-1]
    assert [line for line in lines if line.startswith("failed")] == [
        "failed   initializer/broken cannot be loaded: ZeroDivisionError: division by zero (from odd 1.0)"
    ]


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("class Mine:\n    pass", r"misfit_\d:Mine fits no slot: it makes a Mine; data takes Examples or .*; optimizer takes Optimizer"),
        ("def Mine(x):\n    return x", r"misfit_\d:Mine fits no slot: its return annotation is missing; "),
        (
            "import torch\n\ndef Mine(weights, /) -> torch.optim.Optimizer:\n    pass",
            r"misfit_\d:Mine fits no slot: optimizer does not offer 'weights' \(it offers params, ",
        ),
    ],
)
def test_an_object_that_fits_no_slot_is_told_why(request, monkeypatch, tmp_path, source, line):
    name = f"misfit_{request.node.callspec.indices['source']}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInput, match=line):
        slot_of_path(f"{name}:Mine")


def test_markdown_is_a_table_a_slot(run):
    lines = run("--markdown")[1].splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| name")]
    assert len(rows) == len(catalogue()) and sum(line.startswith("**") for line in lines) == len(PLUGGABLE)
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
    (adamw,) = [row for row in rows if row.startswith("| adamw |")]
    assert "`lr` 1e-05 to 0.1, log; `weight_decay` 1e-06 to 1, log" in adamw and "arXiv:1711.05101" in adamw
    assert any("`connection` plain / residual / dense" in row for row in rows)


@pytest.mark.parametrize(("slot", "name"), sorted(catalogue()))
def test_the_card_names_every_argument(run, slot, name):
    code, out, _ = run("show", f"{slot}/{name}")
    technique = find(slot, name)
    assert code == 0 and out.startswith(f"{slot}/{name}   autoopt ") and technique.doc.splitlines()[0] in out
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    for param in technique.params.values():
        assert ("required" if param.default is REQUIRED else f"default {grammar.spell(param.default)}") in rows[param.name]
        assert ("a setting" if param.domain is None else grammar.spell(param.domain)) in rows[param.name]
    assert f"asks for   {', '.join(technique.asks) or 'nothing'}" in out


def test_the_card_of_ones_own(run, tmp_path):
    (tmp_path / "card_opt.py").write_text(OWN)
    code, out, _ = run("show", "optimizer/card_opt:Thing")
    assert code == 0 and out.startswith("optimizer/Thing   card_opt:Thing\n\nA step down the slope") and "asks for   params" in out
    assert "card_opt" not in sys.modules


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["optimiser"], "No slot named 'optimiser'. Did you mean 'optimizer'? Known: activation, "),
        (["optimizer", "loss"], "plugins: unexpected argument 'loss'; see autoopt plugins --help"),
        (["--jsn"], "--jsn: no such option. Known: --markdown, --json."),
        (["show"], "plugins show: name a technique, such as optimizer/adamw"),
        (["show", "adamw"], "plugins show: name a technique, such as optimizer/adamw"),
        (["show", "optimizer/adamw", "optimizer/sgd"], "plugins show: name a technique, such as optimizer/adamw"),
        (["show", "optimizer/adamww"], "No optimizer named 'adamww'. Did you mean 'adamw'? Known: adabelief, "),
        (["show", "optimiser/adamw"], "No slot named 'optimiser'. Did you mean 'optimizer'?"),
        (["check", "no_such:Thing"], "no_such:Thing cannot be loaded: ModuleNotFoundError: No module named 'no_such'"),
        (["check", "json:Thing"], "json:Thing cannot be loaded: AttributeError: json has no 'Thing'"),
        (["show", "optimizer/no_such:Thing"], "optimizer/Thing cannot be loaded: ModuleNotFoundError: No module named 'no_such'"),
    ],
    ids=str,
)
def test_what_is_refused(run, arguments, line):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and err.startswith(f"autoopt: {line}") and err.count("\n") == 1


@pytest.mark.slow  # imports torch
def test_the_contract_over_what_is_named(run, tmp_path):
    (tmp_path / "checked_opt.py").write_text(OWN)
    code, out, err = run("check", "optimizer=checked_opt:Thing")
    assert (code, err) == (0, "") and out.splitlines()[0] == "ok       optimizer/Thing" and out.endswith("1 checked, 0 failed, 0 skipped\n")
    code, out, _ = run("check", "optimizer=checked_opt:Stuck", "activation/relu")
    lines = out.splitlines()
    assert code == 1 and lines[0] == "failed   optimizer/Stuck" and lines[1].startswith("         ") and ": " in lines[1]
    assert "ok       activation/relu" in lines and lines[-1] == "2 checked, 1 failed, 0 skipped"
    (tmp_path / "checked_too.py").write_text(OWN.replace("Me 2024.", "Own idea, nothing published."))
    code, out, _ = run("check", "optimizer=checked_too:Thing")
    assert code == 1 and "(Source: unpublished)" in out and re.search(r"\n         the other [1-9]\d* checks passed\n", out)
    (tmp_path / "checked_thus.py").write_text(OWN.replace("Me 2024.", "Source: unpublished"))
    assert run("check", "optimizer=checked_thus:Thing")[0] == 0
    code, out, _ = run("check", "loss/mse")
    assert "takes class probabilities: left out, it is not for classification" in out and out.endswith("1 checked, 0 failed, 0 skipped\n")
    code, out, _ = run("check", "activation")
    assert code == 0 and out.endswith(f"{len(available('activation'))} checked, 0 failed, 0 skipped\n")
    for word, line in {
        "nobody": "No slot and no distribution with techniques named 'nobody'. ",
        "optimizer/adamww": "No optimizer named 'adamww'. Did you mean 'adamw'?",
        "optimiser=checked_opt:Thing": "No slot named 'optimiser'.",
        "optimizer=checked_opt:Thin": "optimizer=checked_opt:Thin: checked_opt has no 'Thin'. Did you mean 'Thing'?",
    }.items():
        code, out, err = run("check", word)
        assert (code, out) == (2, "") and err.startswith(f"autoopt: {line}") and err.count("\n") == 1
