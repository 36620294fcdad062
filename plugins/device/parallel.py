"""Shared by the devices: the memory layout and compilation of a model, and its training on several devices."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import lightning.pytorch as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook, fp16_compress_hook
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

Hook = Callable[[Any, dist.GradBucket], torch.futures.Future[Tensor]]

POWERSGD_START = 10
"""Steps before it compresses; torch needs at least 2, to order its buckets."""
HOOKS: dict[str, Callable[[], tuple[Any, Hook]]] = {
    "fp16": lambda: (None, fp16_compress_hook),
    "bf16": lambda: (None, bf16_compress_hook),
    "powersgd": lambda: (PowerSGDState(None, start_powerSGD_iter=POWERSGD_START), powerSGD_hook),
}


def lay_out(model: nn.Module, compile: bool, channels_last: bool) -> None:
    """Set a model's memory layout and compile it, in place; its results and its parameters' names stay.

    The parts of a LightningModule are compiled too, since its steps may bypass its `forward`.
    """
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        for module in (model, *(layers(model) if isinstance(model, L.LightningModule) else ())):
            module.compile()


def layers(model: nn.Module) -> Iterator[nn.Module]:
    """The parts of a model that have weights and are called; lists and dictionaries of parts are not."""
    for child in model.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from layers(child)
        elif next(child.parameters(), None) is not None:
            yield child


def together(model: nn.Module, devices: int, strategy: str, hook: str, sync_batchnorm: bool = False) -> dict[str, Any]:
    """Trainer arguments for several devices.

    Raises:
        ValueError: the settings do not fit together.
    """
    for name, said, known in (("strategy", strategy, ("single", "ddp", *CUTS)), ("hook", hook, ("none", *HOOKS))):
        if said not in known:
            raise ValueError(f"{name}={said}: expected one of {', '.join(known)}")
    if devices > 1 and strategy == "single":
        raise ValueError(f"devices={devices}: several need a strategy, such as strategy=ddp")
    if hook != "none" and strategy != "ddp":
        raise ValueError(f"hook={hook}: it compresses gradients that strategy=ddp sends, but the strategy is {strategy}")
    if sync_batchnorm and strategy != "ddp":
        raise ValueError(f"sync_batchnorm=true: it joins the statistics of the parts of strategy=ddp, but the strategy is {strategy}")
    if devices == 1:
        return {"devices": 1}
    if strategy == "ddp":
        callbacks = [] if hook == "none" else [CompressGradients(hook)]
        ddp = DDPStrategy(find_unused_parameters=True)
        return {"devices": devices, "strategy": ddp, "callbacks": callbacks, "sync_batchnorm": sync_batchnorm}
    replicas = devices if strategy == "fsdp" else 1
    cut_up = ModelParallelStrategy(replicas, devices // replicas, save_distributed_checkpoint=False)
    return {"devices": devices, "strategy": cut_up, "callbacks": [CutUp(model, CUTS[strategy])]}


class CompressGradients(L.Callback):
    """Registers the hook itself: Lightning does so only for CUDA, and says nothing elsewhere."""

    def __init__(self, hook: str):
        self.hook = hook

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if isinstance(trainer.model, DistributedDataParallel):
            state, hook = HOOKS[self.hook]()
            trainer.model.register_comm_hook(state, hook if trainer.strategy.root_device.type == "cuda" else in_turn(hook))


def in_turn(hook: Hook) -> Hook:
    """Wait for each bucket: on gloo a hook's later exchanges start from its threads, in another order on each rank."""

    def waiting(state: Any, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        done: torch.futures.Future[Tensor] = torch.futures.Future()
        done.set_result(hook(state, bucket).wait())
        return done

    return waiting


class CutUp(L.Callback):
    """Shards the model over the devices, unless its LightningModule does so itself, in its `configure_model`."""

    def __init__(self, model: nn.Module, cut: Callable[[nn.Module, DeviceMesh], None]):
        self.model, self.cut = model, cut

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if isinstance(trainer.strategy, ModelParallelStrategy) and not is_overridden("configure_model", pl_module):
            pl_module.configure_model = partial(self.cut, self.model, trainer.strategy.device_mesh)  # type: ignore[method-assign]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
            group.update({key: False for key in ("fused", "foreach") if key in group})  # those kernels take whole tensors


def by_parameters(model: nn.Module, mesh: DeviceMesh) -> None:
    """Each device keeps a part of every layer, and gathers a layer when it is needed."""
    for part in (*layers(model), *(() if isinstance(model, L.LightningModule) else (model,))):
        fully_shard(part, mesh=mesh["data_parallel"])


def by_outputs(model: nn.Module, mesh: DeviceMesh) -> None:
    """Each device computes a part of the outputs of every linear layer, for the same batch; the rest of the model is on every device."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    parallelize_module(model, mesh["tensor_parallel"], {name: ColwiseParallel(output_layouts=Replicate()) for name in linear})


CUTS: dict[str, Callable[[nn.Module, DeviceMesh], None]] = {"fsdp": by_parameters, "tensor": by_outputs}
