"""The scales of what the author wrote: the rates and the decays of the groups of their own optimizers."""

import lightning.pytorch as L
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from autoopt.config import compose
from autoopt.data.loaders import seed_all
from autoopt.orders import Outcome, Train
from autoopt.plugins.optimizer.keep import keep
from autoopt.plugins.schedule.gradient_adaptive import gradient_adaptive
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.trial.run import prepare, run

HERE = __name__
EPOCHS, SEED = 4, 3
SEEN: list[list[float]] = []


class Data(L.LightningDataModule):
    def train_dataloader(self):
        generator = torch.Generator().manual_seed(0)
        targets = torch.arange(60) % 3
        return DataLoader(TensorDataset(torch.randn(60, 4, generator=generator) + targets[:, None], targets), 16)

    val_dataloader = train_dataloader


class Lit(L.LightningModule):
    """Two groups, under a schedule that reads the rates of its groups."""

    def __init__(self, lr: float = 0.1, decay: float = 0.01, form: str = "cosine"):
        super().__init__()
        self.lr, self.decay, self.form = lr, decay, form
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        loss = cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        SEEN.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        groups = [{"params": self.net[0].parameters(), "weight_decay": self.decay}, {"params": self.net[2].parameters(), "lr": self.lr / 4}]
        optimizer = torch.optim.SGD(groups, lr=self.lr, momentum=0.9)
        if self.form == "plateau":
            scheduler = {"scheduler": ReduceLROnPlateau(optimizer, patience=0, factor=0.5), "monitor": "train_loss"}
            return {"optimizer": optimizer, "lr_scheduler": scheduler}
        return [optimizer], [CosineAnnealingLR(optimizer, EPOCHS)]


class ByHand(Lit):
    """Two optimizers, stepped by hand."""

    def __init__(self, lr: float = 0.1):
        super().__init__(lr)
        self.automatic_optimization = False

    def training_step(self, batch, _):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(layer.parameters(), lr=self.lr) for layer in (self.net[0], self.net[2])], []


def recipe(*overrides: str) -> Recipe:
    return Space.of(tree(*overrides)).baseline()


def tree(*overrides: str) -> dict:
    model = () if any(o.startswith("model=") for o in overrides) else (f"model={HERE}:Lit",)
    return compose([f"data={HERE}:Data", *model, "optimizer=keep", f"study.epochs={EPOCHS}", *overrides])


@pytest.fixture
def trained(tmp_path):
    """Train a recipe as a trial does: its weights, the rates that it reports, and its outcome."""

    def go(*overrides: str):
        SEEN.clear()
        world, _ = prepare({"tree": tree(*overrides), "store": str(tmp_path)})
        rates: list[float] = []
        order = Train(key="0", recipe=recipe(*overrides), seed=SEED, keep=True, objective="val_loss")
        outcome = Outcome(**run(world, order.json(), lambda epoch, metrics: rates.append(metrics["lr"]) or False))
        return load_file(tmp_path / "trials" / "0" / "model.safetensors"), rates, outcome

    return go


def by_hand(kind=Lit, **values) -> dict[str, torch.Tensor]:
    seed_all(SEED)
    module = kind(**values)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    L.Trainer(max_epochs=EPOCHS, accelerator="auto", num_sanity_val_steps=0, **quiet).fit(module, datamodule=Data())
    return module.state_dict()


def same(ours: dict, theirs: dict) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("form", ["cosine", "plateau"])
@pytest.mark.parametrize(("lr_scale", "weight_decay_scale"), [(1.0, 1.0), (4.0, 1.0), (0.5, 1.0), (1.0, 8.0), (2.0, 4.0)])
def test_scaled_groups_train_as_if_the_author_had_written_the_scaled_values(trained, form, lr_scale, weight_decay_scale):
    """Powers of two, so that the products are exact."""
    said = [f"optimizer.keep.lr_scale={lr_scale}", f"optimizer.keep.weight_decay_scale={weight_decay_scale}"]
    ours, rates, _ = trained(*said, f"model.Lit.form={form}")
    seen = list(SEEN)
    assert same(ours, by_hand(lr=0.1 * lr_scale, decay=0.01 * weight_decay_scale, form=form))
    unscaled = by_hand(form=form)
    assert same(ours, unscaled) == (lr_scale == weight_decay_scale == 1)
    assert rates[0] == pytest.approx(lr_scale * seen[0][0]), "the reported rate is the one of the steps"
    if form == "cosine":
        assert seen == SEEN[-len(seen) :], "the module and its schedule see their own rates"


def test_every_optimizer_of_a_module_is_scaled(trained):
    ours, _, _ = trained(f"model={HERE}:ByHand", "optimizer.keep.lr_scale=2")
    assert same(ours, by_hand(ByHand, lr=0.2)) and not same(ours, by_hand(ByHand, lr=0.1))


@pytest.mark.slow
def test_the_scales_hold_under_a_schedule_of_the_recipe(trained):
    ours, rates, _ = trained("schedule=constant", "optimizer.keep.lr_scale=2")
    half, _, _ = trained("schedule=constant", "optimizer.keep.lr_scale=2", "model.Lit.lr=0.05")
    plain, _, _ = trained("schedule=constant", "model.Lit.lr=0.1")
    assert rates == [0.2] * EPOCHS and same(half, plain) and not same(ours, plain)


def test_a_rate_that_is_set_within_the_step_is_scaled_too():
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = keep(torch.optim.SGD([weight], lr=0.5), lr_scale=2.0)
    gradient_adaptive(optimizer, beta=1.0)
    weight.grad = torch.tensor([1.0])
    optimizer.step()
    assert weight.item() == 1 - 2 * 0.5 / (1 + 1)
    assert optimizer.param_groups[0]["lr"] == 0.25 and optimizer.param_groups[0]["initial_lr"] == 0.5


def test_at_one_the_optimizer_is_left_alone():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.5)
    assert keep(optimizer) is optimizer
    assert not optimizer._optimizer_step_pre_hooks and not hasattr(optimizer, "lr_scale")


def test_the_scales_are_searched_by_default_around_1():
    domains = {d.path: d for d in Space.of(compose([f"data={HERE}:Data", f"model={HERE}:Lit"])).domains()}
    for key in ("optimizer.keep.lr_scale", "optimizer.keep.weight_decay_scale"):
        assert domains[key].default == 1 and domains[key].values.log and domains[key].values.low * domains[key].values.high == 1


@pytest.mark.parametrize(("decay", "decays"), [(0.01, True), (0.0, False)])
def test_a_trial_says_whether_weights_are_decayed(trained, decay, decays):
    assert trained(f"model.Lit.decay={decay}")[2].decays is decays
