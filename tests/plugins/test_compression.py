import copy
import itertools
from types import SimpleNamespace

import lightning.pytorch as L
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from autoopt.config import compose
from autoopt.data.feed import Feed
from autoopt.data.task import Task
from autoopt.deployment.onnx import OnnxModel, to_onnx
from autoopt.deployment.packed import Packed, kernels, unpacked
from autoopt.deployment.quantized import HISTOGRAM_LEVELS
from autoopt.deployment.structure import describe_modules, restore
from autoopt.domain import Unavailable
from autoopt.module.chosen import Chosen
from autoopt.module.embedded import embedded
from autoopt.module.groups import train_alike
from autoopt.orders import Train
from autoopt.plugins.compression.distill import distill
from autoopt.plugins.compression.half import half
from autoopt.plugins.compression.low_rank import Factorised, low_rank
from autoopt.plugins.compression.onnx import onnx as onnxruntime_form
from autoopt.plugins.compression.prune_magnitude import prune_magnitude
from autoopt.plugins.compression.prune_structured import prune_structured
from autoopt.plugins.compression.quantize_aware import FakeActivation, FakeWeight, quantize_aware
from autoopt.plugins.compression.quantize_dynamic import quantize_dynamic
from autoopt.plugins.compression.quantize_static import quantize_static
from autoopt.plugins.compression.weight_sharing import weight_sharing
from autoopt.plugins.model.cnn import cnn
from autoopt.plugins.model.mlp import mlp
from autoopt.plugins.model.recurrent import recurrent
from autoopt.plugins.model.resnet import resnet
from autoopt.plugins.model.transformer import transformer
from autoopt.space import Space
from autoopt.testing.compression import stored_bytes
from autoopt.trial import metrics
from autoopt.trial.run import prepare, run

pytestmark = pytest.mark.usefixtures("quick_exporter")

IMAGE = Task("classification", (1, 8, 8), 10)
TABLE = Task("regression", (6,), 2)
SEQUENCE = Task("classification", (7, 5), 3)
CODES = Task("classification", (4,), 2, categories=(1000,))
TOKENS = Task("classification", (9,), 3, tokens=40)


def untrained(model, epochs, loss=None, before_epoch=None):
    return model.eval()


def images(count=16):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def batches(inputs, targets=None):
    targets = torch.arange(len(inputs)) % 3 if targets is None else targets
    return list(zip(inputs.split(8), targets.split(8), strict=True))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def net():
    """With batch norms as they are after a training."""
    model = cnn(IMAGE, width=16)
    model.train()(images(64))
    return model.eval()


@torch.no_grad()
def outputs(model, inputs):
    return model(inputs)


class Mine(nn.Module):
    """A user's network: a residual block over the image, a depthwise convolution, a group norm, and a shape of which its code is sure."""

    def __init__(self):
        super().__init__()
        self.inner, self.back = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 1, 1)
        self.up, self.norm = nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16)
        self.depthwise, self.over = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8 * 64, 10)

    def forward(self, inputs):
        inputs = inputs + self.back(self.inner(inputs).relu())
        found = self.over(self.depthwise(self.norm(self.up(inputs)).relu()).relu())
        return self.head(found.relu().view(-1, 8 * 64))


# half


@pytest.mark.parametrize(("dtype", "digits"), [("bfloat16", 8), ("float16", 11)])
def test_half_stores_16_bits_and_stays_close(dtype, digits):
    model, inputs = cnn(IMAGE).eval(), images()
    smaller = half(model, batches(inputs), dtype=dtype)
    floating = [t for t in smaller.state_dict().values() if t.is_floating_point()]
    assert {t.dtype for t in floating} == {getattr(torch, dtype)}
    expected, found = outputs(model, inputs), outputs(smaller, inputs)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 4 * 2.0**-digits * expected.abs().max()
    assert (
        torch.equal(outputs(smaller.to("cpu"), inputs), found)
        and smaller.state_dict().keys() == half(model, batches(inputs)).state_dict().keys()
    )


@pytest.mark.parametrize(("dtype", "computed"), [("bfloat16", torch.bfloat16), ("float16", torch.float32)])
def test_half_computes_float16_in_float32_on_a_cpu(dtype, computed):
    class Watched(nn.Linear):
        def forward(self, inputs):
            seen.append((self.weight.dtype, inputs.dtype))
            return super().forward(inputs)

    seen, inputs = [], torch.rand(8, 6)
    half(nn.Sequential(Watched(6, 2)), batches(inputs), dtype=dtype)(inputs)
    assert seen == [(computed, computed)]


def test_half_leaves_the_given_model_and_its_mode():
    model = cnn(IMAGE).eval()
    smaller = half(model, batches(images()))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not smaller.model.training


def test_half_keeps_counters_and_tokens_whole():
    assert half(cnn(IMAGE), batches(images())).state_dict()["model.1.num_batches_tracked"].dtype == torch.int64
    tokens = torch.arange(36).view(4, 9)
    assert half(mlp(TOKENS).eval(), batches(tokens))(tokens).shape == (4, 3)


class Coded(nn.Module):
    """A user's network that looks up the last column of a table; its author casts the numbers beside it, or not."""

    def __init__(self, casts):
        super().__init__()
        self.casts, self.embedding = casts, nn.Embedding(1000, 4)
        self.head = nn.Sequential(nn.Linear(7, 128), nn.ReLU(), nn.Linear(128, 2))

    def forward(self, inputs):
        vectors = self.embedding(inputs[:, 3].long())
        numbers = inputs[:, :3].to(vectors.dtype) if self.casts else inputs[:, :3]
        return self.head(torch.cat([numbers, vectors], 1))


class Positions(nn.Module):
    """A network that looks up positions, which do not come from its inputs."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(6, 4), nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(inputs[:, :, None] * self.embedding(torch.arange(6))).mean(1)


def coded_rows():
    return torch.cat([torch.rand(64, 3), torch.arange(0, 960, 15.0)[:, None]], 1)


@pytest.mark.parametrize("make", [lambda: embedded(CODES, mlp), lambda: Coded(casts=True)], ids=["ours", "own"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_keeps_the_codes_of_categories(make, dtype):
    """In bfloat16, 257 would be 256."""
    model, inputs = make().eval(), coded_rows()
    smaller = half(model, batches(inputs), dtype=dtype)
    looked_up = []
    smaller(inputs)
    network = smaller._dense[0] if dtype == "float16" else smaller.model
    (table,) = (module for module in network.modules() if isinstance(module, nn.Embedding))
    table.register_forward_pre_hook(lambda _, given: looked_up.append(given[0]))
    expected, found = outputs(model, inputs), outputs(smaller, inputs)
    assert torch.equal(looked_up[0], inputs[:, 3].long())
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


def test_half_says_where_codes_and_numbers_cannot_be_told_apart():
    with pytest.raises(Unavailable, match=r"looks up codes in its floating inputs, .* and does not cast its numbers"):
        half(Coded(casts=False).eval(), batches(coded_rows()))
    assert half(Coded(casts=False).eval(), batches(coded_rows()), dtype="float16")(coded_rows()).shape == (64, 2)
    assert half(Positions().eval(), batches(torch.rand(16, 6))).casts, "positions are no codes"


# distill


def distilled(model, inputs, targets, student, **values):
    """The student that is trained, what it is trained with, and the model's argument."""
    seen = {}

    def finetune(model, epochs, loss=None):
        seen.update(student=model, epochs=epochs, loss=loss)
        return model

    def build(**arguments):
        seen["built"] = {name: value(32) for name, value in arguments.items()}
        return student

    distill(model, batches(inputs, targets), finetune, build, **values)
    return SimpleNamespace(**seen)


def test_distill_is_the_mixture_of_task_loss_and_divergence(net):
    inputs, student = images(), cnn(IMAGE, width=8)
    seen = distilled(net, inputs, None, student, share=0.25, temperature=3.0, weight=0.7, epochs=6)
    assert seen.student is student and seen.epochs == 6 and seen.built == {"width": 8}
    logits, task_loss = student(inputs), torch.tensor(2.0)
    p, q = F.softmax(outputs(net, inputs) / 3, 1), F.softmax(logits / 3, 1)
    expected = 0.3 * task_loss + 0.7 * 9 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(seen.loss(inputs, logits, task_loss), expected)


def test_distill_teaches_by_gradients_of_the_student_alone(net):
    seen = distilled(net, images(), None, cnn(IMAGE, width=8))
    seen.loss(images(), seen.student(images()), torch.tensor(0.0)).backward()
    assert all(p.grad is not None for p in seen.student.parameters())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("targets", [torch.rand(16, 2), torch.ones(16, 2)], ids=["values", "labels"])
def test_distill_takes_the_squared_distance_where_there_are_no_classes(targets):
    model, student, inputs = mlp(TABLE).eval(), mlp(TABLE, width=4), torch.rand(16, 6)
    seen = distilled(model, inputs, targets, student, weight=0.5)
    found, task_loss = student(inputs), torch.tensor(3.0)
    expected = 1.5 + 0.5 * (found - outputs(model, inputs)).square().mean()
    torch.testing.assert_close(seen.loss(inputs, found, task_loss), expected)


FORMS = {
    "labels": lambda scores: (scores > 0).float(),
    "labels as integers": lambda scores: (scores > 0).long(),
    "classes": lambda scores: scores.argmax(1),
    "classes as rows": lambda scores: F.one_hot(scores.argmax(1), 3).float(),
}


class Loaders(L.LightningDataModule):
    """Three labels, or three classes, in one of several forms."""

    def __init__(self, form: str):
        super().__init__()
        self.form = form

    def train_dataloader(self):
        inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(inputs, FORMS[self.form](inputs[:, :3])), 16)

    def val_dataloader(self):
        return self.train_dataloader()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "form", "other"), [("bce", "labels", "labels as integers"), ("cross_entropy", "classes", "classes as rows")]
)
def test_distill_knows_labels_from_classes_in_any_form_that_a_loader_gives_them(loss, form, other, tmp_path):
    def scores(form: str) -> dict[str, float]:
        compression = ("compression=[distill]", "compression.distill.epochs=3", "compression.distill.weight=0.9")
        tree = compose(
            [f"data={__name__}:Loaders", f"data.Loaders.form='{form}'", "model=mlp", f"loss={loss}", "study.epochs=2", *compression]
        )
        world, facts = prepare({"tree": tree, "store": str(tmp_path)})
        order = Train(key="0", recipe=Space.of(tree).fitting(facts["absent"]).baseline(), seed=1, objective="val_loss")
        found = run(world, order.json(), lambda *_: False)["metrics"]
        return {name: value for name, value in found.items() if name.startswith(("val_", "uncompressed_val_"))}

    assert scores(form) == scores(other)


def test_distill_comes_before_what_would_be_lost_by_it():
    tree = compose(["data=digits", "model=cnn", "compression=[prune_magnitude,prune_structured,distill]"])
    order = [technique.name for technique, _ in Chosen(Space.of(tree).baseline()).of("compression")]
    assert order == ["distill", "prune_structured", "prune_magnitude"]


def test_distill_makes_another_argument_smaller(net):
    assert distilled(net, images(), None, cnn(IMAGE, depth=1), argument="depth", share=0.1).built == {"depth": 3}


# low_rank

LAYERS = {
    "linear": (nn.Linear(24, 20), (3, 24)),
    "sequence": (nn.Linear(24, 20, bias=False), (3, 5, 24)),
    "image": (nn.Conv2d(6, 20, 3, stride=2, padding=1, padding_mode="reflect"), (3, 6, 9, 9)),
    "signal": (nn.Conv1d(6, 20, 5, dilation=2, bias=False), (3, 6, 30)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_low_rank_loses_the_discarded_singular_values(kind):
    layer, shape = copy.deepcopy(LAYERS[kind][0]), LAYERS[kind][1]
    (pair,) = low_rank(nn.Sequential(layer), untrained, energy=0.6)
    values = torch.linalg.svdvals(layer.weight.flatten(1))
    rank = len(pair[0].weight)
    lost = (pair.weight - layer.weight).square().sum()
    torch.testing.assert_close(lost, values[rank:].square().sum())
    share = values.square().cumsum(0) / values.square().sum()
    assert share[rank - 1] >= 0.6 > share[rank - 2]
    inputs = torch.rand(shape)
    wanted = copy.deepcopy(layer)
    wanted.weight = nn.Parameter(pair.weight.detach())
    torch.testing.assert_close(pair(inputs), wanted(inputs))
    assert sum(p.numel() for p in pair.parameters()) < sum(p.numel() for p in layer.parameters())


def test_low_rank_is_exact_where_the_weights_are_of_that_rank():
    layer = nn.Linear(24, 20)
    layer.weight = nn.Parameter(torch.rand(20, 2) @ torch.rand(2, 24))
    model = nn.Sequential(layer, nn.ReLU(), nn.Linear(20, 2))
    smaller = low_rank(model, untrained, energy=0.99)
    assert isinstance(smaller[0], Factorised) and type(smaller[2]) is nn.Linear
    wide = low_rank(nn.Sequential(layer), untrained, energy=1 - 1e-7)
    torch.testing.assert_close(wide(torch.ones(1, 24)), layer(torch.ones(1, 24)))


def test_low_rank_works_in_layers_that_read_each_others_weights():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 64, batch_first=True), 1).eval()
    smaller, inputs = low_rank(model, untrained, energy=0.5), torch.rand(2, 5, 16)
    slow = smaller(inputs)
    torch.testing.assert_close(outputs(smaller, inputs), slow.detach(), atol=1e-5, rtol=1e-4)
    assert isinstance(smaller.layers[0].linear1, Factorised)


def test_low_rank_says_where_it_cannot_help():
    with pytest.raises(Unavailable, match="no linear or convolutional layers"):
        low_rank(nn.Sequential(nn.Embedding(8, 2)), untrained)
    for layer, energy in ((nn.Linear(8, 8), 0.99), (nn.Linear(8, 1), 0.5)):
        model, inputs = nn.Sequential(layer), torch.rand(3, 8)
        same = low_rank(model, untrained, energy=energy)
        assert type(same[0]) is nn.Linear and torch.equal(same(inputs), model(inputs)), "there is nothing to win"


# prune_magnitude


def test_prune_magnitude_keeps_the_largest(net):
    pruned = unpacked(prune_magnitude(net, untrained, sparsity=0.7, epochs=0))
    for (name, before), after in zip(kernels(net).items(), kernels(pruned).values(), strict=True):
        kept = after != 0
        assert (~kept).sum() == round(0.7 * before.numel()), name
        assert torch.equal(after[kept], before[kept])
        assert before[kept].abs().min() >= before[~kept].abs().max()
    for name, before in net.named_parameters():
        assert before.ndim > 1 or torch.equal(dict(pruned.named_parameters())[name], before)


def test_norms_of_any_shape_are_not_pruned():
    pruned = unpacked(prune_magnitude(nn.Sequential(nn.Linear(8, 8), nn.LayerNorm((4, 8))), untrained, sparsity=0.7, epochs=0))
    assert (pruned[1].weight == 1).all() and not pruned[0].weight.all()


def test_prune_magnitude_follows_the_cubic_schedule_in_one_training(net):
    """So that the learning rate goes through its schedule once, and not again for each step."""
    seen, trainings = [], []

    def finetune(model, epochs, loss=None, before_epoch=None):
        trainings.append(epochs)
        optimizer = SGD(model.parameters(), lr=0.1)
        for epoch in range(epochs):
            before_epoch(epoch)
            seen.append([layer.weight == 0 for layer in model if isinstance(layer, nn.Conv2d)])
            F.cross_entropy(model(images()), torch.arange(16) % 10).backward()
            optimizer.step()
        return model.eval()

    smaller = prune_magnitude(net, finetune, sparsity=0.9, epochs=6)
    assert trainings == [6]
    wanted = [0.9 * (1 - (1 - t / 3) ** 3) for t in (1, 2, 3, 3, 3, 3)]
    for share, zeros in zip(wanted, seen, strict=True):
        assert [float(each.float().mean()) for each in zeros] == pytest.approx([share] * 3, abs=0.005)
    for earlier, later in itertools.pairwise(seen):
        assert all((a <= b).all() for a, b in zip(earlier, later, strict=True)), "a zero stays zero"
    left = unpacked(smaller)
    assert torch.equal(left[0].weight == 0, seen[-1][0])
    before, after = net[0].weight[left[0].weight != 0], left[0].weight[left[0].weight != 0]
    assert not torch.equal(before, after)


def test_prune_magnitude_ends_at_its_sparsity_even_if_its_training_was_cut_short(net):
    def finetune(model, epochs, loss=None, before_epoch=None):
        before_epoch(0)
        return model.eval()

    left = unpacked(prune_magnitude(net, finetune, sparsity=0.9, epochs=6))
    assert (left[0].weight == 0).float().mean() == pytest.approx(0.9, abs=0.005)


TRAINED = {
    "low_rank": lambda model, finetune: low_rank(model, finetune, energy=0.7, epochs=1),
    "prune_magnitude": lambda model, finetune: prune_magnitude(model, finetune, epochs=1),
    "prune_structured": lambda model, finetune: prune_structured(model, batches(images()), finetune, epochs=1),
    "quantize_aware": lambda model, finetune: quantize_aware(model, batches(images()), finetune, epochs=1),
    "weight_sharing": lambda model, finetune: weight_sharing(model, finetune, epochs=1),
    "both": lambda model, finetune: weight_sharing(prune_magnitude(model, finetune, epochs=0), finetune, epochs=1),
}


@pytest.mark.parametrize("name", TRAINED)
def test_fine_tuning_keeps_frozen_layers_and_rates(net, name):
    """Under masks, codebooks and factors parameters have other names."""
    net[4].weight.requires_grad, net[7].weight.lr_scale, net[-1].bias.lr_scale = False, 0.25, 0.5
    found = {}

    def finetune(model, epochs, loss=None, before_epoch=None):
        train_alike(model, net)
        layers = {"frozen": "4.", "slow": "7.", "bias": f"{len(net) - 1}.", "usual": "0."}
        for key, start in layers.items():
            own = [(n, p) for n, p in model.named_parameters() if n.startswith(start) and n.endswith("bias") == (key == "bias")]
            found[key] = {(p.requires_grad, p.lr_scale) for n, p in own if "original" not in n or p.requires_grad or key == "frozen"}
        return model.eval()

    TRAINED[name](net, finetune)
    assert {lr_free for lr_free, _ in found["frozen"]} == {False}
    assert (found["slow"], found["bias"], found["usual"]) == ({(True, 0.25)}, {(True, 0.5)}, {(True, 1.0)})


def test_parameters_with_rates_of_their_own_keep_them(net):
    """A student has the names of the trained model, and other weights."""
    student = cnn(IMAGE, width=8)
    net[0].weight.requires_grad = False
    for parameter in student.parameters():
        parameter.lr_scale = 1.0
    train_alike(student, net)
    assert all(p.requires_grad and p.lr_scale == 1.0 for p in student.parameters())


def test_prune_magnitude_stores_what_is_left_and_a_bit_for_each_place():
    model = nn.Sequential(nn.Linear(100, 80))
    smaller = prune_magnitude(model, untrained, sparsity=0.75, epochs=0)
    assert stored_bytes(smaller) == 4 * 2000 + 8000 // 8 + 4 * 80
    assert sum(p.numel() for p in smaller.parameters()) == 2080


# weight_sharing


def entries(smaller):
    """Of each packing: the weights, the codebook, and the entries of either that belong together."""
    for packing in smaller.packings:
        codebook, weight = packing.codebook.detach(), packing().detach()
        yield packing, weight, codebook


@pytest.mark.parametrize(("clusters", "bits"), [(4, 2), (16, 4), (256, 8)])
def test_weight_sharing_has_the_centroids_alone(clusters, bits):
    model = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Linear(64, 40))
    smaller = weight_sharing(model, untrained, clusters=clusters)
    for layer, (packing, weight, codebook) in zip(model, entries(smaller), strict=True):
        before = layer.weight.detach()
        assert metrics.size(packing)["parameters"] == weight.numel()
        assert len(codebook) == clusters and packing.indices.nbytes == weight.numel() * bits // 8
        assert torch.isin(weight, codebook).all()
        nearest = (before.flatten()[:, None] - codebook).abs().min(1).values.view_as(before)
        torch.testing.assert_close((before - weight).abs(), nearest)
        for centroid in weight.unique():
            torch.testing.assert_close(before[weight == centroid].mean(), centroid, atol=1e-5, rtol=1e-4)


def test_weight_sharing_is_exact_for_few_values():
    layer = nn.Linear(40, 30)
    layer.weight.data = torch.tensor([-1.0, 0.0, 2.0, 5.0])[torch.randint(4, (30, 40))]
    smaller = weight_sharing(nn.Sequential(layer), untrained, clusters=4)
    assert torch.equal(unpacked(smaller)[0].weight, layer.weight)


def test_weight_sharing_moves_a_centroid_by_the_mean_of_its_gradients():
    model, inputs, rate = nn.Sequential(nn.Linear(30, 20)), torch.rand(8, 30), 0.1
    smaller = weight_sharing(model, untrained, clusters=4)
    dense = unpacked(smaller)
    dense(inputs).square().sum().backward()
    weight, gradient = dense[0].weight, dense[0].weight.grad
    start = next(iter(smaller.packings)).codebook
    expected = torch.stack([c - rate * gradient[weight == c].mean() for c in start])

    def finetune(model, epochs, loss=None):
        model(inputs).square().sum().backward()
        SGD(model.parameters(), lr=rate).step()
        return model

    tuned = weight_sharing(model, finetune, clusters=4, epochs=1)
    torch.testing.assert_close(tuned.packings[0].codebook, expected)
    assert isinstance(tuned.model[0], nn.Linear) and tuned.model[0].weight is None
    torch.testing.assert_close(outputs(tuned, inputs), outputs(unpacked(tuned), inputs))


def test_weight_sharing_of_a_pruned_network_shares_what_is_left(net):
    pruned = prune_magnitude(net, untrained, sparsity=0.8, epochs=0)
    seen = []

    def finetune(model, epochs, loss=None):
        model(images()).square().sum().backward()
        seen.extend(p.grad for name, p in model.named_parameters() if "codebook" in name)
        return model.eval()

    smaller = weight_sharing(pruned, finetune, clusters=4, epochs=1)
    assert seen and all(gradient is not None for gradient in seen)
    before, after = unpacked(pruned)[4].weight, unpacked(smaller)[4].weight
    assert torch.equal(before == 0, after == 0) and len(after.unique()) == 5
    assert stored_bytes(smaller) < stored_bytes(pruned) / 2
    torch.testing.assert_close(outputs(smaller, images()), outputs(unpacked(smaller), images()))


def test_weight_sharing_leaves_what_is_smaller_than_a_codebook():
    small, inputs = nn.Linear(3, 3), torch.rand(2, 3)
    torch.testing.assert_close(weight_sharing(small, untrained, clusters=256)(inputs), small(inputs))
    with pytest.raises(Unavailable, match="the model has no weight matrices"):
        weight_sharing(nn.BatchNorm1d(3), untrained)


# packed networks


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (lambda: recurrent(SEQUENCE, cell="lstm"), torch.rand(4, 7, 5)),
        (lambda: recurrent(TOKENS, cell="gru"), torch.randint(1, 40, (4, 9))),
        (lambda: transformer(TOKENS), torch.randint(1, 40, (4, 9))),
        (lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), torch.rand(4, 5, 16)),
    ],
    ids=["lstm", "gru", "transformer", "attention"],
)
@pytest.mark.parametrize("technique", [weight_sharing, prune_magnitude])
def test_any_module_may_have_packed_weights(make, inputs, technique):
    model = make().eval()

    def finetune(model, epochs, loss=None, before_epoch=None):
        model.train()(inputs).square().mean().backward()
        return model.eval()

    smaller = technique(model, finetune, epochs=1)
    assert isinstance(smaller, Packed) and stored_bytes(smaller) < stored_bytes(model) / 3
    torch.testing.assert_close(outputs(smaller, inputs), outputs(unpacked(smaller), inputs))
    assert torch.isfinite(outputs(smaller, inputs)).all()


class Tied(nn.Module):
    """A model of language whose head shares the weight of its embedding."""

    def __init__(self):
        super().__init__()
        self.words, self.inner, self.head = nn.Embedding(200, 32), nn.Linear(32, 32), nn.Linear(32, 200, bias=False)
        self.head.weight = self.words.weight

    def forward(self, inputs):
        return self.head(self.inner(self.words(inputs)).tanh()).mean(1)


def trained_further(inputs, seen):
    def finetune(model, epochs, loss=None, before_epoch=None):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for epoch in range(epochs):
            if before_epoch is not None:
                before_epoch(epoch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), inputs[:, 0]).backward()
            optimizer.step()
        seen.append(outputs(model, inputs))
        return model

    return finetune


@pytest.mark.parametrize("technique", [weight_sharing, prune_magnitude])
def test_a_weight_that_layers_share_is_packed_once_and_trained_as_it_is_deployed(technique):
    model, inputs, seen = Tied().eval(), torch.arange(200).view(40, 5), []
    smaller = technique(model, trained_further(inputs, seen), epochs=4)
    torch.testing.assert_close(outputs(smaller, inputs), seen[0])
    whole = 4 * sum(p.numel() for p in model.parameters())
    assert stored_bytes(smaller) < whole / 3 and len(smaller.packings) == 2
    again = restore(describe_modules(smaller, model), smaller.state_dict(), model)
    torch.testing.assert_close(outputs(again, inputs), seen[0])


def test_low_rank_leaves_a_weight_that_layers_share():
    model, inputs, seen = Tied().eval(), torch.arange(200).view(40, 5), []
    smaller = low_rank(model, trained_further(inputs, seen), energy=0.5, epochs=1)
    assert smaller.head.weight is smaller.words.weight and len(smaller.inner) == 2


# prune_structured


def silenced(model, tied):
    """The network with every other channel of these layers always 0, whatever comes in."""
    for layer in (model.get_submodule(name) for names in tied for name in names.split()):
        layer.weight.data[1::2] = 0
        if layer.bias is not None:
            layer.bias.data[1::2] = 0
    return model.eval()


STAGES = ["0 1 3.branch.3 3.branch.4", "3.branch.0 3.branch.1", "4.branch.0 4.branch.1", "5.branch.0 5.branch.1"]
ENDS = ["4.branch.3 4.branch.4 4.shortcut.0 4.shortcut.1", "5.branch.3 5.branch.4 5.shortcut.0 5.shortcut.1"]


@pytest.mark.parametrize(
    ("make", "tied"),
    [
        (lambda: cnn(IMAGE, width=16), ["0 1", "4 5", "7 8"]),
        (lambda: cnn(IMAGE, width=16, convolution="depthwise_separable"), ["0 1 4 5", "7 8 10 11", "13 14"]),
        (lambda: resnet(IMAGE, depth=1, width=16), [*STAGES, *ENDS]),
    ],
    ids=["cnn", "depthwise", "resnet"],
)
@pytest.mark.parametrize("norm", [1, 2])
def test_prune_structured_removes_the_channels_that_say_nothing(make, tied, norm):
    model = silenced(make(), tied)
    pruned = prune_structured(model, batches(images()), untrained, ratio=0.5, norm=norm)
    for name in " ".join(tied).split():
        before, after = model.get_submodule(name), pruned.get_submodule(name)
        assert len(after.weight) == len(before.weight) // 2, name
        assert getattr(after, "out_channels", getattr(after, "num_features", 0)) == len(after.weight), name
    assert type(pruned[-1]) is nn.Linear and pruned[-1].out_features == 10
    torch.testing.assert_close(outputs(pruned, images()), outputs(model, images()))


def test_prune_structured_takes_the_smallest_and_fine_tunes(net):
    net[0].weight.data[[1, 2, 5, 8, 9, 10, 14, 15]] *= 0.01
    net[4].weight.data[:, [1, 2, 5, 8, 9, 10, 14, 15]] *= 0.01
    seen = []
    pruned = prune_structured(net, batches(images()), lambda model, epochs: seen.append((model, epochs)) or model, ratio=0.5, epochs=4)
    assert torch.equal(pruned[0].weight, net[0].weight[[0, 3, 4, 6, 7, 11, 12, 13]])
    assert seen == [(pruned, 4)]


def test_prune_structured_goes_as_far_as_a_users_code_allows():
    model = Mine().eval()
    pruned = prune_structured(model, batches(images()), untrained, ratio=0.5)
    shapes = {name: tuple(p.shape)[:2] for name, p in pruned.named_parameters() if p.ndim > 1}
    wide = {"inner": (16, 1), "back": (1, 16), "up": (8, 1), "depthwise": (8, 1), "over": (8, 8), "head": (10, 512)}
    assert shapes == {f"{name}.weight": shape for name, shape in wide.items()}
    assert (pruned.norm.num_channels, pruned.norm.num_groups, pruned.depthwise.groups) == (8, 4, 8)
    assert outputs(pruned, images()).shape == (16, 10)
    assert all(not module._forward_hooks for module in pruned.modules())


@pytest.mark.parametrize(
    ("make", "inputs", "share"),
    [
        (lambda: mlp(TABLE, connection="dense", depth=3), torch.rand(8, 6), 0.4),
        (lambda: mlp(TOKENS), torch.randint(1, 40, (8, 9)), 0.6),
        (lambda: transformer(SEQUENCE), torch.rand(8, 7, 5), 0.7),
    ],
    ids=["dense", "tokens", "transformer"],
)
def test_prune_structured_takes_tables_tokens_and_sequences(make, inputs, share):
    model = make().eval()
    pruned = prune_structured(model, batches(inputs), untrained, ratio=0.5)
    assert stored_bytes(pruned) < share * stored_bytes(model)
    assert outputs(pruned, inputs).shape == outputs(model, inputs).shape


@pytest.mark.parametrize("make", [lambda: embedded(CODES, mlp), lambda: Coded(casts=True)], ids=["ours", "own"])
def test_prune_structured_leaves_the_entrance_of_embedded_tables(make):
    model, inputs = make().eval(), coded_rows()
    pruned = prune_structured(model, batches(inputs), untrained, ratio=0.5)
    (before, after) = ([m for m in net.modules() if isinstance(m, nn.Linear)] for net in (model, pruned))
    assert after[0].in_features == before[0].in_features and after[0].out_features == before[0].out_features // 2
    (before, after) = (next(m for m in net.modules() if isinstance(m, nn.Embedding)).weight for net in (model, pruned))
    assert torch.equal(before, after) and outputs(pruned, inputs).shape == (64, 2)


@pytest.mark.parametrize(
    ("width", "ratio", "left"),
    [(16, 0.1, 14), (16, 0.3, 11), (16, 0.5, 8), (64, 0.3, 45), (64, 0.8, 13), (10, 0.9, 1), (8, 0.96, 1)],
)
def test_prune_structured_removes_its_ratio(width, ratio, left):
    pruned = prune_structured(cnn(IMAGE, width=width).eval(), batches(images()), untrained, ratio=ratio)
    assert [layer.out_channels for layer in pruned if isinstance(layer, nn.Conv2d)] == [left] * 3


@pytest.mark.parametrize(("ratio", "multiple", "left"), [(0.2, 8, 48), (0.3, 8, 48), (0.9, 8, 8), (0.97, 8, 8), (0.5, 12, 36)])
def test_prune_structured_leaves_multiples(ratio, multiple, left):
    pruned = prune_structured(cnn(IMAGE, width=64).eval(), batches(images()), untrained, ratio=ratio, multiple=multiple)
    assert [layer.out_channels for layer in pruned if isinstance(layer, nn.Conv2d)] == [left] * 3


def test_prune_structured_removes_its_ratio_of_each_block_of_a_group_norm():
    pruned = prune_structured(Mine().eval(), batches(images()), untrained, ratio=0.3)
    assert (pruned.up.out_channels, pruned.inner.out_channels) == (12, 22), "3 of 4 in each of 4 groups, and 22.4 of 32"


def test_prune_structured_leaves_a_weight_that_layers_share():
    model, inputs, seen = Tied().eval(), torch.arange(200).view(40, 5), []
    model.inner = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))
    smaller = prune_structured(model, [(inputs, inputs[:, 0])], trained_further(inputs, seen), epochs=1)
    assert smaller.head.weight is smaller.words.weight and smaller.words.weight.shape == (200, 32)
    assert [layer.weight.shape for layer in (smaller.inner[0], smaller.inner[2])] == [(32, 32), (32, 32)]


def test_prune_structured_says_where_nothing_can_go():
    with pytest.raises(Unavailable, match="no layer has channels that can be removed"):
        prune_structured(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval(), batches(images()), untrained)


# onnx


@pytest.mark.slow
def test_onnx_computes_the_same_in_float32_in_another_runtime(net):
    other = onnxruntime_form(net, batches(images()))
    assert isinstance(other, OnnxModel) and other.stored_parameters == sum(p.numel() for p in net.parameters())
    torch.testing.assert_close(other(images(7)), outputs(net, images(7)), rtol=1e-4, atol=1e-5)
    kinds, weights = graph_of(other)
    assert kinds.count("Conv") == 3 and {w.dtype.name for w in weights.values() if w.ndim > 1} == {"float32"}


def test_onnx_is_what_int8_adds_to_and_is_used_with_neither_int8_nor_zeros():
    space = Space.of(compose(["data=digits", "model=cnn", "device=cpu", "compression=all"]))
    clashing = {frozenset(pair) for pair in clashes(space)}
    assert {frozenset(("onnx", other)) for other in ("quantize_static", "quantize_dynamic", "prune_magnitude", "half")} <= clashing
    assert frozenset(("onnx", "prune_structured")) not in clashing


def clashes(space):
    """The pairs of compressions that no recipe uses together."""
    options = space.options["compression"]
    pairs = itertools.combinations(options, 2)
    return [pair for pair in pairs if options[pair[0]].technique.acts.clash(options[pair[1]].technique.acts)]


# quantize_static, quantize_dynamic, quantize_aware


@pytest.fixture(scope="module")
def trained():
    """A network and its int8 form."""
    torch.manual_seed(0)
    model = cnn(IMAGE, width=16)
    model.train()(images(64))
    return model.eval(), quantize_static(model, batches(images(64)))


def graph_of(smaller):
    graph = onnx.load_from_string(smaller.serialised()).graph
    return [node.op_type for node in graph.node], {i.name: numpy_helper.to_array(i) for i in graph.initializer}


def whole(weights):
    return {name: w for name, w in weights.items() if w.dtype in ("int8", "uint8") and w.ndim > 1}


@pytest.mark.slow
def test_quantize_static_is_close_and_in_int8_throughout(trained):
    model, smaller = trained
    expected, found = outputs(model, images(64)), outputs(smaller, images(64))
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
    kinds, weights = graph_of(smaller)
    assert kinds.count("Conv") == 3 and "BatchNormalization" not in kinds
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(kinds)
    assert len(whole(weights)) == 4 and not [w for w in weights.values() if w.dtype == "float32" and w.ndim > 1]
    assert smaller.stored_parameters == sum(p.numel() for p in model.parameters())


def test_quantize_static_rounds_each_channel_in_its_own_scale(trained):
    model, smaller = trained
    _, weights = graph_of(smaller)
    name, found = next((name, w) for name, w in weights.items() if w.dtype == "int8" and w.ndim == 2)
    scale = model[-1].weight.detach().abs().amax(1) / HISTOGRAM_LEVELS
    wanted = (model[-1].weight.detach() / scale[:, None]).round()
    assert max(abs(w.astype(int)).max() for w in whole(weights).values()) <= HISTOGRAM_LEVELS, "two products with 255 stay within 16 bits"
    assert (torch.tensor(found).float() - wanted).abs().max() <= 1 and (torch.tensor(found) == wanted).float().mean() > 0.99
    torch.testing.assert_close(torch.tensor(weights[name.replace("quantized", "scale")]), scale)


@pytest.mark.slow
def test_quantize_static_takes_the_ranges_as_told(trained, capsys, monkeypatch):
    model, _ = trained
    graph, inputs = to_onnx(model, images(2)), images(64)
    inputs[5, 0, 3, 3] = 50.0
    monkeypatch.setattr("autoopt.deployment.onnx.to_onnx", lambda *_: graph)
    weights = [graph_of(quantize_static(model, batches(inputs), calibration=way))[1] for way in ("minmax", "percentile")]
    everything, percentile = (each["input_scale"].item() for each in weights)
    assert everything == pytest.approx(50 / 255)
    assert percentile == pytest.approx(inputs.flatten().quantile(0.999).item() / 255, rel=0.1)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_quantize_static_of_sorted_classes_is_that_of_shuffled_ones():
    """Classes of other scales, each 600 rows long: the first 512 examples would show one of them alone."""
    classes = torch.arange(4).repeat_interleave(600)
    inputs = torch.rand(2400, 6) * 4.0 ** classes[:, None]
    task = Task("classification", (6,), 4, parts={"train": (inputs, classes), "validation": (inputs, classes)})
    model = mlp(task, width=32, connection="plain").eval()
    expected = outputs(model, inputs)
    smaller = quantize_static(model, Feed(task, {"size": 64}, 0, chunked=True).calibration())
    assert (outputs(smaller, inputs) - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.slow
def test_quantize_static_says_where_there_is_no_int8_form():
    model = recurrent(SEQUENCE).eval()
    with pytest.raises(Unavailable, match=r"only 1% of the weights are in layers that can run in int8; most others are in LSTM$"):
        quantize_static(model, batches(torch.rand(16, 7, 5)))
    with pytest.raises(Unavailable, match=r"only \d% of the weights are in layers that can run in int8; most others are in GRU$"):
        quantize_dynamic(recurrent(SEQUENCE, cell="gru").eval(), batches(torch.rand(16, 7, 5)))


@pytest.mark.slow
def test_quantize_dynamic_is_close_and_takes_ranges_as_it_runs():
    torch.manual_seed(0)
    model, inputs = recurrent(TOKENS, width=32).eval(), torch.randint(1, 40, (16, 9))
    smaller = quantize_dynamic(model, batches(inputs))
    kinds, _ = graph_of(smaller)
    assert "DynamicQuantizeLSTM" in kinds
    assert stored_bytes(smaller) < stored_bytes(model) / 2
    expected = outputs(model, inputs)
    assert (outputs(smaller, inputs) - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.slow
def test_quantize_dynamic_leaves_convolutions_to_others(net):
    with pytest.raises(Unavailable, match=r"only \d% of the weights are in layers that can run in int8"):
        quantize_dynamic(net, batches(images()))


def test_fake_weight_is_rounding_in_each_channel():
    weight = torch.randn(5, 4, 3, 3, requires_grad=True)
    found = FakeWeight()(weight)
    scale = weight.detach().abs().flatten(1).amax(1).view(-1, 1, 1, 1) / HISTOGRAM_LEVELS
    torch.testing.assert_close(found, (weight / scale).round() * scale)
    upstream = torch.randn_like(found)
    found.backward(upstream)
    torch.testing.assert_close(weight.grad, upstream)
    assert torch.equal(FakeWeight()(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_fake_activation_is_rounding_in_its_range():
    fake = FakeActivation(momentum=0.5).train()
    fake(torch.tensor([-1.0, 2.0]))
    fake(torch.tensor([0.5, 4.0]))
    torch.testing.assert_close(fake.range, torch.tensor([-0.5, 3.0]))  # 0 belongs to every range
    fake.eval()
    inputs = torch.tensor([-2.0, -0.3, 0.0, 1.234, 2.9, 7.0], requires_grad=True)
    scale = 3.5 / 255
    zero = round(0.5 / scale)
    wanted = scale * ((inputs / scale + zero).round().clamp(0, 255) - zero)
    found = fake(inputs)
    torch.testing.assert_close(found, wanted.detach())
    assert found[2] == 0
    found.sum().backward()
    assert inputs.grad.tolist() == [0, 1, 1, 1, 1, 0]
    assert fake.range.tolist() == [-0.5, 3.0]


@pytest.mark.parametrize("compress", [prune_magnitude, weight_sharing, low_rank])
def test_the_layout_of_the_weights_in_memory_changes_nothing(compress, net):
    other, inputs = copy.deepcopy(net).to(memory_format=torch.channels_last), images()
    expected, found = (compress(model, untrained, epochs=1) for model in (net, other))
    torch.testing.assert_close(outputs(found, inputs), outputs(expected, inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_fake_activation_keeps_its_range_in_single_precision(dtype):
    """In 16 bits the moving average would stand still; and a GPU's kernel takes a scale in single precision alone."""
    fake = FakeActivation(momentum=0.001).train()
    fake(torch.tensor([-1.0, 2.0], dtype=dtype))
    rounded = fake(torch.tensor([0.0, 4.0], dtype=dtype, requires_grad=True))
    assert (fake.range.dtype, rounded.dtype, rounded.requires_grad) == (torch.float32, dtype, True)
    torch.testing.assert_close(fake.range, torch.tensor([-0.999, 2.002]))


@pytest.mark.slow
def test_quantize_aware_trains_what_it_will_be(net):
    before, inputs = copy.deepcopy(net.state_dict()), images()
    seen = {}

    def finetune(model, epochs, loss=None):
        layers = [layer for layer in model if hasattr(layer, "parametrizations")]
        rounded = [torch.equal(layer.weight, FakeWeight()(layer.parametrizations.weight.original)) for layer in layers]
        seen.update(epochs=epochs, rounded=rounded)
        model.train()
        F.cross_entropy(model(inputs), torch.arange(16) % 10).backward()
        SGD(model.parameters(), lr=0.1).step()
        seen["faked"] = outputs(model.eval(), inputs)
        return model

    smaller = quantize_aware(net, batches(inputs), finetune, epochs=3)
    assert seen["epochs"] == 3 and seen["rounded"] == [True] * 4
    torch.testing.assert_close(outputs(smaller, inputs), seen["faked"], atol=0.05, rtol=0.05)
    assert len(whole(graph_of(smaller)[1])) == 4
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: cnn(IMAGE, width=8), lambda: resnet(IMAGE, depth=1, width=8)], ids=["cnn", "resnet"])
def test_quantize_aware_deploys_the_ranges_that_it_trained(make):
    """Not those of the calibration batches, which are a tenth of what the training shows."""
    layers, inputs = {}, images(32)

    def finetune(model, epochs, loss=None):
        watched = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
        keep = lambda name: lambda _, given: layers.update({name: given[0].detach()})  # noqa: E731
        hooks = [layer.register_forward_pre_hook(keep(name)) for name, layer in watched.items()]
        model.train()(10 * inputs)
        for hook in hooks:
            hook.remove()
        return model.eval()

    smaller = quantize_aware(make().eval(), batches(inputs), finetune)
    deployed = [weight.item() for name, weight in graph_of(smaller)[1].items() if name.endswith("_scale") and weight.size == 1]
    assert len(layers) > 3
    for name, given in layers.items():
        scale = (given.max().clamp(min=0) - given.min().clamp(max=0)).item() / 255
        assert any(found == pytest.approx(scale, rel=1e-3) for found in deployed), name


@pytest.mark.slow
def test_quantize_aware_deploys_the_ranges_of_the_weights_that_are_taken_back():
    """As early stopping takes back the weights of the best epoch."""
    inputs = images(32)

    def finetune(model, epochs, loss=None):
        model.train()(inputs)
        best = copy.deepcopy(model.state_dict())
        for _ in range(20):
            model(100 * inputs)
        model.load_state_dict(best)
        return model.eval()

    smaller = quantize_aware(nn.Sequential(nn.Flatten(), nn.Linear(inputs[0].numel(), 10)).eval(), batches(inputs), finetune)
    scales = [weight.item() for name, weight in graph_of(smaller)[1].items() if name.endswith("_scale") and weight.size == 1]
    assert any(scale == pytest.approx((inputs.max().clamp(min=0) - inputs.min().clamp(max=0)).item() / 255, rel=1e-3) for scale in scales)


def test_quantize_aware_says_where_there_is_nothing_to_round():
    with pytest.raises(Unavailable, match="the model has no linear or convolutional layer"):
        quantize_aware(nn.Flatten(), batches(images()), untrained)


@pytest.mark.parametrize("calibration", ["minmax", "percentile"])
@pytest.mark.slow
def test_a_shorter_last_batch_does_not_spoil_the_calibration(net, calibration):
    uneven = [(part, None) for part in images(37).split(16)]
    assert [len(inputs) for inputs, _ in uneven] == [16, 16, 5]
    assert quantize_static(net, uneven, calibration=calibration)(images(7)).shape == (7, 10)
