"""Arguments of the user's own classes: lists, mappings, tuples, objects, and files that name objects."""

import functools

import own_arguments as own
import pytest
import torch
from torch import nn

from autoopt.arguments import passed
from autoopt.commands.options import Asked
from autoopt.config import allow, compose
from autoopt.config.instances import unread
from autoopt.errors import BadInput
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.baseline import untouched
from autoopt.technique import build, find

DATA = "data=digits"
WHOLE = [DATA, "model=own_arguments:Whole", "model.Whole.net=own_arguments:Net", "model.Whole.optimizer=torch.optim:SGD"]


def recipe(*said, file=None):
    return Space.of(compose([*said], file)).baseline()


def built(found):
    (values,) = found.tree["model"].values()
    technique = find("model", values["from"])
    return build(technique, {"task": "ours"}, {k: v for k, v in values.items() if k != "from"})


def model(*said):
    """The model of a config; that of its recipe as a file is the same recipe."""
    found = recipe(*said)
    return built(found)


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "given.yaml").write_text(text)
        return str(tmp_path / "given.yaml")

    return write


def test_lists_mappings_and_tuples_are_pins():
    said = model(*WHOLE, "model.Whole.sizes=[3,4]", "model.Whole.options={a: 1, b: {c: [x, 2.5]}}", "model.Whole.layers=[1,2]").said
    assert (said["sizes"], said["options"], said["layers"]) == ((3, 4), {"a": 1, "b": {"c": ["x", 2.5]}}, (1, 2))
    inside = model(*WHOLE, "model.Whole.options={a: 1}", "model.Whole.options.a=5,6").said
    assert inside["options"] == {"a": 5}
    assert model(DATA, "model=own_arguments:Default", "model.Default.betas=[1,2]").betas == (1, 2)


def test_objects_partials_and_classes():
    more = ["act=torch.nn:GELU", "step=torch.optim:Adam", "step.lr=0.5", "net.width=7", "net.act=torch.nn:Tanh", "text=torch.nn:GELU"]
    said = model(*WHOLE, *(f"model.Whole.{line}" for line in more), "model.Whole.optimizer.lr=0.1").said
    assert isinstance(said["net"], own.Net) and said["net"].width == 7 and isinstance(said["net"].act, nn.Tanh)
    assert isinstance(said["optimizer"], functools.partial) and said["optimizer"].keywords == {"lr": 0.1}
    assert said["act"] is nn.GELU and said["text"] == "torch.nn:GELU"
    assert (said["step"].func, said["step"].keywords) == (torch.optim.Adam, {"lr": 0.5})
    assert model(*WHOLE, "model.Whole.net=own_arguments:make", "model.Whole.net.width=9").said["net"].width == 9
    assert isinstance(model(*WHOLE, "model.Whole.free=torch.nn:ReLU").said["free"], nn.ReLU)
    assert model(*WHOLE, "model.Whole.free=torch.nn:ReLU", "model.Whole.free._partial_=true").said["free"] is nn.ReLU
    assert model(*WHOLE, "model.Whole.free='cuda:zero'").said["free"] == "cuda:zero"
    default = model(DATA, "model=own_arguments:Default")
    assert default.act is nn.ReLU and isinstance(default.net, nn.Identity)
    assert model(DATA, "model=own_arguments:Default", "model.Default.act=torch.nn:GELU").act is nn.GELU


def test_a_mapping_becomes_the_config_that_its_argument_names():
    said = [
        "config.width=3",
        "config.part.lr=0.5",
        "config.part.betas=[0,1]",
        "tree={a: {b: 1}}",
        "tree.a.c=2",
        "space.lr=1",
        "either={a: 1}",
    ]
    made = model(DATA, "model=own_arguments:Configured", *(f"model.Configured.{line}" for line in said))
    assert made.config == own.Config(3, own.Part(0.5, (0, 1)))
    assert (made.tree.a.b, made.tree.a.c, made.space.lr, made.either) == (1, 2, 1, {"a": 1})
    free = model(*WHOLE, "model.Whole.free=omegaconf:DictConfig", "model.Whole.free.a.b=1").said["free"]
    assert free.a.b == 1, "where an argument has no type"


def test_an_argument_of_an_object_is_searched_and_a_recipe_is_a_file(tmp_path):
    found = Space.of(compose([*WHOLE, "model.Whole.net.width=2,3", "model.Whole.options={a: 1}"]))
    assert [domain.key for domain in found.domains() if domain.key.startswith("model.")] == ["model.Whole.net.width"]
    one = found.recipe({"model.Whole.net.width": 3})
    (tmp_path / "recipe.yaml").write_text(one.yaml())
    assert recipe(file=str(tmp_path / "recipe.yaml")) == Recipe(one.tree) and built(one).said["net"].width == 3


def test_further_keywords_and_a_task_of_the_authors():
    loose = model(DATA, "model=own_arguments:Loose", "model.Loose.name=a", "model.Loose.width=8")
    assert (loose.name, loose.width) == ("a", 8)
    assert model(DATA, "model=own_arguments:Tasked", "model.Tasked.task=binary").task == "binary"
    with pytest.raises(BadInput, match=r"model.Tasked.task is missing: give model.Tasked.task=…"):
        compose([DATA, "model=own_arguments:Tasked"])


def test_a_namespace_of_arguments_is_said_and_searched_like_an_object():
    said = [DATA, "model=own_arguments:Whole", "model.Whole.net=own_arguments:Net", "model.Whole.optimizer=torch.optim:SGD"]
    given = ["model.Whole.free=argparse:Namespace", "model.Whole.free.width=8,16", "model.Whole.free.name=a"]
    space = Space.of(compose([*said, *given]))
    free = built(space.recipe({"model.Whole.free.width": 16})).said["free"]
    assert (type(free).__name__, free.width, free.name) == ("Namespace", 16, "a")


def test_a_problem_of_a_model_with_its_own_loaders_is_told_once():
    with pytest.raises(BadInput) as error:
        compose(["model=own_arguments:Tasked"])
    assert [line.splitlines()[0] for line in error.value.problems] == ["model.Tasked.task is missing: give model.Tasked.task=…"]
    with pytest.raises(BadInput, match=r"^data\.Tasked\.task is missing: give data.Tasked.task=…"):
        compose(["model=own_arguments:Tasked", "model.Tasked.task=range(1,3)"])


def test_what_no_config_says_is_left_to_a_function_of_three_lines():
    with pytest.raises(BadInput) as error:
        compose([DATA, "model=own_arguments:Whole"])
    assert error.value.problems[0] == (
        "model.Whole.net is missing: give model.Whole.net=…, a value or module:Name of a class or a function that makes it; "
        "or write make.py, and say model=make:make\n"
        "  from own_arguments import Whole\n  def make() -> Whole:\n      return Whole(net=…, optimizer=…)"
    )
    assert error.value.problems[1] == "model.Whole.optimizer is missing: give model.Whole.optimizer=…"  # the function is shown once


def test_the_baseline_keeps_the_first_value_of_an_objects_argument():
    (values,) = untouched(compose([*WHOLE, "model.Whole.net.width=2,3", "optimizer=adamw"]), {}).tree["model"].values()
    assert values["net"]["width"] == 2 if isinstance(values["net"], dict) else values["net.width"] == 2


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"net": "os:system"}, "m.net=os:system: expected a subclass of Module, or a function annotated to return one; else write"),
        ({"net": "own_arguments:unsaid"}, "m.net=own_arguments:unsaid: expected a subclass of Module"),
        ({"net": "own_arguments:Net", "net.act": "torch.optim:SGD"}, "m.net.act=torch.optim:SGD: expected a subclass of Module"),
        ({"free": "subprocess:Popen", "free.args": "ls"}, "m.free=subprocess:Popen: expected a subclass of Module or Tensor or Optimizer"),
        ({"layers": [{"from": "os:system"}]}, "m.layers=os:system: expected a subclass of"),
        ({"net": "own_arguments:Net", "net.widht": 3}, "No m.net argument named 'widht'. Did you mean 'width'"),
        ({"net.width": 3}, "m.net is a mapping; expected m.net=module:Name of a class Module, with its arguments under it"),
        ({"net": "own_arguments:Nett"}, "m.net=own_arguments:Nett cannot be loaded: AttributeError"),
        ({"net": "own_arguments:__name__"}, "m.net=own_arguments:__name__: expected a class or a function, got str"),
    ],
    ids=str,
)
def test_an_object_of_another_kind_is_refused_before_it_is_called(said, problem):
    with pytest.raises(BadInput) as error:
        passed(own.Whole, said, "m")
    assert str(error.value).startswith(problem)


TARGET = """
_target_: own_arguments.Whole
net: {_target_: own_arguments.Net, width: "${options.a}", act: {_target_: torch.nn.ReLU}}
optimizer: {_target_: torch.optim.SGD, _partial_: true, lr: 0.1}
options: {a: 5}
"""
CLI = """
trainer: {max_epochs: 3}
model:
  class_path: own_arguments.Whole
  init_args:
    net: {class_path: own_arguments.Net, init_args: {width: 5, act: {class_path: torch.nn.ReLU}}}
    optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1}}
    options: {a: 5}
"""


@pytest.mark.parametrize("text", [TARGET, "model:" + TARGET.replace("\n", "\n  ").replace("${opt", "${model.opt"), CLI])
def test_a_file_is_an_import_path_with_its_arguments(text, written):
    file = written(text)
    allow("own_arguments:Whole", "own_arguments:Net", "torch.nn:ReLU", "torch.optim:SGD")
    said = model(DATA, f"model={file}", "model.Whole.optimizer.lr=0.2").said
    assert isinstance(said["net"], own.Net) and said["net"].width == 5 and isinstance(said["net"].act, nn.ReLU)
    assert said["optimizer"].keywords == {"lr": 0.2} and said["options"] == {"a": 5}
    other = model(DATA, f"model={file}", "model.Whole.net=own_arguments:make", "model.Whole.net.width=1").said
    assert other["net"].width == 1 and other["net"].act is None, "an object takes the file's arguments of the other along"


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ("gradient_clip_val: 1.0, precision: 32-true, accumulate_grad_batches: 1, devices: 2", ["trainer.gradient_clip_val=1.0"]),
        ("callbacks: [{class_path: a.B}], precision: bf16-mixed", ["trainer.precision=bf16-mixed", "trainer.callbacks=…"]),
        ("logger: true}\noptimizer: {class_path: torch.optim.SGD}\nlr_scheduler: {class_path: a.B", ["optimizer=…", "schedule=…"]),
    ],
)
def test_what_a_file_says_of_the_training_beside_its_model_is_told(beside, told, written, capsys):
    file = written(CLI.replace("max_epochs: 3", beside))
    assert [*unread(file)] == told and [*unread(written(TARGET))] == [] == [*unread(written(CLI))]
    file = written(CLI.replace("max_epochs: 3", beside))
    allow("own_arguments:Whole", "own_arguments:Net", "torch.nn:ReLU", "torch.optim:SGD")
    Asked([DATA, f"model={file}", "trainer.callbacks=own_arguments:make"]).tree()
    given = [word for word in told if word != "trainer.callbacks=…"]
    said = f"{file}: only its model is read, not what it says of the training; give it as {' '.join(given)}"
    assert " ".join(capsys.readouterr().err.split()) == said


@pytest.mark.parametrize(
    ("text", "given"), [("model:" + TARGET.replace("\n", "\n  "), "model={0}"), (CLI + "data: {class_path: a.B}\n", "data={0} model={0}")]
)
def test_another_programs_file_is_told_from_ours(text, given, written):
    file = written(text)
    with pytest.raises(BadInput) as error:
        compose([], file)
    assert str(error.value).endswith(f"names objects as Hydra or LightningCLI do: give {given.format(file)} instead")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("defaults: [a]\nx: 1", "its defaults list is of other files"),
        ("lr: 0.1", "it names no class: expected _target_, or class_path and init_args, in it or under model:, or name it yourself"),
        ("model: {lr: 0.1, width: 3}", "or name it yourself: model=module:Name model.Name.lr=… model.Name.width=…"),
        ("_target_: nowhere.Net", "nowhere.Net: expected the whole import path"),
        ("_target_: Net", "Net: expected the whole import path"),
        ("_target_: own_arguments.Net\n_args_: [1]", "_args_ has no names"),
        ("_target_: own_arguments.Net\n_recursive_: false", "_recursive_: false hands a config over as it is"),
        ("_target_: own_arguments.Net\nwidth: ${oc.env:HOME}", r"\$\{oc.env:HOME\} calls a resolver, which is not run; write the value"),
        ("_target_: own_arguments.Net\nwidth: ${.act}", r"\$\{.act\} is a relative reference"),
        ("_target_: own_arguments.Tasked\ntask: ${paths.task}", r"model.Tasked.task is missing: give model.Tasked.task=…"),
        ("_target_: os.system\ncommand: ls", "model=.*given.yaml wants to import os:system, which runs its code; if"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_used(text, problem, written):
    allow("own_arguments:Net", "own_arguments:Tasked")
    said = [DATA, f"model={written(text)}"]
    with pytest.raises(BadInput, match=problem):
        compose(said)


def test_data_of_a_file_that_cannot_be_used_are_not_missing(written):
    with pytest.raises(BadInput) as caught:
        compose([f"data={written('batch_size: 32')}", "model=cnn"])
    (problem,) = caught.value.problems
    assert "it names no class" in problem
