"""The plug-points of a config: a strategy and an executor, named like techniques, beside what makes a recipe."""

import pytest
import yaml

from autoopt.config import allow, as_overrides, compose, plugged
from autoopt.errors import BadInput
from autoopt.records.folder import default_name
from autoopt.slots import PLUG_POINTS
from autoopt.space import Space

DATA = "data=digits"
COMMON = {"workers": None, "gpus_per_trial": 1.0, "cpus_per_trial": 1, "trial_time": "1h", "checkpoint": "10m", "retries": 3, "keep": None}
OWN = '''
from typing import Annotated

from autoopt import Range
from autoopt.executor import Executor
from autoopt.strategy import Strategy


class Best(Strategy):
    """Mine."""

    def __init__(self, space, epochs, patience: Annotated[int, Range(1, 9)] = 3):
        self.space = space


def cluster(setup, store, limits, *, queue: str, hours: float = 1) -> Executor:
    """Mine."""


def greedy(space, gpus) -> Strategy:
    """Asks for what nobody offers."""


def workers(setup, store, limits) -> Executor:
    """Has the name of a setting."""


def labelled(setup, store, limits, *, labels: dict | None = None) -> Executor:
    """Mine."""
'''


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    (tmp_path / "own_points.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


def problems(*arguments):
    with pytest.raises(BadInput) as caught:
        compose([DATA, *arguments])
    return list(caught.value.problems)


def test_what_is_plugged_in_by_default():
    tree = compose([DATA])
    assert tree["strategy"] == {"bayes": {"startup": 10, "rungs": 2, "reduction": 3}}
    assert tree["executor"] == {**COMMON, "local": {}}


@pytest.mark.parametrize(
    ("arguments", "point", "node"),
    [
        (["strategy=random"], "strategy", {"random": {"rungs": 2, "reduction": 3, "promote": False}}),
        (["strategy=[random]"], "strategy", {"random": {"rungs": 2, "reduction": 3, "promote": False}}),
        (["strategy=bayes", "strategy.bayes.startup=20"], "strategy", {"bayes": {"startup": 20, "rungs": 2, "reduction": 3}}),
        (["strategy.bayes.startup=20.0"], "strategy", {"bayes": {"startup": 20, "rungs": 2, "reduction": 3}}),
        (["strategy=own_points:Best"], "strategy", {"Best": {"from": "own_points:Best", "patience": 3}}),
        (["executor=local", "executor.workers=2"], "executor", {**COMMON, "workers": 2, "local": {}}),
        (
            ["executor=own_points:cluster", "executor.cluster.queue=long", "executor.cpus_per_trial=4"],
            "executor",
            {**COMMON, "cpus_per_trial": 4, "cluster": {"from": "own_points:cluster", "queue": "long", "hours": 1.0}},
        ),
    ],
)
def test_what_may_be_plugged_in(arguments, point, node):
    assert compose([DATA, *arguments])[point] == node


def test_the_technique_of_a_plug_point_and_its_values():
    tree = compose([DATA, "executor=own_points:cluster", "executor.cluster.queue=long", "strategy.bayes.startup=20"])
    technique, values = plugged(tree, "executor")
    assert (technique.slot, technique.name, technique.asks) == ("executor", "cluster", ("setup", "store", "limits"))
    assert values == {"queue": "long", "hours": 1.0}
    technique, values = plugged(tree, "strategy")
    assert (technique.path, values) == ("autoopt.plugins.strategy.bayes:bayes", {"startup": 20, "rungs": 2, "reduction": 3})


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("strategy=bayes,random", "strategy=bayes,random: all trials have the same strategy; give one"),
        ("executor=[local,own_points:cluster]", "executor=local,cluster: all trials have the same executor; give one"),
        ("strategy=tpee", "No strategy named 'tpee'. Did you mean 'tpe'? Known: bayes, grid, one_epoch, optuna, random, tpe."),
        ("executor=rey", "No executor named 'rey'. Did you mean 'ray'? Known: local, ray, submitit."),
        ("strategy=[]", "strategy=: nothing is selected; give one of bayes, grid, one_epoch, optuna, random, tpe"),
        ("executor=[]", "executor=: nothing is selected; give one of local, ray, submitit"),
        ("strategy=all", "No strategy named 'all'. Known: bayes, grid, one_epoch, optuna, random, tpe."),
        ("strategy.bayes.startup=1,2", "strategy.bayes.startup=choice(1,2): a setting is not searched; give one value"),
        ("strategy.bayes.startup=interval(1,9)", "strategy.bayes.startup=interval(1,9): a setting is not searched; give one value"),
        ("strategy.bayes.startup=many", "strategy.bayes.startup=many: expected int, got 'many'"),
        ("strategy.bayes.start=3", "No strategy.bayes argument named 'start'. Did you mean 'startup'? Known: reduction, rungs, startup."),
        ("strategy.random.x=3", "strategy.random.x: strategy=random is not selected. Selected: bayes."),
        ("executor.workers.x=3", "executor.workers.x: executor=workers is not selected. Selected: local."),
        ("executor.workrs=3", "No setting named 'executor.workrs'. Did you mean 'executor.workers'? Known: executor.checkpoint, "),
        ("executor.workers=1,2", "executor.workers=choice(1,2): a setting is not searched; give one value"),
        ("strategy=own_points:greedy", "strategy=own_points:greedy asks for 'gpus', which strategy does not offer (it offers space, "),
        ("executor=own_points:workers", "executor=own_points:workers: 'workers' is a setting of executor in the config; import it under"),
    ],
)
def test_what_is_refused_in_one_line(argument, problem):
    (line,) = [line for line in problems(argument) if "cluster.queue is missing" not in line]
    assert line.startswith(problem)


def test_a_setting_without_a_default_is_required():
    assert problems("executor=own_points:cluster") == ["executor.cluster.queue is missing: give executor.cluster.queue=…"]


@pytest.mark.parametrize("arguments", [[], ["strategy=own_points:Best", "executor.workers=2"], ["strategy.bayes.startup=3"]], ids=str)
def test_the_composed_tree_composes_to_itself(tmp_path, arguments):
    tree = compose([DATA, *arguments])
    (tmp_path / "tree.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    assert compose([], str(tmp_path / "tree.yaml")) == tree
    assert compose(as_overrides(tree)) == tree


@pytest.mark.parametrize(
    ("file", "arguments", "node"),
    [
        ({"executor": {"workers": 2}}, [], {**COMMON, "workers": 2, "local": {}}),
        ({"executor": "local"}, ["executor.workers=2"], {**COMMON, "workers": 2, "local": {}}),
        ({"executor": {"local": None}}, [], {**COMMON, "local": {}}),
        (
            {"executor": {"workers": 2, "cluster": {"from": "own_points:cluster", "queue": "long"}}},
            ["executor.cluster.hours=2"],
            {**COMMON, "workers": 2, "cluster": {"from": "own_points:cluster", "queue": "long", "hours": 2.0}},
        ),
        (
            {"executor": {"workers": 2, "cluster": {"from": "own_points:cluster", "queue": "long"}}},
            ["executor=local"],
            {**COMMON, "workers": 2, "local": {}},
        ),
    ],
)
def test_a_file_sets_what_all_executors_share_and_what_one_has(tmp_path, file, arguments, node):
    allow("own_points:cluster")
    (tmp_path / "search.yaml").write_text(yaml.safe_dump({"data": "digits", **file}))
    assert compose(arguments, str(tmp_path / "search.yaml"))["executor"] == node


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("executor: {workrs: 2}", "No setting named 'executor.workrs'. Did you mean 'executor.workers'?"),
        ("strategy: {}", "strategy=: nothing is selected"),
        ("strategy: {bayes: 3}", "No setting named 'strategy.bayes'."),
        ("strategy: {bayes: {}, random: {}}", "strategy=bayes,random: all trials have the same strategy; give one"),
        ("strategy: {bayes: {startup: {a: 1}}}", "strategy.bayes.startup={a: 1}: expected one value, got a mapping"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, text, problem):
    (tmp_path / "search.yaml").write_text(f"data: digits\n{text}\n")
    with pytest.raises(BadInput) as caught:
        compose([], str(tmp_path / "search.yaml"))
    (line,) = caught.value.problems
    assert line.startswith(problem)


@pytest.mark.parametrize(
    ("name", "argument"), [("ray", "resources"), ("submitit", "additional_parameters"), ("own_points:labelled", "labels")]
)
def test_an_argument_that_is_a_mapping_is_given_on_the_command_line_and_in_a_file(tmp_path, name, argument):
    allow("own_points:labelled")
    option, own = name.rpartition(":")[2], {"from": name} if ":" in name else {}
    assert compose([DATA, f"executor={name}", f"executor.{option}.{argument}={{spot: 1}}"])["executor"][option][argument] == {"spot": 1}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump({"data": "digits", "executor": {option: {**own, argument: {"spot": 1}}}}))
    assert compose([], str(tmp_path / "search.yaml"))["executor"][option][argument] == {"spot": 1}
    with pytest.raises(BadInput, match=rf"executor\.{option}\.{argument}=spot: expected a mapping, such as {{name: 1}}, got 'spot'"):
        compose([DATA, f"executor={name}", f"executor.{option}.{argument}=spot"])


def test_they_are_no_part_of_a_recipe_and_change_no_studys_name():
    tree = compose([DATA])
    other = compose([DATA, "strategy=own_points:Best", "executor=own_points:cluster", "executor.cluster.queue=long", "executor.workers=7"])
    assert default_name(other) == default_name(tree)
    for each in (tree, other):
        space = Space.of(each)
        assert not PLUG_POINTS.keys() & space.baseline().tree.keys()
        assert not [domain for domain in space.domains() if domain.key.split(".")[0] in PLUG_POINTS]
        assert not [slot for slot, _, _ in space.techniques() if slot in PLUG_POINTS]
