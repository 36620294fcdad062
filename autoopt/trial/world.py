"""What every trial of a study shares: the imported techniques and the data, loaded once where the trials are forked from."""

import logging
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.utilities import disable_possible_user_warnings
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from autoopt import namesakes
from autoopt.config import FROM, Tree, seconds
from autoopt.data.examples import Examples, Raw, fingerprint
from autoopt.data.given import as_datamodule
from autoopt.data.loaders import BATCH_SIZE_NAMES, OwnLoaders, drawn_alike, run_setup, seed_all
from autoopt.data.make_task import make_task
from autoopt.data.rows import cached
from autoopt.data.task import Task
from autoopt.domain import Unavailable
from autoopt.errors import BadInput, one_line
from autoopt.module.build import built_model
from autoopt.module.chosen import Chosen, in_words
from autoopt.process.apart import apart
from autoopt.process.system import without_gpus
from autoopt.space import Domain, Pin, Space
from autoopt.space.option import Settings
from autoopt.store import Store
from autoopt.technique import Technique, build
from autoopt.trial.facts import NO_CLASSES, facts, unconfigured
from autoopt.trial.imports import file_digests, import_callbacks, import_metrics, import_techniques
from autoopt.trial.metrics import METRICS

BATCH_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
QUIET_LOGGERS = ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")


@dataclass(frozen=True)
class World:
    """What every trial of a study shares.

    Args:
        store: where weights are stored.
        metrics: the user's own, by name.
        checkpoint: the seconds between two checkpoints of a training; `None`: there are none.
        keeps_rungs: a training that a rung stops keeps a checkpoint, too.
    """

    task: Task
    example: tuple[Tensor, Tensor] | None
    store: Store
    metrics: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: float | None = None
    keeps_rungs: bool = False


def prepare(setup: dict[str, Any]) -> tuple[World, dict[str, Any]]:
    """Import the selected techniques and load the data, once, in the process from which the trials are forked.

    Args:
        setup: the composed `tree`, and the `store`'s root.

    Returns:
        the world, and the facts about it that the supervisor needs: JSON.

    Raises:
        BadInput: a technique cannot be loaded, or the data cannot be used.
    """
    tree, store = setup["tree"], Store(setup["store"])
    silence()
    seed_all(tree["seed"])  # what a data technique draws is drawn alike in every session
    space = Space.of(tree)
    models = import_techniques(space)
    lightning = all(model is not None and issubclass(model, L.LightningModule) for model in models.values())
    refuse_trainer(tree["trainer"], models, lightning)
    metrics, callbacks = import_metrics(tree["metrics"], lightning), import_callbacks(tree["trainer"]["callbacks"])
    ((_, _, data),) = [row for row in space.techniques() if row[0] == "data"]
    baseline = space.baseline().tree
    task, digest = load_task(data, baseline, tree["seed"], lightning, store)
    if task.datamodule is not None and not lightning:
        check_plain_batches(data, task.datamodule)
    fixed_size = why_fixed_size(data, task)
    if not lightning:
        check_objectives(data, tree["objective"], task, metrics)
    check_batches(data, tree, space, task, fixed_size, baseline["batches"]["size"])
    check_rates(space.settings["batches"], models if lightning else ())
    digests = {"examples": digest, "sources": file_digests(space, metrics, callbacks)}
    built = {name: class_told(space, name, model, task) if lightning else model for name, model in models.items()}
    known = {**facts(task, built, lightning, fixed_size, tree["objective"]), **digests, "told": namesakes.namesake_note()}
    executor = tree["executor"]
    return World(task, task.example(), store, metrics, seconds(executor["checkpoint"]), executor["keep"] == "rung"), known


def class_told(space: Space, name: str, told: type | None, task: Task) -> type | None:
    """The class of a LightningModule; None where its function tells only a base class, but makes one that configures an optimizer."""
    recipe = space.with_option("model", name).baseline()
    ((technique, values),) = Chosen(recipe).of("model")
    if isinstance(technique.load(), type) or not unconfigured({name: told}):
        return told

    def configures() -> bool:
        seed_all(recipe.tree["seed"])
        return not unconfigured({name: type(built_model(technique, values, task))})

    try:  # not in this process: trials are forked from it, and none could use an accelerator that a constructor has begun to use here
        configured = apart(configures)
    except RuntimeError as error:  # the preflight builds it again, and says what is wrong
        print(f"model/{name}: it is not known whether it configures an optimizer, since it cannot be built: {error}")
        return told
    return None if configured else told


def load_task(data: Technique, settings: Mapping[str, Any], seed: int, lightning: bool, store: Store) -> tuple[Task, str]:
    """The task that the data technique gives, and a digest of its examples; a data module's are not known.

    Args:
        settings: the tree of the baseline.

    Raises:
        BadInput: the data cannot be loaded or used.
    """
    values = {key: value for key, value in next(iter(settings["data"].values())).items() if key != FROM}
    try:
        with without_gpus():  # such as of loaders with `pin_memory`: they would use CUDA here
            examples = as_datamodule(build(data, {}, values))
            digest = fingerprint(examples) if isinstance(examples, Examples) else ""
            if isinstance(examples, Examples) and not isinstance(examples.inputs, Raw):
                examples = replace(examples, inputs=cached(examples.inputs, settings["batches"]["cache"], store.root))
            remade = partial(remake, data, values, seed)
            return make_task(examples, settings["split"], not lightning, not lightning, seed, remade), digest
    except BadInput:
        raise
    except Unavailable as error:
        raise BadInput(f"data={data.name}: {one_line(error)}") from error
    except Exception as error:
        raise BadInput(f"data={data.name}: {in_words(error, data)}") from error


def remake(data: Technique, values: dict[str, Any], seed: int, name: str, size: int) -> L.LightningDataModule:
    """The data module, set up, with another value of the argument that is its batch size.

    Raises:
        KeyError: there is no such argument.
    """
    data.params[name]
    with drawn_alike(seed):
        datamodule: L.LightningDataModule = as_datamodule(build(data, {}, {**values, name: size}))
    return run_setup(datamodule, "fit", seed)


def check_plain_batches(data: Technique, datamodule: L.LightningDataModule) -> None:
    """Raise BadInput where a plain network cannot be trained or judged on the batches of a data module."""
    if not is_overridden("val_dataloader", datamodule):
        raise BadInput(f"data={data.name}: it has no val_dataloader, which a network is judged on")
    if hook := next((name for name in BATCH_HOOKS if is_overridden(name, datamodule)), None):
        raise BadInput(f"data={data.name}: its {hook} is for a LightningModule; a network needs batches that are ready as they are loaded")


def check_objectives(data: Technique, objectives: str | None, task: Task, own: Collection[str]) -> None:
    """Raise BadInput where an objective is a metric of another kind of task.

    Args:
        own: the names of the user's metrics.
    """
    for name in (objectives or "").split():
        metric = name.removeprefix("val_")
        kinds = [kind for kind, metrics in METRICS.items() if metric in metrics]
        if kinds and task.kind not in kinds and metric not in own:
            way = f"; give data.{data.name}.kind={kinds[0]}" if "kind" in data.params and not task.datamodule else ""
            raise BadInput(f"objective={name} is a metric of {kinds[0]}, but the task is {task.kind}{way}")


def check_batches(data: Technique, tree: Tree, space: Space, task: Task, fixed_size: str, default: int | None) -> None:
    """Raise BadInput where the config asks for a batch size or a sampler that the data cannot have.

    Args:
        fixed_size: why the batch size cannot be changed, if it cannot.
        default: the batch size of the baseline; None is that of the data.
    """
    size, sampler = tree["batches"]["size"], tree["batches"]["sampler"]
    if fixed_size and default is not None:
        raise BadInput(f"batches.size={size}: {fixed_size}; leave batches.size out")
    if "balanced" in str(sampler) and (task.datamodule or task.kind != "classification"):
        why = f"{data.name} draws its own batches" if task.datamodule else NO_CLASSES[task.kind]
        raise BadInput(f"batches.sampler={sampler}: {why}; leave batches.sampler out")
    if isinstance(task.datamodule, OwnLoaders) and not task.datamodule.each_its_own:
        for name, option in space.options["model"].items():
            if searched := [key for key in BATCH_SIZE_NAMES if isinstance(option.values.get(key), Domain)]:
                raise BadInput(f"model.{name}.{searched[0]} is searched, but all trials share the loaders; search batches.size")


def check_rates(batches: Settings, modules: Iterable[str]) -> None:
    """Raise BadInput where learning rates cannot be scaled with the batch size.

    Args:
        modules: the names of the LightningModules.
    """
    shown = f"batches.scale_lr={batches['scale_lr']}"
    if possible(batches["scale_lr"]) == ("none",):
        return
    for name in modules:
        raise BadInput(f"{shown}: {name} is a LightningModule, whose author chose its rates for their batches; leave scale_lr out")
    if None in possible(batches["size"]):
        raise BadInput(f"{shown} needs batch sizes in numbers, not that of the data: give batches.size=32,64,128 or the like")


def possible(value: Pin | Domain) -> tuple[Any, ...]:
    """The value of a pin, or the options of a choice."""
    return (value.value,) if isinstance(value, Pin) else value.options


def why_fixed_size(data: Technique, task: Task) -> str:
    """Why the batch size cannot be changed, if it cannot."""
    if task.datamodule is None or task.batch_size.resize is not None:
        return ""
    if isinstance(task.datamodule, OwnLoaders) and task.datamodule.each_its_own:
        return f"{data.name} has no val_dataloader, so each trial trains on the loader of its own module, as that makes it"
    if task.batch_size.usual is None:
        return f"the batch size of {data.name} cannot be told from its training loader"
    return f"{data.name} has no batch_size that its training loader follows"


def refuse_trainer(settings: Mapping[str, Any], models: Mapping[str, type | None], lightning: bool) -> None:
    """Raise BadInput where the Trainer of a plain network is given arguments.

    Args:
        models: the class of each, by name, as far as it is told.
    """
    given = [f"trainer.{name}={value}" for name, value in settings.items() if value is not None]
    if given and not lightning:
        instead = "regularizer=gradient_clip, batches.accumulate=…, device.cpu.precision=… and the like"
        bare = next(
            (f"; if {name} makes a LightningModule, let it say so: -> LightningModule" for name in models if models[name] is nn.Module), ""
        )
        reason = "a network without a training_step of its own is trained by autoopt's loop"
        raise BadInput(f"{', '.join(given)}: {reason}; give {instead}{bare}")


def silence() -> None:
    """Adverts and warnings that a user can do nothing about stay out of the log."""
    warnings.filterwarnings("ignore", module="lightning|torch|mlflow|sklearn")
    disable_possible_user_warnings()
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
