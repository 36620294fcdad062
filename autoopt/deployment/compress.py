"""The compressions of a recipe on a trained model, and the file of its weights."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoopt.catalogue import catalogue
from autoopt.config import NAMED, refuse_unnamed
from autoopt.data.batch_layout import as_pair
from autoopt.data.feed import Feed
from autoopt.data.task import Task
from autoopt.deployment.packed import Packed, unpacked_network
from autoopt.deployment.structure import describe_modules, foreign_classes, restore
from autoopt.domain import Unavailable
from autoopt.errors import BadInput, TechniqueError, out_of_memory, summary
from autoopt.module.applied import applied_to
from autoopt.module.batch_norm import batch_norms, first_numbers, update_bn
from autoopt.module.build import apply_to, built_model, prepare_model
from autoopt.module.chosen import call
from autoopt.module.net import Net, pair
from autoopt.module.tuned import Tuned

STRUCTURE = "structure"
LAYERS = ("torch.nn.", "autoopt.deployment.", "autoopt.module.", "autoopt.plugins.")
"""The packages whose classes every file of weights may name."""
Finetune = Callable[..., nn.Module]


def deployed_network(module: Tuned) -> nn.Module:
    """The network that would be deployed: the compressed one, else the plain network inside of `Net`, else the user's module."""
    if (deployed := applied_to(module).deployed) is not None:
        return deployed.to(module.device)  # it is no child, which would move with the module
    return module.model if isinstance(module, Net) else module


def apply_compressions(module: Tuned, task: Task, example: Any, feed: Feed, finetune: Finetune) -> nn.Module:
    """The trained network after every compression of the recipe, in turn; the module is not changed.

    Args:
        example: a training batch.
        feed: gives the batches for calibration.
        finetune: trains a network further; offered to the compressions.

    Raises:
        TechniqueError: a compression raised, or its result cannot be stored.
    """
    trained = compressed = deployed_network(module).eval()
    if isinstance(trained, L.LightningModule):
        trained.trainer = None  # a copy would include it
    build = partial(rebuilt, module, task, example)
    in_pair = partial(pair, kind=task.kind) if isinstance(module, Net) else as_pair

    def calibration() -> Pairs:
        return Pairs(feed.calibration(), in_pair)

    batches = calibration()
    for technique, values in applied_to(module).chosen.of("compression"):
        counted = Counted(finetune)
        offered = {"model": compressed, "batches": batches, "finetune": counted, "build": build}
        compressed = call(technique, offered, values).eval()
        if not counted.epochs:
            renew_norms(compressed, calibration)
        for part in compressed.modules():
            part._non_persistent_buffers_set.clear()  # store all: the builder makes them in another shape or type
        try:
            describe_modules(compressed, trained)
        except ValueError as error:
            raise TechniqueError(technique.slot, technique.name, str(error)) from error
    return compressed


class Pairs:
    """The batches of a loader, over and over, each as (inputs, targets)."""

    def __init__(self, batches: Iterable[Any], pair: Callable[[Any], Any]):
        self.batches, self.pair = batches, pair

    def __iter__(self) -> Iterator[Any]:
        return map(self.pair, self.batches)


class Counted:
    """Counts the epochs of fine-tuning."""

    def __init__(self, finetune: Finetune):
        self.finetune, self.epochs = finetune, 0

    def __call__(self, model: nn.Module, epochs: int, *arguments: Any, **named: Any) -> nn.Module:
        self.epochs += epochs
        return self.finetune(model, epochs, *arguments, **named)


def renew_norms(compressed: nn.Module, calibration: Callable[[], Iterable[Any]]) -> None:
    """Take the statistics of the batch norms again, from training batches: the activations are others than in the training.

    Norms in 16 bits keep theirs, of which so few digits could hold no mean. Li et al. 2020, arXiv:2007.02491.
    """
    with unpacked_network(compressed) if isinstance(compressed, Packed) else nullcontext(compressed) as network:
        network.train()  # so that an author's `train` has some of them fixed, if it does that
        norms = [norm for norm in batch_norms(network) if norm.running_mean is not None and norm.running_mean.dtype == torch.float32]
        network.eval()
        if norms and takes_inputs(network, calibration()):
            for norm in norms:
                norm.train()
            device = next(network.parameters()).device
            update_bn(network, first_numbers(inputs.to(device) for inputs, *_ in calibration()))
            network.eval()


@torch.no_grad()
def takes_inputs(network: nn.Module, batches: Iterable[Any]) -> bool:
    """Whether the network computes something for the inputs of a batch alone, as a user's module may not; if not, the log says so."""
    inputs = next(iter(batches))[0]
    try:
        network(inputs.to(next(network.parameters()).device))
    except Exception as error:
        if not isinstance(network, L.LightningModule) or out_of_memory(error):
            raise
        print(f"the batch norms of {type(network).__name__} keep their statistics: its forward raised {summary(error)}")
        return False
    return True


def rebuilt(module: Tuned, task: Task, example: Any, **arguments: Any) -> nn.Module:
    """An untrained model of the same recipe with other arguments.

    Args:
        arguments: of the model technique; a function gets the value of the trained model and returns the new value.

    Raises:
        Unavailable: the model has no such argument.
    """
    chosen, objective = applied_to(module).chosen, applied_to(module).objective
    ((technique, values),) = chosen.of("model")
    current = {name: param.default for name, param in technique.params.items()} | values
    for name in arguments.keys() - current.keys():
        raise Unavailable(f"{technique.name} has no argument '{name}'; its arguments: {', '.join(current) or 'none'}")
    changed = {name: value(current[name]) if callable(value) else value for name, value in arguments.items()}
    model = built_model(technique, values | changed, task)
    prepare_model(chosen, model, example, task)
    if isinstance(model, L.LightningModule):
        model = apply_to(model, chosen, objective, task.pixels)
    chosen.callbacks(model, 1, objective)
    for parameter in model.parameters():  # its own, and not those of the trained layers of these names
        parameter.lr_scale = getattr(parameter, "lr_scale", 1.0)  # type: ignore[attr-defined]
    return model


def deploy(module: Tuned, compressed: nn.Module) -> None:
    """Replace the trained network by a compressed one; in a user's module, only `forward` is replaced."""
    if isinstance(module, Net):
        module.model = compressed
    else:
        applied_to(module).deployed = compressed  # not a child: the module keeps its weights
        vars(module)["forward"] = partial(forward_deployed, module)


def forward_deployed(module: Tuned, *inputs: Any, **named: Any) -> Any:
    """What stands for the `forward` of a user's module whose network was compressed."""
    return deployed_network(module)(*inputs, **named)


def save(module: Tuned, path: Path) -> None:
    """Write the weights to a file, with the structure of a compressed network."""
    path.parent.mkdir(parents=True, exist_ok=True)
    network: nn.Module = module
    metadata = None
    if applied_to(module).chosen.of("compression"):
        network = deployed_network(module)
        metadata = {STRUCTURE: json.dumps(describe_modules(network, module))}
    save_file({k: v.detach().contiguous().clone() for k, v in network.state_dict().items() if isinstance(v, Tensor)}, path, metadata)


def take_up(module: Tuned, path: Path) -> bool:
    """Load the weights of a file into the module.

    Returns:
        whether the file holds a compressed network, which is then deployed in the module.

    Raises:
        RuntimeError: the weights do not fit the module.
        BadInput: the structure and the weights of a compressed network do not match, or its classes are not installed, or are not
            of torch, a plug-in or code that the user has named.
    """
    structure, donor = structure_of(path), deployed_network(module)
    if structure is None:
        weights, names = load_file(path), module.state_dict().keys()
        if isinstance(module, Net):  # a loaded model is made without its loss, which may have weights
            weights = {k: v for k, v in weights.items() if k in names or k.startswith("model.")}
        make_buffers(module, weights)
        module.load_state_dict(weights, strict=module.strict_loading)
        return False
    try:
        named = NAMED.union(technique.path for technique, _ in applied_to(module).chosen.rows)
        refuse_unnamed(str(path), sorted(kind for kind in foreign_classes(structure, donor) if not is_known(kind, named)))
        deploy(module, restore(structure, load_file(path), donor))
    except (ImportError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} cannot be loaded: {error}") from error
    return True


def is_known(kind: str, named: Iterable[str]) -> bool:
    """Whether the class of a layer is torch's, a plug-in's, or of a module in which something is named, by its import path."""
    module = kind.partition(":")[0]
    if f"{module}.".startswith(LAYERS) or any(module == path.partition(":")[0] for path in named):
        return True
    plugins = {point.value.partition(":")[0].strip() for points in catalogue().values() for point, _ in points}
    packages = {plugin.partition(".")[0] for plugin in plugins}
    return module in plugins or (module in sys.modules and module.partition(".")[0] in packages)


def make_buffers(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Make the buffers that training has added or resized, so that the module can load them."""
    for path, part in module.named_modules():
        start = f"{path}." if path else ""
        for name in {k.removeprefix(start) for k in weights if k.startswith(start)}:
            late = name in part._buffers or (part is module and "." not in name and name not in part._parameters)
            buffer = part._buffers.get(name)
            if late and (buffer is None or buffer.shape != weights[start + name].shape):
                vars(part).pop(name, None)
                part._buffers[name] = torch.empty_like(weights[start + name])


def structure_of(path: Path) -> dict[str, Any] | None:
    """The structure in a file of weights; None if the network is not compressed."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    return json.loads(metadata[STRUCTURE]) if STRUCTURE in metadata else None
