"""Tries once before the search what every later stage does with a trained model: store it, build it anew, and load it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from autoopt.data.loaders import seed_all
from autoopt.deployment.compress import deployed_network, save, take_up
from autoopt.errors import BadInput, TechniqueError, last_line, printable
from autoopt.module.applied import applied_to
from autoopt.trial.fitting import begin
from autoopt.trial.measuring import outputs_of
from autoopt.trial.training import Training, new_module, with_module

LOADING_TOLERANCE = 1e-3
"""How far outputs may be from what they were, as a share of the greatest: the same weights may be summed in another order."""
ROUNDINGS = 4
"""By how many roundings of the weights' type they may be, which in 16 bits is more: every layer rounds the sums of the one before it."""
IN_ITS_STATE = "what training leaves on it has to be in its state_dict (register_buffer)"
IN_ITS_CONSTRUCTION = "layers have to be made in its __init__, setup or configure_model"


def stored_and_loaded(training: Training) -> Training:
    """The training with a new module that has the stored weights, as every later stage has it.

    Raises:
        TechniqueError: the weights cannot be loaded, or the new module gives other outputs.
    """
    training.world.store.clear(training.order.key)  # as in a later stage, whose folder is its own
    with TemporaryDirectory(prefix="autoopt-") as folder:
        path = Path(folder) / "model.safetensors"
        save(training.module, path)
        return loaded(training, path)


def loaded(training: Training, path: Path) -> Training:
    """The training with a new module that has the weights of a file.

    Raises:
        TechniqueError: the weights cannot be loaded, or the new module gives other outputs than the trained one.
    """
    again = with_untrained_module(training)
    try:
        begin(again.trainer, again.module, again.feed)
        take_up(again.module, path)
    except (RuntimeError, BadInput) as error:
        reason = printable(last_line(error), 300)
        raise lost(training, f"its weights cannot be loaded into a new one: {reason}", IN_ITS_CONSTRUCTION) from error
    again.module.to(again.trainer.strategy.root_device)
    check_alike(training, again)
    return again


def with_untrained_module(training: Training) -> Training:
    """The training with an untrained module."""
    seed_all(training.order.seed)
    return with_module(training, new_module(training.world, training.order))


def check_alike(training: Training, again: Training) -> None:
    """Raise TechniqueError where a loaded network gives other outputs than the one that was stored."""
    before, repeated, after = (seeded_outputs(each) for each in (training, training, again))
    tolerance = max(LOADING_TOLERANCE, ROUNDINGS * coarseness(deployed_network(training.module)))
    if before is None or repeated is None or difference(before, repeated) > tolerance:
        return  # its outputs depend on more than its inputs
    if (share := float("inf") if after is None else difference(before, after)) > tolerance:
        raise lost(training, f"it gives other outputs when its stored weights are loaded into a new one, by up to {share:.1%}")


def coarseness(network: nn.Module) -> float:
    """The rounding, as a share of a number, of the weights that have the fewest digits."""
    tensors = (*network.parameters(), *network.buffers())
    return max((torch.finfo(tensor.dtype).eps for tensor in tensors if tensor.is_floating_point()), default=0.0)


def seeded_outputs(training: Training) -> list[Tensor] | None:
    seed_all(0)
    return outputs_of(training.module, training.feed)


def difference(before: list[Tensor], after: list[Tensor]) -> float:
    """The greatest difference of outputs, as a share of the greatest output; infinite where their shapes are others."""
    if [each.shape for each in before] != [each.shape for each in after]:
        return float("inf")
    shares = [
        float((a.double() - b.double()).abs().max() / a.double().abs().max().clamp(min=1e-12))
        for a, b in zip(before, after, strict=True)
        if a.numel()
    ]
    return max(shares, default=0.0)


def lost(training: Training, detail: str, way: str = IN_ITS_STATE) -> TechniqueError:
    """The error of the technique that is to blame when loaded weights do not give the same model.

    Args:
        way: what an author can do about it.
    """
    chosen = applied_to(training.module).chosen
    if compressions := chosen.of("compression"):
        technique = compressions[-1][0]
    else:
        technique, detail = chosen.of("model")[0][0], f"{detail}; {way}"
    return TechniqueError(technique.slot, technique.name, detail)
