"""Devices say the right things to a Trainer, and what they do to a model and to the gradients between processes is what it should be."""

import importlib.util
from types import SimpleNamespace

import lightning.pytorch as L
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from autoopt.domain import Unavailable
from autoopt.orders import Outcome
from autoopt.plugins.device.auto import auto
from autoopt.plugins.device.cpu import cpu
from autoopt.plugins.device.cuda import cuda
from autoopt.plugins.device.mps import mps
from autoopt.plugins.device.parallel import POWERSGD_START, CompressGradients, CutUp
from autoopt.plugins.device.tpu import tpu
from autoopt.technique import find
from autoopt.testing.toys import TASKS, Tiny, examples_of, fit_toy, toy_network
from autoopt.trial.ranks import spread

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and AUTOOPT_TEST_GPU=1")


@pytest.fixture
def two_gpus(monkeypatch):
    """Two CUDA devices, as far as anybody asks."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)


# ---------------------------------------------------------------------------------------------- where


@pytest.mark.parametrize(("cuda_there", "mps_there", "expected"), [(True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_fastest_there_is(monkeypatch, cuda_there, mps_there, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda_there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps_there)
    assert auto() == {"accelerator": expected, "devices": 1, "precision": "32-true"}


def test_auto_leaves_nothing_to_search():
    assert not find("device", "auto").params


def test_only_precision_is_searched_by_default():
    assert [name for name, param in find("device", "cpu").params.items() if param.domain] == ["precision"]
    assert [name for name, param in find("device", "cuda").params.items() if param.domain] == ["precision", "matmul"]


def test_cpu_says_its_precision():
    assert cpu(toy_network(), precision="bf16-mixed") == {"accelerator": "cpu", "devices": 1, "precision": "bf16-mixed"}


def test_cuda_that_was_not_built(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(Unavailable, match="no CUDA device: torch was built without CUDA"):
        cuda(toy_network())


def test_cuda_without_a_device(monkeypatch, two_gpus):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unavailable, match="no CUDA device is visible"):
        cuda(toy_network())


def test_cuda_with_a_device(monkeypatch, two_gpus):
    said = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", said.append)
    expected = {"accelerator": "cuda", "devices": 1, "precision": "16-mixed"}
    assert cuda(toy_network(), precision="16-mixed", matmul="high") == expected and said == ["high"]


def test_cuda_with_too_few_devices(two_gpus):
    with pytest.raises(Unavailable, match=r"devices=3, but a trial sees 2 \(executor.gpus_per_trial sets how many it has\)"):
        cuda(toy_network(), devices=3, strategy="ddp")


def test_tpu_without_its_library():
    if importlib.util.find_spec("torch_xla") is None:
        with pytest.raises(Unavailable, match="no TPU: torch_xla is not installed"):
            tpu()


@pytest.mark.parametrize("there", [True, False])
def test_tpu(monkeypatch, there):
    monkeypatch.setattr("autoopt.plugins.device.tpu.find_spec", lambda name: object())
    monkeypatch.setattr("autoopt.plugins.device.tpu.XLAAccelerator.is_available", lambda: there)
    if there:
        assert tpu(precision="bf16-true") == {"accelerator": "tpu", "devices": 1, "precision": "bf16-true"}
    else:
        with pytest.raises(Unavailable, match="no TPU is visible"):
            tpu()


@pytest.mark.parametrize(
    ("built", "there", "reason"),
    [(False, False, "torch was built without MPS"), (True, False, "it needs an Apple GPU and macOS 12.3 or newer"), (True, True, None)],
)
def test_mps(monkeypatch, built, there, reason):
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: built)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there)
    if reason is None:
        assert mps() == {"accelerator": "mps", "devices": 1, "precision": "32-true"}
    else:
        with pytest.raises(Unavailable, match=f"no MPS device: {reason}"):
            mps()


# ---------------------------------------------------------------------------------------------- how


def test_threads(monkeypatch):
    said = []
    monkeypatch.setattr(torch, "set_num_threads", said.append)
    cpu(toy_network())
    cpu(toy_network(), threads=3)
    assert said == [3]


def test_channels_last_computes_the_same_the_other_way_round():
    model, inputs = toy_network(), examples_of_images()
    expected = model(inputs)
    cpu(model, channels_last=True)
    convolved = model[0](inputs)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert convolved.is_contiguous(memory_format=torch.channels_last) and not convolved.is_contiguous()
    torch.testing.assert_close(model(inputs), expected)


def examples_of_images() -> torch.Tensor:
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_bf16_rounds_the_products():
    trained = []
    for precision in ("32-true", "bf16-mixed"):
        model = toy_network()
        fit_toy(Tiny(model), [], **cpu(model, precision=precision))
        trained.append(model[4].weight.detach())
    assert not torch.equal(*trained)
    torch.testing.assert_close(*trained, atol=1e-2, rtol=0)


def test_a_network_is_compiled_in_place(monkeypatch):
    compiled = spied_on(monkeypatch)
    model = toy_network()
    names = [*model.state_dict()]
    cpu(model)
    assert compiled == []
    cpu(model, compile=True)
    assert compiled == [model] and [*model.state_dict()] == names


def test_of_a_lightning_module_the_parts_are_compiled_too(monkeypatch):
    compiled = spied_on(monkeypatch)
    module = Tiny(toy_network())
    module.blocks, module.relu = nn.ModuleList([nn.Linear(2, 2)]), nn.ReLU()
    cpu(module, compile=True)
    assert compiled == [module, module.model, module.blocks[0]]


def spied_on(monkeypatch) -> list[nn.Module]:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    return compiled


# ---------------------------------------------------------------------------------------------- together


def test_processes_on_a_cpu_share_each_batch():
    arguments = cpu(toy_network(), devices=2, strategy="ddp")
    assert (arguments["devices"], type(arguments["strategy"]), arguments["callbacks"]) == (2, DDPStrategy, [])


def test_one_device_needs_no_strategy():
    assert cpu(toy_network(), devices=1, strategy="ddp", hook="fp16") == cpu(toy_network())


@pytest.mark.parametrize(("strategy", "sizes"), [("fsdp", (2, 1)), ("tensor", (1, 2))])
def test_gpus_share_the_model(two_gpus, strategy, sizes):
    model = toy_network()
    arguments = cuda(model, devices=2, strategy=strategy)
    cut_up = arguments["strategy"]
    assert isinstance(cut_up, ModelParallelStrategy) and (cut_up._data_parallel_size, cut_up._tensor_parallel_size) == sizes
    assert [type(callback) for callback in arguments["callbacks"]] == [CutUp] and arguments["callbacks"][0].model is model


def test_gpus_have_all_hooks(two_gpus):
    for hook in ("fp16", "bf16", "powersgd"):
        (callback,) = cuda(toy_network(), devices=2, strategy="ddp", hook=hook)["callbacks"]
        assert isinstance(callback, CompressGradients) and callback.hook == hook


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"strategy": "fsdp", "devices": 2}, "strategy=fsdp shards a model over the memories of several GPUs"),
        ({"strategy": "tensor", "devices": 2}, "processes on a CPU share one memory"),
        ({"strategy": "ddp", "devices": 2, "hook": "bf16"}, "hook=bf16 needs GPUs: gloo"),
        ({"strategy": "ddp", "devices": 2, "sync_batchnorm": True}, "sync_batchnorm=true needs GPUs: torch computes"),
    ],
)
def test_what_a_cpu_cannot_do(values, reason):
    with pytest.raises(Unavailable, match=reason):
        cpu(toy_network(), **values)


def test_powersgd_on_a_cpu_beside_a_gpu(two_gpus):
    with pytest.raises(Unavailable, match="hook=powersgd needs the GPU in torch if there is one"):
        cpu(toy_network(), devices=2, strategy="ddp", hook="powersgd")


def test_batch_norms_are_synchronised_over_the_parts_of_a_batch(two_gpus):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    arguments = {name: cuda(model, devices=2, strategy="ddp", sync_batchnorm=name == "synced") for name in ("alone", "synced")}
    assert [given["sync_batchnorm"] for given in arguments.values()] == [False, True]
    here = {"accelerator": "cpu", "devices": 2, "strategy": DDPStrategy(), "sync_batchnorm": arguments["synced"]["sync_batchnorm"]}
    synced = L.Trainer(**here, logger=False, enable_checkpointing=False).strategy._layer_sync.apply(model)
    assert isinstance(synced[1], nn.SyncBatchNorm)
    with pytest.raises(
        ValueError, match=r"sync_batchnorm=true: it joins the statistics of the parts of strategy=ddp, but the strategy is fsdp"
    ):
        cuda(model, devices=2, strategy="fsdp", sync_batchnorm=True)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"devices": 2}, "devices=2: several need a strategy, such as strategy=ddp"),
        ({"strategy": "dpp"}, "strategy=dpp: expected one of single, ddp, fsdp, tensor"),
        ({"hook": "fp8"}, "hook=fp8: expected one of none, fp16, bf16, powersgd"),
        ({"hook": "fp16"}, "hook=fp16: it compresses gradients that strategy=ddp sends, but the strategy is single"),
    ],
)
def test_settings_that_do_not_fit_together(values, problem):
    with pytest.raises(ValueError, match=problem):
        cpu(toy_network(), **values)


def test_a_module_that_cuts_itself_up_is_left_to_it():
    class Own(Tiny):
        def configure_model(self) -> None:
            pass

    trainer = SimpleNamespace(strategy=ModelParallelStrategy(1, 2))
    trainer.strategy._device_mesh = "mesh"
    own, plain = Own(toy_network()), Tiny(toy_network())
    for module in (own, plain):
        CutUp(module, lambda model, mesh: None).setup(trainer, module, "fit")
    assert "configure_model" not in vars(own) and plain.configure_model.args == (plain, "mesh")


# ---------------------------------------------------------------------------------------------- what goes over the network

SIZE = 8


def gradients(inputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Of a linear layer whose outputs `(N, K)` are summed up with these weights: their outer product."""
    return weights.T @ inputs


def exchanged(hook: str, steps: int, inputs: list[torch.Tensor], weights: list[torch.Tensor]) -> torch.Tensor:
    """What a linear layer has as its gradient at the last of the steps on two processes, each with its batch."""

    def work(share, report):
        dist.init_process_group("gloo", rank=share[0], world_size=share[1])
        torch.manual_seed(0)
        model = DistributedDataParallel(nn.Linear(SIZE, SIZE, bias=False))
        trainer = SimpleNamespace(model=model, strategy=SimpleNamespace(root_device=torch.device("cpu")))
        CompressGradients(hook).on_train_start(trainer, L.LightningModule())
        for _ in range(steps):
            model.zero_grad()
            (model(inputs[share[0]]) * weights[share[0]]).sum().backward()
        return None if share[0] else Outcome(resamples=model.module.weight.grad.tolist())

    return torch.tensor(spread(2, work, lambda *_: False).resamples)


def drawn(seed: int) -> torch.Tensor:
    return torch.rand(1, SIZE, generator=torch.Generator().manual_seed(seed))


def test_fp16_halves_are_what_is_added_up():
    inputs, weights = [drawn(0), drawn(1)], [drawn(2), drawn(3)]
    own = [gradients(i, w) for i, w in zip(inputs, weights, strict=True)]
    found = exchanged("fp16", 1, inputs, weights)
    assert torch.equal(found, sum(gradient.half() / 2 for gradient in own).float())
    assert not torch.equal(found, (own[0] + own[1]) / 2)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="torch's hook waits for a GPU wherever there is one")
def test_powersgd_sends_a_matrix_of_rank_one():
    inputs, weights = [drawn(0), drawn(1)], [drawn(2), drawn(3)]
    mean = sum(gradients(i, w) for i, w in zip(inputs, weights, strict=True)) / 2
    before, after = (exchanged("powersgd", steps, inputs, weights) for steps in (POWERSGD_START, POWERSGD_START + 1))
    torch.testing.assert_close(before, mean)
    assert (torch.linalg.matrix_rank(mean), torch.linalg.matrix_rank(after, rtol=1e-4)) == (2, 1)
    alike = [drawn(0), drawn(0)]  # the mean of these gradients has rank one, and is sent whole
    expected = sum(gradients(i, w) for i, w in zip(alike, weights, strict=True)) / 2
    torch.testing.assert_close(exchanged("powersgd", POWERSGD_START + 1, alike, weights), expected)


def test_a_hook_waits_for_training_on_several_devices():
    trainer = fit_toy(Tiny(toy_network()), [CompressGradients("fp16")], accelerator="cpu", devices=1)
    assert trainer.global_step == 2


# ---------------------------------------------------------------------------------------------- on a GPU


@on_cuda
@pytest.mark.parametrize(
    "values", [{}, {"precision": "bf16-mixed"}, {"precision": "16-mixed"}, {"matmul": "high"}, {"channels_last": True}]
)
def test_a_gpu_trains_to_about_what_a_cpu_does(values):
    expected, model = toy_network(), toy_network()
    fit_toy(Tiny(expected), [], **cpu(expected))
    fit_toy(Tiny(model), [], **cuda(model, **values))
    torch.testing.assert_close(model[4].weight.cpu(), expected[4].weight, atol=1e-2, rtol=0)


@on_cuda
def test_a_gpu_runs_a_compiled_network():
    model, inputs = toy_network().cuda().eval(), examples_of(TASKS[1])[0].cuda()
    expected = model(inputs)
    cuda(model, compile=True)
    torch.testing.assert_close(model(inputs), expected, atol=2e-3, rtol=2e-3)  # one may convolve in TF32, the other not
