"""What regularizers do to gradients, to the model and to a whole training, of a plain network and of a user's module."""

import copy
import itertools
import pickle
from types import SimpleNamespace
from typing import Annotated

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from autoopt.data.examples import Examples
from autoopt.data.make_task import make_task
from autoopt.data.task import Task
from autoopt.domain import Acts, Unavailable
from autoopt.module.batch_norm import Passed, batch_inputs
from autoopt.module.chosen import Chosen
from autoopt.module.hooks import overridden
from autoopt.orders import Train
from autoopt.plugins.regularizer.dropout import dropout
from autoopt.plugins.regularizer.early_stopping import early_stopping
from autoopt.plugins.regularizer.ema import average, ema
from autoopt.plugins.regularizer.gradient_clip import gradient_clip
from autoopt.plugins.regularizer.gradient_noise import gradient_noise
from autoopt.plugins.regularizer.l1 import l1
from autoopt.plugins.regularizer.l2 import l2
from autoopt.plugins.regularizer.stochastic_depth import stochastic_depth
from autoopt.plugins.regularizer.swa import swa
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.store import Store
from autoopt.technique import available
from autoopt.testing.toys import TASKS, ResidualBlock, Tiny, examples_of, fit_toy
from autoopt.trial.run import run
from autoopt.trial.world import World

# ------------------------------------------------------------------------------------------------------------------ of gradients


def with_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    model[0](torch.rand(5, 4)).square().sum().backward()  # the rest has no gradient
    with torch.no_grad():
        model[0].weight[0, 0] = 0.0
    return model, SGD(model.parameters(), lr=0.1)


def penalise(penalty, model, optimizer):
    penalty.on_train_start(None, model)
    penalty.on_before_optimizer_step(None, None, optimizer)


PENALTIES = {
    "l1": (l1, lambda w: 0.25 * w.abs().sum()),
    "l2": (l2, lambda w: 0.25 / 2 * w.square().sum()),
}


@pytest.mark.parametrize(("penalty", "value"), PENALTIES.values(), ids=PENALTIES)
def test_a_penalty_adds_its_gradient_to_weights_alone(penalty, value):
    model, optimizer = with_gradients()
    weight, bias = model[0].weight, model[0].bias
    before, bias_before, values = weight.grad.clone(), bias.grad.clone(), weight.detach().clone()
    (of_penalty,) = torch.autograd.grad(value(weight), weight)
    penalise(penalty(strength=0.25), model, optimizer)
    torch.testing.assert_close(weight.grad, before + of_penalty)
    assert weight.grad[0, 0] == before[0, 0]  # at zero the gradient is zero
    assert torch.equal(bias.grad, bias_before) and torch.equal(weight, values)
    assert model[1].weight.grad is None and model[2].weight.grad is None


@pytest.mark.parametrize(("penalty", "value"), PENALTIES.values(), ids=PENALTIES)
def test_a_penalty_of_complex_weights_is_that_of_their_lengths(penalty, value):
    model = nn.Module()
    model.waves = nn.Parameter(torch.randn(3, 2, dtype=torch.cfloat))
    model.waves.grad = torch.zeros_like(model.waves)
    (of_penalty,) = torch.autograd.grad(value(model.waves.abs()), model.waves)
    penalise(penalty(strength=0.25), model, SGD(model.parameters(), lr=0.1))
    torch.testing.assert_close(model.waves.grad, of_penalty)


@pytest.mark.parametrize("penalty", [l1, l2])
def test_a_penalty_does_nothing_where_there_is_no_gradient(penalty):
    model, optimizer = with_gradients()
    optimizer.zero_grad()
    penalise(penalty(strength=0.25), model, optimizer)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("penalty", [l1, l2])
def test_a_penalty_leaves_what_is_never_decayed(penalty):
    model = nn.Linear(2, 3)
    model.cls_token, model.mixer = nn.Parameter(torch.ones(1, 1, 2)), nn.Parameter(torch.ones(2, 2))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    penalise(penalty(strength=0.25), model, SGD(model.parameters(), lr=0.1))
    assert [name for name, p in model.named_parameters() if p.grad.any()] == ["weight", "mixer"]


@pytest.mark.parametrize("name", available("regularizer"))
def test_the_callback_of_every_regularizer_can_be_pickled(name):
    recipe = Recipe({slot: {} for slot in SLOTS} | {"regularizer": {name: {}}})
    model = nn.Sequential(ResidualBlock(nn.Sequential(nn.Linear(3, 3), nn.Softplus())), nn.Linear(3, 2))
    for callback in Chosen(recipe).callbacks(model, 10, "val_loss"):
        assert type(pickle.loads(pickle.dumps(callback))) is type(callback)


def test_l2_is_what_torch_calls_the_weight_decay_of_sgd():
    (model, optimizer), (other, _) = with_gradients(), with_gradients()
    penalise(l2(strength=0.25), model, optimizer)
    optimizer.step()
    SGD([other[0].weight], lr=0.1, weight_decay=0.25).step()
    torch.testing.assert_close(model[0].weight, other[0].weight)


@pytest.mark.parametrize("norm", [0.01, 1e6])
def test_clipping_scales_all_gradients_together(norm):
    model, optimizer = with_gradients()
    before = [p.grad.clone() for p in model[0].parameters()]
    length = torch.cat([g.flatten() for g in before]).norm().item()
    gradient_clip(norm=norm).on_before_optimizer_step(None, None, optimizer)
    scale = min(1.0, norm / length)
    for parameter, old in zip(model[0].parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, old * scale, rtol=1e-4, atol=0)
    assert model[2].weight.grad is None


class At:
    """A Trainer that has taken so many steps."""

    def __init__(self, step: int):
        self.global_step = step


@pytest.mark.parametrize("step", [0, 99])
def test_gradient_noise_fades(step):
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(200, 200), nn.Linear(2, 2)])
    model[0].weight.grad, model[0].bias.grad = torch.ones(200, 200), torch.zeros(200)
    gradient_noise(eta=0.3).on_before_optimizer_step(At(step), None, SGD(model.parameters(), lr=0.1))
    deviation = (0.3 / (1 + step) ** 0.55) ** 0.5
    assert model[0].weight.grad.mean().item() == pytest.approx(1, abs=0.01)
    assert model[0].weight.grad.std().item() == pytest.approx(deviation, rel=0.02)
    assert model[0].bias.grad.std().item() == pytest.approx(deviation, rel=0.2)
    assert model[1].weight.grad is None


@pytest.mark.parametrize("listed", [*itertools.permutations({"l1": {}, "gradient_clip": {}, "gradient_noise": {}})], ids="-".join)
def test_penalties_then_clipping_then_noise_however_they_are_listed(listed):
    """The penalty is within the bound, and the noise is not."""
    values = {"l1": {"strength": 0.25}, "gradient_clip": {"norm": 0.5}, "gradient_noise": {"eta": 0.3}}
    tree = {slot: {} for slot in SLOTS} | {"regularizer": {name: values[name] for name in listed}}
    model, optimizer = with_gradients()
    trained = list(model[0].parameters())
    weight, bias = (p.grad.clone() for p in trained)
    weight += 0.25 * model[0].weight.detach().sign()
    scale = 0.5 / torch.cat([weight.flatten(), bias]).norm()
    assert scale < 1
    torch.manual_seed(1)
    for callback in Chosen(Recipe(tree)).callbacks(model, 10, None):
        callback.on_train_start(SimpleNamespace(world_size=1), model)
        callback.on_before_optimizer_step(At(0), None, optimizer)
    torch.manual_seed(1)
    for parameter, clipped in zip(trained, (weight * scale, bias * scale), strict=True):
        torch.testing.assert_close(parameter.grad, clipped + 0.3**0.5 * torch.randn_like(parameter), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------------------------------ of the model


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 64), nn.PReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3), nn.Softplus())


def with_dropout(model: nn.Module, inputs: Tensor, **values) -> nn.Module:
    """The model with dropout after its first backward pass."""
    callback = dropout(model, **values)
    callback.on_train_start(None, None)
    callback.on_before_backward(None, None, model.train()(inputs).sum())
    return model


def zeros(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """The share of zeros among the outputs of each module, by name."""
    shares = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *given, name=name: shares.update({name: (given[2] == 0).float().mean().item()}))
    model(inputs)
    return shares


def test_dropout_keeps_a_share_and_scales_it_up():
    model = with_dropout(plain(), torch.randn(2, 4), p=0.2)
    inputs = torch.randn(2000, 4)
    before = model[0](inputs)
    expected = torch.where(before > 0, before, model[1].weight * before)
    after = model[1](before)
    kept = after != 0
    assert kept.float().mean().item() == pytest.approx(0.8, abs=0.01)
    torch.testing.assert_close(after[kept], expected[kept] / 0.8)
    assert (model[3](torch.ones(100, 64)) == 0).any()
    assert not (model[5](torch.ones(100, 3)) == 0).any()  # the outputs


def test_dropout_keeps_names_and_what_is_evaluated():
    model, untouched = with_dropout(plain(), torch.randn(2, 4), p=0.9), plain()
    inputs = torch.randn(5, 4)
    assert torch.equal(model.eval()(inputs), untouched(inputs))
    assert model.state_dict().keys() == untouched.state_dict().keys()
    untouched.load_state_dict(model.state_dict())


def test_dropout_of_a_copy_is_its_own():
    model = with_dropout(plain(), torch.randn(2, 4), p=0.5)
    other = copy.deepcopy(model)
    dropout(other, p=0.1)
    shares = [(m[1](torch.ones(2000, 64)) == 0).float().mean().item() for m in (model, other)]
    assert shares == pytest.approx([0.5, 0.1], abs=0.01)


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights, self.dropout = nn.Linear(8, 8), nn.Dropout(0.4)

    def forward(self, inputs):
        return self.dropout(self.weights(inputs).softmax(1))


def test_dropout_leaves_the_models_own_unless_it_is_asked_to_replace_it_and_that_of_attention_always():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Dropout2d(0.5), nn.Flatten(), SelfAttention(), nn.Dropout(0.1), nn.Linear(8, 2))
    with pytest.raises(Unavailable, match=r"has dropout of its own, which keeps its rate; regularizer\.dropout\.replace=true gives it"):
        dropout(model, p=0.3)
    assert dropout(model, p=0.3, replace=True) is None
    assert [m.p for m in (model[2], model[4].dropout, model[5])] == [0.3, 0.4, 0.3]
    assert not model[1]._forward_hooks


def test_dropout_that_is_off_is_a_place_that_the_author_left_for_it():
    model = nn.Sequential(nn.Linear(4, 100), nn.ReLU(), nn.Linear(100, 100), nn.Dropout1d(0.0), nn.Linear(100, 3))
    shares = zeros(with_dropout(model, torch.rand(2, 4), p=0.5), torch.rand(200, 4))
    assert shares["1"] < 0.9 and shares["3"] == pytest.approx(0.5, abs=0.1) and model[3].p == 0
    rows = (model[3](torch.ones(200, 100)) == 0).all(1)
    assert 0.3 < rows.float().mean() < 0.7, "Dropout1d drops whole rows"


class Block(nn.Module):
    """A residual block that uses one activation module inside of its branch and on the trunk, as torchvision's do."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.relu = nn.Linear(64, 64), nn.Linear(64, 64), nn.ReLU(inplace=True)
        self.seen = []

    def forward(self, inputs):
        inside = self.relu(self.first(inputs))
        trunk = self.relu(inputs + self.second(inside))
        self.seen = [(tensor == 0).float().mean().item() for tensor in (inside, trunk)]
        return trunk


def test_dropout_stays_away_from_a_residual_trunk():
    """A zero there would reach all later layers: with p=.3 on the trunk of a resnet, digits were classified by chance."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.Softplus(), Block(), Block(), nn.Linear(64, 32), nn.Softplus(), nn.Linear(32, 3))
    model(torch.rand(200, 4))
    before = [block.seen for block in model[2:4]]
    shares = zeros(with_dropout(model, torch.rand(2, 4), p=0.5), torch.rand(200, 4))
    assert shares["1"] == 0 and shares["5"] == pytest.approx(0.5, abs=0.05), "the stem is on the trunk, the head is not"
    for block, (inside, _) in zip(model[2:4], before, strict=True):
        assert block.seen[0] == pytest.approx(0.5 + inside / 2, abs=0.1)
    assert model[2].seen[1] == pytest.approx(before[0][1], abs=0.1)


class Late(nn.Module):
    """Its activations are written last; one of them gives the outputs."""

    def __init__(self):
        super().__init__()
        self.out, self.one, self.two = nn.Softplus(), nn.Linear(4, 64), nn.Linear(64, 3)
        self.act, self.inner = nn.Sequential(nn.Softplus()), nn.Softplus()

    def forward(self, inputs):
        return self.out(self.two(self.inner(self.act(self.one(inputs)))))


def test_dropout_acts_before_the_last_layer_whatever_was_written_last():
    shares = zeros(with_dropout(Late(), torch.rand(2, 4), p=0.5), torch.rand(200, 4))
    assert (shares["act.0"], shares["inner"], shares["out"]) == (pytest.approx(0.5, abs=0.05), pytest.approx(0.5, abs=0.05), 0)
    with pytest.raises(Unavailable, match="on a residual trunk, or gives its outputs"):
        with_dropout(nn.Sequential(nn.Linear(4, 3), nn.Softplus()), torch.rand(2, 4))


def test_dropout_after_selu_keeps_mean_and_variance():
    model = nn.Sequential(nn.Linear(4, 64), nn.SELU(), nn.Linear(64, 2))
    with_dropout(model, torch.rand(2, 4), p=0.3)
    outputs = model[1](torch.randn(3000, 64))
    assert (outputs == outputs.min()).float().mean().item() == pytest.approx(0.3, abs=0.01) and not (outputs == 0).any()
    assert (outputs.mean().item(), outputs.std().item()) == pytest.approx((0, 1), abs=0.03)


def test_dropout_says_where_it_cannot_act():
    trunk = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), ResidualBlock(nn.Linear(4, 4)))
    with pytest.raises(Unavailable, match="every activation of the model is on a residual trunk"):
        with_dropout(trunk, torch.rand(2, 4))
    callback = dropout(plain())
    callback.on_train_start(None, None)
    with pytest.raises(Unavailable, match=r"calls loss\.backward\(\) by itself; self\.manual_backward\(loss\) shows"):
        callback.on_train_epoch_end(None, None)


def test_dropout_needs_something_to_drop():
    with pytest.raises(Unavailable, match=r"the model has neither dropout nor an activation module$"):
        dropout(nn.Linear(2, 2))


def blocks(count: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(ResidualBlock(nn.Sequential(nn.Linear(3, 3), nn.Softplus())) for _ in range(count)))


def test_stochastic_depth_drops_whole_branches_of_examples_more_often_with_depth():
    model = blocks()
    stochastic_depth(model, survival=0.6)
    inputs = torch.randn(3000, 3)
    for block, expected in zip(model, [0.9, 0.8, 0.7, 0.6], strict=True):
        added = block(inputs) - inputs
        whole = block.eval()(inputs) - inputs
        dropped = (added == 0).all(1)
        assert 1 - dropped.float().mean().item() == pytest.approx(expected, abs=0.03)
        torch.testing.assert_close(added[~dropped], whole[~dropped] / expected, rtol=1e-4, atol=1e-5)


def test_stochastic_depth_keeps_names_and_what_is_evaluated():
    model, untouched = blocks(), blocks()
    for survival in (0.5, 0.9):
        stochastic_depth(model, survival=survival)
    inputs = torch.randn(5, 3)
    assert torch.equal(model.eval()(inputs), untouched(inputs))
    assert model.state_dict().keys() == untouched.state_dict().keys()
    last = model.train()[-1]
    assert (last(torch.ones(3000, 3)) != 1).all(1).float().mean().item() == pytest.approx(0.9, abs=0.02)  # the later one holds


def test_stochastic_depth_goes_by_the_order_in_which_blocks_are_called():
    class Backwards(nn.Sequential):
        def forward(self, inputs):
            for block in reversed(self):
                inputs = block(inputs)
            return inputs

    model = Backwards(*blocks())
    stochastic_depth(model, survival=0.6)
    inputs = torch.randn(3000, 3)
    model(inputs)
    kept = [1 - (block(inputs) == inputs).all(1).float().mean().item() for block in model]
    assert kept == pytest.approx([0.6, 0.7, 0.8, 0.9], abs=0.03)


def test_stochastic_depth_needs_residual_blocks():
    with pytest.raises(Unavailable, match="the model has no residual branch: no module has a child 'branch'"):
        stochastic_depth(plain())


# ---------------------------------------------------------------------------------------------------------------- of a training


EPOCHS, STEPS = 4, 4
SEEN: list["Spy"] = []


def here(name: str, **values) -> dict:
    """A technique of this file, as a recipe says it."""
    return {name: {"from": f"{__name__}:{name}", **values}}


def network(task: Task) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, task.outputs))


class Module(L.LightningModule):
    """A user's, with automatic optimization."""

    def __init__(self):
        super().__init__()
        self.net = network(Task("classification", (4,), 3))

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, _):
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))


class Scripted(Module):
    """Logs a score that first rises and then stays."""

    def on_validation_epoch_end(self):
        self.log("val_score", float(min(self.current_epoch, 2)))


class Rising(Module):
    """Its loss is the number of the epoch, and rises from the first on."""

    def training_step(self, batch, _):
        return super().training_step(batch, _) * 0 + self.current_epoch


class Logged(Rising):
    def training_step(self, batch, number):
        self.log("train_loss", loss := super().training_step(batch, number), on_epoch=True, on_step=False)
        return loss


class Alone(Rising):
    """Is not validated."""

    validation_step = L.LightningModule.validation_step


class Fixed(Module):
    """Trains without the statistics of the batches."""

    def on_train_epoch_start(self):
        self.net[1].eval()


class Spy(L.Callback):
    """Sees the weights after every step and those that are validated, the rates and the batches."""

    def __init__(self):
        self.trained, self.validated, self.rates, self.inputs = [], [], [], []
        SEEN.append(self)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.module = pl_module
        self.trained.append(weights_of(pl_module))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.inputs.append(batch[0] if isinstance(batch[0], Tensor) else batch[0][0])

    def on_validation_epoch_start(self, trainer, pl_module):
        self.validated.append(weights_of(pl_module))


def spy() -> Annotated[L.Callback, Acts(last=True)]:
    return Spy()


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture(scope="module")
def task() -> Task:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(80) % 3
    inputs = torch.randn(80, 4, generator=generator) + targets[:, None].float()
    splits = dict(zip(("train", "validation", "test"), torch.arange(80).split([50, 15, 15]), strict=True))
    return make_task(Examples(inputs, targets, "classification", ("a", "b", "c"), splits), {"normalise": True})


@pytest.fixture
def trained(task, tmp_path):
    """Train under a regularizer as a trial does: what a spy saw, the weights that were kept, and the epochs' metrics."""

    def go(
        model: str,
        regularizer: dict,
        objective: str = "val_loss",
        direction: str = "minimize",
        epochs: int = EPOCHS,
        lr: float = 0.1,
        trainer: dict | None = None,
        value: dict | None = None,
        **slots,
    ):
        SEEN.clear()
        chosen = {"model": here(model), "loss": {"cross_entropy": {}}, "optimizer": {"sgd": {"lr": lr}}, "schedule": {"cosine": {}}}
        chosen |= {"regularizer": {**regularizer, **here("spy")}, "device": {"cpu": {}}, **slots}
        tree = {slot: chosen.get(slot, {}) for slot in SLOTS} | {"batches": {"size": 16}, "study": {"epochs": epochs} | (value or {})}
        tree["trainer"] = trainer or {}
        order = Train(key="0", recipe=Recipe(tree), seed=7, objective=objective, direction=direction, keep=True)
        reports: list[dict] = []
        store = Store(tmp_path)
        outcome = run(World(task, task.example(), store), order.json(), lambda _, metrics: reports.append(metrics) or False)
        SEEN[0].outcome = outcome["metrics"]
        return SEEN[0], load_file(store.weights("0")), reports

    return go


BOTH = pytest.mark.parametrize("model", ["network", "Module"])


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-6)


def evaluated(task: Task, weights: dict[str, Tensor]) -> float:
    """The validation loss of these weights."""
    model = network(task).eval()
    model.load_state_dict({name.partition(".")[2]: value for name, value in weights.items()})
    inputs, targets = task.parts["validation"]
    return cross_entropy(model(inputs), targets).item()


@BOTH
@pytest.mark.parametrize("decay", [0.9, 0.3])
def test_ema_validates_and_keeps_the_mean_of_the_steps(trained, task, model, decay):
    seen, kept, reports = trained(model, {"ema": {"decay": decay}})
    assert len(seen.trained) == EPOCHS * STEPS
    mean, means = seen.trained[0], []
    for n, weights in enumerate(seen.trained):
        d = min(decay, (1 + n) / (10 + n)) if n else 0.0
        mean = {name: d * mean[name] + (1 - d) * value for name, value in weights.items()}
        means.append(mean)
    assert_close(kept, mean)
    for validated, expected in zip(seen.validated, means[STEPS - 1 :: STEPS], strict=True):
        assert_close(validated, expected)
    assert reports[-1]["val_loss"] == pytest.approx(evaluated(task, kept), rel=1e-4)


@BOTH
def test_swa_validates_and_keeps_the_mean_of_the_last_epochs(trained, task, model):
    seen, kept, reports = trained(model, {"swa": {"start": 0.5, "rate": 0.25}})
    ends = seen.trained[STEPS - 1 :: STEPS]
    buffers = [name for name in kept if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")]
    mean = {name: (ends[2][name] + ends[3][name]) / 2 for name in kept if name not in buffers}
    assert_close({name: value for name, value in kept.items() if name not in buffers}, mean)
    assert_close(seen.validated[1], ends[1])
    assert_close(seen.validated[3], kept)
    assert reports[-1]["val_loss"] == pytest.approx(evaluated(task, kept), rel=1e-4)
    assert seen.rates[: 2 * STEPS] == sorted(seen.rates[: 2 * STEPS], reverse=True)
    assert seen.rates[2 * STEPS :] == pytest.approx([0.025] * 2 * STEPS)
    assert len(seen.trained) == EPOCHS * STEPS


@pytest.mark.parametrize("schedule", [{"plateau": {"patience": 0.02, "factor": 0.01}}, {"gradient_adaptive": {"beta": 1e-9}}], ids=str)
def test_the_rate_of_swa_is_a_share_of_the_base_rate_under_any_schedule(trained, schedule):
    seen, _, _ = trained("plain", {"swa": {"start": 0.5, "rate": 0.25}}, schedule=schedule, lr=0.1)
    assert seen.rates[2 * STEPS :] == pytest.approx([0.025] * 2 * STEPS)


def shifted(inputs) -> Tensor:
    """An augmentation."""
    return inputs + 1


@BOTH
@pytest.mark.parametrize("augmentation", [{}, "shifted"], ids=["as they are", "augmented"])
def test_the_batch_norms_of_swa_fit_the_mean(trained, task, model, augmentation):
    seen, kept, _ = trained(model, {"swa": {"start": 0.5}}, augmentation=augmentation and here(augmentation))
    layer = {name.rpartition(".")[2]: value for name, value in kept.items() if ".0." in name}
    shift = 1.0 if augmentation and model == "network" else 0.0  # the spy sees the batches of a network before they are augmented
    outputs = [(inputs + shift) @ layer["weight"].T + layer["bias"] for inputs in seen.inputs[-STEPS:]]
    norm = {name.rpartition(".")[2]: value for name, value in kept.items() if ".1." in name}
    torch.testing.assert_close(norm["running_mean"], torch.stack([o.mean(0) for o in outputs]).mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm["running_var"], torch.stack([o.var(0) for o in outputs]).mean(0), rtol=1e-4, atol=1e-5)
    assert [m.momentum for m in seen.module.modules() if isinstance(m, nn.BatchNorm1d)] == [0.1]


def test_the_inputs_of_a_batch_pass_through_the_norms_in_whatever_form_it_is():
    images = torch.zeros(2, 3, 4, 4)
    for batch in (images, (images, torch.zeros(2)), [images], {"image": images, "label": torch.zeros(2)}):
        (inputs,) = batch_inputs(batch)
        assert inputs is images
    assert batch_inputs({"ids": torch.zeros(2), "y": torch.zeros(2)}) == batch_inputs(("text",)) == []


def test_batches_that_forward_does_not_take_are_told_as_what_is_missing():
    decoder = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    passed = Passed()
    passed.add([torch.zeros(5, 12)])
    with pytest.raises(Unavailable, match=r"statistics of batch norms again, by forward\(inputs of a batch\).*\(RuntimeError: mat1"):
        passed.update_bn(decoder)


def test_norms_that_are_held_fixed_stay_so_under_swa(trained):
    _, kept, _ = trained("Fixed", {"swa": {"start": 0.5}})
    assert not kept["net.1.running_mean"].any() and (kept["net.1.running_var"] == 1).all()
    assert kept["net.1.num_batches_tracked"] == 0


class TwoFaced(SGD):
    """Evaluates other weights than it trains, as a schedule-free optimizer does."""

    shift = 0.0

    def train(self):
        self.show(0.0)

    def eval(self):
        self.show(0.5)

    @torch.no_grad()
    def show(self, shift):
        for p in self.param_groups[0]["params"]:
            p.add_(shift - self.shift)
        self.shift = shift


def two_faced(params, *, lr: float = 0.1) -> torch.optim.Optimizer:
    return TwoFaced(params, lr=lr)


@BOTH
@pytest.mark.parametrize("averaged", ["ema", "swa"])
def test_a_mean_is_kept_as_it_was_validated_whatever_the_optimizer_evaluates(trained, task, model, averaged):
    _, kept, reports = trained(model, {averaged: {}}, optimizer=here("two_faced"))
    assert reports[-1]["val_loss"] == pytest.approx(evaluated(task, kept), rel=1e-4)


class WithoutForward(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = network(Task("classification", (4,), 3))


def test_swa_needs_a_way_through_the_batch_norms():
    with pytest.raises(Unavailable, match="the module has batch norms, whose statistics have to be renewed, but no forward"):
        swa(WithoutForward())


@BOTH
def test_early_stopping_waits_for_its_share_of_the_epochs(trained, model):
    _, _, reports = trained(model, {"early_stopping": {"patience": 0.3}}, epochs=10, lr=0.0)
    losses = [r["val_loss"] for r in reports]
    # norms still gather statistics at a rate of 0, so that the loss may change for some epochs
    best = losses.index(min(losses))
    assert len(losses) == min(10, best + 1 + 3)


@pytest.mark.parametrize(("direction", "epochs"), [("maximize", 3 + 2), ("minimize", 1 + 2)])
def test_early_stopping_follows_a_module_in_its_direction(trained, direction, epochs):
    _, _, reports = trained("Scripted", {"early_stopping": {"patience": 0.2}}, "val_score", direction, epochs=10)
    assert len(reports) == epochs


def test_early_stopping_follows_a_network_in_its_direction(trained):
    for direction, epochs in (("maximize", 2), ("minimize", 4)):
        _, _, reports = trained("network", {"early_stopping": {"patience": 0.1}}, "val_loss", direction, epochs=4, lr=0.03)
        losses = [r["val_loss"] for r in reports]
        assert losses == sorted(losses, reverse=True) and len(losses) == epochs


@pytest.mark.parametrize("model", ["Rising", "Logged", "Alone"])
def test_early_stopping_and_a_plateau_follow_the_loss_of_the_training(trained, model):
    """Of this epoch, not of the one before, which is what a validation would see; returned or logged."""
    values = {
        "regularizer": {"early_stopping": {"patience": 0.2}},
        "objective": "train_loss",
        "epochs": 10,
        "optimizer": {"sgd": {"lr": 1.0}},
    }
    seen, kept, reports = trained(model, **values, schedule={"plateau": {"patience": 0.0, "factor": 0.5}})
    assert [r["train_loss"] for r in reports] == [0, 1, 2]
    assert [r["lr"] for r in reports] == [1, 1, 0.5]
    assert all(torch.equal(kept[name], value) for name, value in seen.trained[STEPS - 1].items()), "the weights of the first epoch"


def test_early_stopping_follows_the_loss_of_a_networks_training(trained):
    _, _, reports = trained("network", {"early_stopping": {"patience": 0.1}}, "train_loss", "maximize", epochs=10, lr=0.03)
    losses = [r["train_loss"] for r in reports]
    assert losses == sorted(losses, reverse=True) and len(losses) == 2


def best_alone() -> L.Callback:
    return ModelCheckpoint(monitor="val_score", mode="max", save_weights_only=True)


@pytest.mark.parametrize("averaged", [{}, {"ema": {}}, {"swa": {"start": 0.1}}], ids=lambda r: next(iter(r), "alone"))
@pytest.mark.parametrize("optimizer", [{"sgd": {"lr": 0.03}}, here("two_faced", lr=0.01)], ids=lambda o: next(iter(o)))
@pytest.mark.parametrize(("model", "objective"), [("network", "val_loss"), ("Scripted", "val_score")])
def test_early_stopping_keeps_what_was_validated_best(trained, task, model, objective, optimizer, averaged):
    """A loss that falls has its maximum at the beginning."""
    slots = {"optimizer": optimizer, "schedule": {"constant": {}}}
    seen, kept, reports = trained(model, {"early_stopping": {"patience": 0.3}, **averaged}, objective, "maximize", epochs=10, **slots)
    best = max(range(len(reports)), key=lambda epoch: reports[epoch][objective])
    assert len(reports) == best + 1 + 3
    assert_close(kept, seen.validated[best])
    assert not torch.equal(next(iter(kept.values())), next(iter(seen.validated[-1].values())))
    assert seen.outcome["val_loss"] == pytest.approx(reports[best]["val_loss"], rel=1e-4)
    assert seen.outcome["val_loss"] == pytest.approx(evaluated(task, kept), rel=1e-4)


@pytest.mark.parametrize(("model", "objective", "direction"), [("network", "val_loss", "maximize"), ("Scripted", "val_score", "maximize")])
def test_where_the_best_epoch_counts_its_weights_are_kept(trained, task, model, objective, direction):
    slots = {"optimizer": {"sgd": {"lr": 0.03}}, "schedule": {"constant": {}}}
    seen, kept, reports = trained(model, {}, objective, direction, epochs=6, value={"value": "best"}, **slots)
    best = max(range(len(reports)), key=lambda epoch: reports[epoch][objective])
    assert len(reports) == 6 and best < 5
    assert_close(kept, seen.validated[best])
    assert seen.outcome["val_loss"] == pytest.approx(evaluated(task, kept), rel=1e-4)
    assert seen.outcome[objective] == pytest.approx(reports[best][objective], rel=1e-4)


@pytest.mark.parametrize("averaged", [{"ema": {}}, {"swa": {"start": 0.1}}], ids=lambda r: next(iter(r)))
def test_the_best_epoch_of_an_authors_checkpoint_is_that_of_the_mean(trained, averaged):
    seen, kept, _ = trained("Scripted", averaged, "val_score", "maximize", epochs=5, trainer={"callbacks": f"{__name__}:best_alone"})
    assert_close(kept, seen.validated[2])


def test_early_stopping_lets_a_network_train_an_epoch_at_once():
    assert not overridden("on_train_batch_end", early_stopping(None, "minimize", patience=0.1))


def test_early_stopping_does_nothing_where_the_metric_is_not_measured(trained):
    _, _, reports = trained("network", {"early_stopping": {}}, "size_mb", epochs=3)
    assert len(reports) == 3


@BOTH
@pytest.mark.parametrize("regularizer", [{"l2": {"strength": 0.1}}, {"gradient_noise": {}}, {"dropout": {}}], ids=lambda r: next(iter(r)))
def test_what_acts_on_gradients_or_on_the_model_changes_a_training(trained, model, regularizer):
    _, without, _ = trained(model, {}, epochs=1)
    _, kept, _ = trained(model, regularizer, epochs=1)
    assert kept.keys() == without.keys()
    assert not any(torch.equal(kept[name], value) for name, value in without.items() if value.ndim > 1)


def test_ema_takes_the_mean_of_complex_weights_too():
    mean, weights = torch.full((2,), 1 + 1j), torch.full((2,), 3 - 1j)
    average(0.9, [mean], [weights], torch.tensor(8))
    torch.testing.assert_close(mean, torch.full((2,), 2 + 0j))  # d = 9 / 18


def test_ema_takes_weights_that_a_hook_computes_at_each_pass():
    """As in the heads of DINO: the old `weight_norm` keeps its result, with its graph, beside the parameters."""
    inputs, _ = examples_of(TASKS[1])
    layer = torch.nn.utils.weight_norm(nn.Linear(inputs[0].numel(), TASKS[1].outputs))
    module = Tiny(nn.Sequential(nn.Flatten(), layer))
    before = layer.weight_v.detach().clone()
    fit_toy(module, [ema(decay=0.5)], accelerator="cpu", devices=1)
    assert not torch.equal(layer.weight_v, before) and torch.isfinite(module.model(inputs)).all()
