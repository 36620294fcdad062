"""Reads hostile files on every way in, each with a canary that would write a file if it ran, and writes down what was said.

The ways are those of the command and of the Python API; the payloads are what a file may say to have code imported or called.
"""

import contextlib
import copy
import io
import json
import os
import sys
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file
from torch import nn

import autoopt
from autoopt.cli import main
from autoopt.config import compose
from autoopt.deployment.served import write_served
from autoopt.goal import Goal, Objective
from autoopt.plugins.executor import local
from autoopt.recipe import Recipe
from autoopt.records.folder import Folder, summed
from autoopt.records.journal import Journal
from autoopt.records.record import Record
from autoopt.records.settled import Settled
from autoopt.records.stages import SEARCH
from autoopt.space import Space
from autoopt.store import digest

LINEAR = {"from": "torch.nn:Linear", "out_features": 1}
PLAIN = ["data=digits", "model=linear", "tracking.enabled=false", "device=cpu", "study.epochs=1"]


def payloads(marker: str, module: str) -> dict[str, dict]:
    """What a slot holds: a technique that would write the marker, by every way to say it."""
    return {
        "module": {"Net": {"from": f"{module}:Net"}},
        "name": {f"{module}:Net": {}},
        "popen": {"Popen": {"from": "subprocess:Popen", "args": ["touch", marker]}},
        "eval": {"eval": {"from": "builtins:eval", "source": f"open({marker!r}, 'w')"}},
        "traversal": {"system": {"from": "torch.nn:modules.module.os.system", "command": f"touch {marker}"}},
        "object": {"Linear": {**LINEAR, "in_features": {"from": "subprocess:Popen", "args": ["touch", marker]}}},
        "list": {"Linear": {**LINEAR, "in_features": [{"from": f"{module}:Net"}]}},
        "text": {"Linear": {**LINEAR, "in_features": f"{module}:Net"}},
        "inside": {"Linear": {**LINEAR, "in_features": 1, "in_features.from": f"{module}:Net"}},
    }


class Canaries:
    """The hostile files of one folder; `said` is what each way answered to each payload."""

    def __init__(self, folder: Path):
        self.folder, self.said = folder, {}
        self.recipe = dict(Space.of(compose(PLAIN)).baseline().tree)

    def each(self, way: str, slots: tuple[str, ...] = ("model",)):
        """A name for every payload, and the recipe with it in a slot."""
        for slot in slots:
            kinds = payloads("", "")
            for kind in kinds:
                name = f"{way}-{slot}-{kind}"
                module = "canary_" + name.replace("-", "_")
                marker = self.folder / f"{name}.ran"
                write = f"open({str(marker)!r}, 'w').close()\n"
                code = f"from torch import nn\n{write}class Net(nn.Module):\n    def __init__(self): {write}"
                (self.folder / f"{module}.py").write_text(code)
                yield name, {**copy.deepcopy(self.recipe), slot: payloads(str(marker), module)[kind]}

    def callbacks(self, way: str):
        """The same for the Trainer's callbacks."""
        for name, recipe in self.each(f"{way}-callbacks"):
            (node,) = recipe["model"].values()
            path = str(node.get("from", next(iter(recipe["model"]))))
            if path != LINEAR["from"]:
                yield name, {**copy.deepcopy(self.recipe), "trainer": {"callbacks": path}}

    def try_out(self, name: str, call) -> None:
        """Do what a user would do, and note what is said."""
        try:
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
                code = call()
            self.said[name] = err.getvalue() if code else out.getvalue() or "nothing was refused"
        except Exception as error:
            self.said[name] = f"{type(error).__name__}: {error}"

    def command(self, name: str, *arguments: str) -> None:
        self.try_out(name, lambda: main(arguments))

    def file(self, name: str, tree: dict) -> str:
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(tree))
        return f"{name}.yaml"

    # the ways in

    def files(self) -> None:
        for name, recipe in [*self.each("file", ("model", "optimizer")), *self.callbacks("file")]:
            self.command(name, "search", self.file(name, recipe), "study.trials=2")
        for name, recipe in self.each("recipe"):
            self.command(name, "train", f"recipe={self.file(name, recipe)}")
        for name, recipe in self.each("baseline", ("optimizer",)):
            self.command(name, "search", *PLAIN, f"baseline={self.file(name, recipe)}")
        for name, recipe in self.each("plan", ("regularizer",)):
            self.command(name, "plan", self.file(name, recipe))
        for name, recipe in self.each("dotted"):
            flat = {f"model.{key}.{k}": v for key, node in recipe["model"].items() for k, v in node.items()}
            self.command(name, "search", self.file(name, {"data": "digits", "model": list(recipe["model"]), **flat}))
        for name, recipe in self.each("apply", ("optimizer", "activation")):
            path = self.file(name, recipe)
            self.try_out(name, lambda path=path: autoopt.apply(path, autoopt_module()))
        for name, recipe in [*self.each("object", ("loss",)), *self.callbacks("object")]:
            self.try_out(name, lambda recipe=recipe: autoopt.apply(Recipe(recipe), autoopt_module()))

    def instances(self) -> None:
        """Hydra's `_target_` and LightningCLI's `class_path`."""
        for name, recipe in self.each("instance"):
            (node,) = recipe["model"].values()
            path = str(node.get("from", next(iter(recipe["model"])))).replace(":", ".")
            key = "_target_" if len(name) % 2 else "class_path"
            self.command(name, "search", "data=digits", f"model={self.file(name, {key: path})}")

    def exports(self) -> None:
        """best/ of somebody else: model.json, and the structure in the weights."""
        for name, recipe in self.each("load", ("model", "activation", "regularizer")):
            folder = self.export(name, recipe)
            self.try_out(name, lambda folder=folder: autoopt.load(folder))
        for name, recipe in self.each("serve", ("model", "activation")):
            folder = self.export(name, recipe)
            self.try_out(name, lambda folder=folder: write_served(folder))
        for name, recipe in self.each("weights"):
            (node,) = recipe["model"].values()
            kind = str(node.get("from", next(iter(recipe["model"]))))
            kind = f"canary_{name.replace('-', '_')}:Net" if kind == LINEAR["from"] else kind
            layer = {"class": kind, "attributes": {}, "parameters": [], "buffers": [], "absent": [], "modules": {}}
            folder = self.export(name, self.recipe, {"structure": json.dumps({**layer, "class": "torch.nn.modules.container:Sequential",
                                                                              "modules": {"0": layer}})})  # fmt: skip
            self.try_out(name, lambda folder=folder: autoopt.load(folder))

    def export(self, name: str, recipe: dict, structure: dict[str, str] | None = None) -> Path:
        folder = self.folder / name
        folder.mkdir()
        save_file({"weight": torch.ones(1)}, folder / "model.safetensors", structure)
        card = {"kind": "classification", "input_shape": [1, 8, 8], "outputs": 10, "classes": [], "inputs": None, "targets": None}
        beside = {"tokens": 0, "categories": [], "encoding": {}, "lightning": False, "versions": {}}
        (folder / "model.json").write_text(json.dumps({**card, **beside, "recipe": recipe, "sha256": digest(folder / "model.safetensors")}))
        return folder

    def studies(self) -> None:
        """A study of somebody else: its config, its journal, and its best recipe."""
        for name, recipe in self.each("finish", ("model", "optimizer")):
            study = self.study(name, [self.recipe])
            config = yaml.safe_load((study / "config.yaml").read_text())
            (study / "config.yaml").write_text(yaml.safe_dump({**config, **{s: recipe[s] for s in ("model", "optimizer")}}))
            self.command(name, "finish", name)
        for name, recipe in self.each("trial"):
            self.study(name, [recipe])
            self.command(name, "train", f"recipe={name}/0")
        for name, recipe in self.each("best"):
            best = self.study(name, [self.recipe]) / "best"
            best.mkdir()
            (best / "recipe.yaml").write_text(yaml.safe_dump(recipe))
            self.command(name, "train", f"recipe={name}")
        for name, recipe in self.each("export"):
            self.study(name, [self.recipe])
            self.export(f"autoopt-runs/{name}/best", recipe)
            self.command(name, "export", name)
        hostile = dict([*self.each("resumed", ("model", "optimizer")), *self.callbacks("resumed")])
        self.study("resumed", list(hostile.values()))
        self.command("resumed", "search", *PLAIN, "name=resumed", "study.trials=2")
        lines = self.said.pop("resumed").splitlines()
        self.said |= {name: next((li for li in lines if f"trial {i} of" in li), str(lines)) for i, name in enumerate(hostile)}

    def study(self, name: str, recipes: list[dict]) -> Path:
        tree = compose([*PLAIN, f"name={name}", "study.trials=2"])
        folder = Folder(tree)
        goal = Goal((Objective("val_accuracy", "maximize"),))
        folder.settle(Settled(Space.of(tree), goal, "test"), {"examples": "", "sources": {}})
        space = folder.path / "space.yaml"
        text = space.read_text().partition("\n")[2]
        space.write_text(summed(text.replace("examples: ''\n", "")))  # of any data
        journal = Journal(folder.path / "journal.log", name)
        for number, recipe in enumerate(recipes):
            record = Record(str(number), "search", recipe, 0, "complete", 0.5, {"val_accuracy": 0.5}, {}, [], 0, 1, 1.0, 1.0)
            journal.begin(SEARCH, goal, {}, {})
            journal.end(SEARCH, goal, number, record)
        journal.close()
        folder.close()
        return folder.path


def autoopt_module():
    import lightning.pytorch as L

    class Lit(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))

    return Lit()


def run(folder: Path, way: str) -> None:
    """Be a process in a folder, from which every canary can be imported."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    local.is_live = lambda tree: True  # trials are forked from here
    canaries = Canaries(folder)
    getattr(canaries, way)()
    (folder / "said.json").write_text(json.dumps(canaries.said))
