from typing import Annotated, Any

import torch

from autoopt.domain import Bounds, Choice, Unavailable
from autoopt.plugins.device.parallel import lay_out, together


def cpu(
    model,
    *,
    precision: Annotated[str, Choice("32-true", "bf16-mixed", others=True)] = "32-true",
    threads: Annotated[int | None, Bounds(1)] = None,
    compile: bool = False,
    channels_last: bool = False,
    devices: Annotated[int, Bounds(1)] = 1,
    strategy: str = "single",
    hook: str = "none",
    sync_batchnorm: bool = False,
) -> dict[str, Any]:
    """The CPU: `devices` processes of `threads` threads each (none: as many as `executor.cpus_per_trial` says).

    bf16 pays if the processor has instructions for it (AMX, AVX-512 BF16). Compiling takes half a minute and pays in long
    trainings. With `strategy=ddp` the processes share each batch; `hook` (fp16, powersgd) compresses the gradients that they send.

    Mixed precision: Micikevicius et al. 2018, arXiv:1710.03740; bfloat16: Kalamkar et al. 2019, arXiv:1905.12322;
    ddp: Li et al. 2020, arXiv:2006.15704; powersgd: Vogels et al. 2019, arXiv:1905.13727.

    Raises:
        Unavailable: the strategy, the hook or synchronised batch norms need GPUs.
    """
    if strategy in ("fsdp", "tensor"):
        raise Unavailable(f"strategy={strategy} shards a model over the memories of several GPUs; processes on a CPU share one memory")
    if hook == "bf16":
        raise Unavailable("hook=bf16 needs GPUs: gloo, which connects processes on a CPU, cannot add bfloat16 numbers")
    if sync_batchnorm:
        raise Unavailable("sync_batchnorm=true needs GPUs: torch computes synchronised batch norms on these alone")
    if hook == "powersgd" and torch.cuda.is_available():
        raise Unavailable("hook=powersgd needs the GPU in torch if there is one; hide it with CUDA_VISIBLE_DEVICES=")
    if threads is not None:
        torch.set_num_threads(threads)
    lay_out(model, compile, channels_last)
    return {"accelerator": "cpu", "precision": precision, **together(model, devices, strategy, hook, sync_batchnorm)}
