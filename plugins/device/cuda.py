from typing import Annotated, Any

import torch

from autoopt.domain import Acts, Bounds, Choice, Unavailable
from autoopt.plugins.device.parallel import lay_out, together


def cuda(
    model,
    *,
    precision: Annotated[str, Choice("32-true", "bf16-mixed", "16-mixed", others=True)] = "32-true",
    matmul: Annotated[str, Choice("highest", "high", others=True)] = "highest",
    compile: bool = False,
    channels_last: bool = False,
    devices: Annotated[int, Bounds(1)] = 1,
    strategy: str = "single",
    hook: str = "none",
    sync_batchnorm: bool = False,
) -> Annotated[dict[str, Any], Acts(gpu=True)]:
    """NVIDIA GPUs: one, or `devices` of a trial's GPUs (`executor.gpus_per_trial`) with a strategy.

    `matmul=high` multiplies float32 matrices in TF32, as torch does in convolutions anyway. `strategy=ddp`: the devices share
    each batch, `hook` (fp16, bf16, powersgd) compresses the gradients that they send, and with `sync_batchnorm` a batch norm has the
    statistics of the whole batch, not of the device's part; `fsdp`: they share the weights too; `tensor`: they share the linear
    layers, each with the whole batch. A LightningModule with a `configure_model` is sharded by that.

    Mixed precision: Micikevicius et al. 2018, arXiv:1710.03740; bfloat16: Kalamkar et al. 2019, arXiv:1905.12322;
    ddp: Li et al. 2020, arXiv:2006.15704; powersgd: Vogels et al. 2019, arXiv:1905.13727; fsdp: Zhao et al. 2023,
    arXiv:2304.11277; tensor: Shoeybi et al. 2019, arXiv:1909.08053.

    Raises:
        Unavailable: torch was built without CUDA, or fewer devices are visible.
    """
    if not torch.backends.cuda.is_built():
        raise Unavailable("no CUDA device: torch was built without CUDA")
    if not torch.cuda.is_available():
        raise Unavailable("no CUDA device is visible")
    if (visible := torch.cuda.device_count()) < devices:
        raise Unavailable(f"devices={devices}, but a trial sees {visible} (executor.gpus_per_trial sets how many it has)")
    torch.set_float32_matmul_precision(matmul)
    lay_out(model, compile, channels_last)
    return {"accelerator": "cuda", "precision": precision, **together(model, devices, strategy, hook, sync_batchnorm)}
