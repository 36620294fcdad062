"""From a recipe to a module: the model with its activations and initial weights."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import new_class
from typing import Any, SupportsIndex

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from autoopt.arguments import return_type
from autoopt.data.batches import balanced_counts
from autoopt.data.scale import Scale
from autoopt.data.task import Task
from autoopt.errors import TechniqueError
from autoopt.kind import check_namesake
from autoopt.module.activations import activation_sites, plain_inputs
from autoopt.module.applied import HELD, Applied
from autoopt.module.chosen import Chosen, call
from autoopt.module.embedded import embedded
from autoopt.module.hooks import overridden
from autoopt.module.hugging_face import answering
from autoopt.module.net import Net
from autoopt.module.probing import probing
from autoopt.module.tuned import Tuned, nothing
from autoopt.recipe import Recipe
from autoopt.technique import Technique


def make_module(recipe: Recipe, task: Task, example: tuple[Tensor, Tensor] | None, objective: str | None) -> Tuned:
    """A module that trains as the recipe says.

    Args:
        example: a training batch, for initializers that need one.
        objective: the metric that a plateau schedule or a regularizer follows.

    Raises:
        TechniqueError: a technique does not work with the model or on this machine.
    """
    chosen = Chosen(recipe)
    model = built_model(*chosen.of("model")[0], task)
    prepare_model(chosen, model, example, task)
    if isinstance(model, L.LightningModule):
        check_told(chosen.of("model")[0][0])
        return apply_to(model, chosen, objective, task.pixels)
    offered: dict[str, Any] = {"task": task}
    if task.class_counts is not None:
        is_balanced = recipe.tree["batches"].get("sampler") == "balanced"
        offered["class_counts"] = balanced_counts(task.class_counts) if is_balanced else task.class_counts
    return Net(model, chosen.one("loss", **offered), Applied(chosen, objective, batch=example, pixels=task.pixels), task)


def check_told(technique: Technique) -> None:
    """Raise TechniqueError where a function makes a LightningModule, but says that it returns another: the data are read for a network."""
    told = return_type(technique.load())
    if isinstance(told, type) and not issubclass(told, L.LightningModule):
        way = "let it say so: -> LightningModule"
        raise TechniqueError("model", technique.name, f"says that it returns {told.__name__}, but makes a LightningModule; {way}")


def built_model(technique: Technique, values: dict[str, Any], task: Task) -> nn.Module:
    """The model that a technique builds for the task, behind an embedding if the task has categories to embed.

    Raises:
        BadInput: it is a LightningModule of the other of two copies of Lightning, which a script has imported beside that in use.
    """

    def make(inner: Task) -> nn.Module:
        made: nn.Module = call(technique, {"task": inner}, values)
        check_namesake("model", technique, type(made))
        return made

    model = embedded(task, lambda inner: answering(with_late_layers(lambda: make(inner))))
    shape_lazy_layers(model, task)
    return model


def shape_lazy_layers(model: nn.Module, task: Task) -> None:
    """Give lazy layers their weights by a pass, in place: initializers, optimizers and averages of weights look at them before training.

    Where the pass fails, the first batch fails too, and says so.
    """
    if not any(map(is_lazy, (*model.parameters(), *model.buffers()))) or (inputs := plain_inputs(model, task)) is None:
        return
    with torch.no_grad(), suppress(Exception), probing(model):
        model(inputs)


def with_late_layers(make: Callable[[], nn.Module]) -> nn.Module:
    """A model after its `configure_model`; if that needs a Trainer, a new model without those layers, which the Trainer makes.

    Lightning calls it at each fit, validation and test; one that makes new layers each time would undo what a recipe did to the first ones.
    """
    model = make()
    if not isinstance(model, L.LightningModule) or not overridden("configure_model", model):
        return model
    try:
        model.configure_model()
        made = {*model.parameters()}
        model.configure_model()
    except Exception:
        return make()
    if made != {*model.parameters()}:
        vars(model)["configure_model"] = nothing
    return model


def prepare_model(chosen: Chosen, model: nn.Module, example: Any, task: Task | None = None) -> None:
    """Replace the activations and initialize the weights, in place.

    Args:
        example: a training batch; None where a trained model is built.
        task: gives the shape of the inputs by which the activations are found, the same for a new and for a trained model.

    Raises:
        TechniqueError: the model has no activation module to replace; a technique raised, or cannot work here.
    """
    for technique, values in chosen.of("activation"):
        if call(technique, {}, values) is None:
            continue
        sites = activation_sites(model, plain_inputs(model, task))
        if not sites:
            reason = "the model has no activation module to replace; calls such as F.relu stay as they are"
            raise TechniqueError("activation", technique.name, reason, unavailable=True)
        for parent, name in sites:
            setattr(parent, name, call(technique, {}, values))
    chosen.build("initializer", model=model, batch=example)


def apply_to(module: L.LightningModule, chosen: Chosen, objective: str | None, pixels: Scale | None = None) -> Tuned:
    """Put `Tuned` in front of the class of a module; the author's `__init__`, names, hyperparameters and hooks are kept.

    Raises:
        TechniqueError: a hook is an attribute of the object, which hides that of the class.
    """
    if not isinstance(module, Tuned):
        if hooks := sorted(vars(Tuned).keys() & vars(module).keys()):
            name = type(module).__name__
            raise TechniqueError("model", name, f"sets self.{hooks[0]}, which no recipe can change; write it as a method of {name}")
        put_in_front(module)
    vars(module)[HELD] = Applied(chosen, objective, pixels=pixels)
    return module  # type: ignore[return-value]


def put_in_front(module: L.LightningModule) -> None:
    kind = in_front_of(type(module))  # type: ignore[arg-type]
    object.__setattr__(module, "__class__", kind)


@cache
def in_front_of(kind: type) -> type:
    """A subclass of `Tuned` and of an author's class, under the name of the author's."""
    named = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    return new_class(kind.__name__, (Tuned, kind), exec_body=lambda body: body.update(named, __reduce_ex__=reduced))


def reduced(module: Tuned, protocol: SupportsIndex) -> tuple[Any, ...]:
    """Copies and pickles refer to the author's class, since the class in front cannot be imported."""
    kind = type(module)
    whole: Any = super(kind, module).__reduce_ex__(protocol)
    make, arguments, *state = whole
    return made_again, tuple(kind.__bases__[1] if part is kind else part for part in (make, *arguments)), *state


def made_again(make: Callable[..., L.LightningModule], *arguments: Any) -> L.LightningModule:
    module = make(*arguments)
    put_in_front(module)
    return module


def as_written(model: nn.Module) -> nn.Module:
    """A model as its author wrote it, in place: it and the modules inside of it lose what a recipe put on them."""
    for module in model.modules():
        if vars(module).pop(HELD, None) is not None:
            object.__setattr__(module, "__class__", type(module).__bases__[1])
    return model
