"""An exported LightningModule as a Lightning checkpoint, for `load_from_checkpoint` of the author's class."""

import io
import pickle
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from safetensors.torch import load_file

from autoopt.arguments import passed, realised
from autoopt.deployment.card import read_card
from autoopt.deployment.compress import structure_of
from autoopt.deployment.load import load
from autoopt.errors import BadInput, first_line
from autoopt.module.chosen import set_values

HEADING = "\n## In Lightning\n"
README = """
`model.model` of what `autoopt.load` returns is the {name} itself, a LightningModule with its methods and hyperparameters.
{more}
"""
LOADING = """
```python
from {module} import {name}

module = {name}.load_from_checkpoint("{path}", weights_only=True{arguments})
```"""


def write_checkpoint(folder: Path) -> Path | None:
    """Write the LightningModule of an exported folder as `model.ckpt`, check it, and add its use to the folder's README.

    Returns:
        the path; None for other models, and for compressed ones, since no class makes their structure.

    Raises:
        BadInput: the author's class cannot load the checkpoint, or makes another module of it.
    """
    module = load(folder).model
    if not isinstance(module, L.LightningModule) or structure_of(folder / "model.safetensors"):
        return None
    kind, path = type(module), folder / "model.ckpt"
    try:
        missing = store_checkpoint(module, dict(module.hparams) or arguments_of(folder, kind), folder / "model.safetensors", path)
        check_loads_alike(module, path, missing)
    except Exception as error:
        path.unlink(missing_ok=True)
        add_to_readme(folder, kind, "")
        reason = f"{type(error).__name__}: {first_line(error)}"
        if isinstance(error, pickle.UnpicklingError):  # torch words it in several lines, with the codes of a terminal
            reason = f"the on_save_checkpoint of {kind.__name__} stores objects, which weights_only=True does not load"
        raise BadInput(f"{kind.__name__}.load_from_checkpoint would not give this model: {reason}") from error
    arguments = "".join(f", {name}=…" for name in missing)
    lines = LOADING.format(module=kind.__module__, name=kind.__qualname__, path=path.name, arguments=arguments)
    add_to_readme(folder, kind, lines)
    return path


def arguments_of(folder: Path, kind: type) -> dict[str, Any]:
    """The arguments of the model in an exported folder's recipe, as its class takes them."""
    (values,) = read_card(folder)["recipe"]["model"].values()
    return realised(passed(kind, set_values(values)))


def store_checkpoint(module: L.LightningModule, values: dict[str, Any], weights: Path, path: Path) -> dict[str, Any]:
    """Write the checkpoint; return the hyperparameters that are left out, since `weights_only=True` cannot load them."""
    plain = {name: value for name, value in values.items() if loads_without_pickle(value)}
    checkpoint: dict[str, Any] = {
        "state_dict": load_file(weights),
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": L.__version__,
        "hparams_name": getattr(module, "_hparams_name", None),
        "hyper_parameters": plain,
    }
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return {name: value for name, value in values.items() if name not in plain}


def loads_without_pickle(value: Any) -> bool:
    """Whether `torch.load` with `weights_only=True` can load a value."""
    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except (pickle.PickleError, AttributeError, TypeError, RuntimeError):
        return False
    return True


def check_loads_alike(module: L.LightningModule, path: Path, missing: dict[str, Any]) -> None:
    """Raise ValueError if the checkpoint gives a module of another structure."""
    loaded = type(module).load_from_checkpoint(path, map_location="cpu", weights_only=True, **missing)
    if repr(loaded) != repr(module):
        raise ValueError("the recipe has changed its layers")


def add_to_readme(folder: Path, kind: type, more: str) -> None:
    path = folder / "README.md"
    rest = path.read_text(encoding="utf-8").partition(HEADING)[0]
    path.write_text(rest + HEADING + README.format(name=kind.__name__, more=more), encoding="utf-8")
