"""What a trial is judged by, against scikit-learn."""

import statistics
from types import SimpleNamespace

import pytest
import sklearn.metrics as sk
import torch
import torchmetrics
from torch import nn

from autoopt.trial import metrics
from autoopt.trial.metrics import METRICS, by, latency, on_resamples, operations, quality_metrics, size

N = 400


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def guesses(generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a fair model over four uneven classes."""
    targets = torch.multinomial(torch.tensor([0.6, 0.25, 0.1, 0.05]), N, replacement=True, generator=generator)
    return torch.randn(N, 4, generator=generator) + 1.5 * nn.functional.one_hot(targets, 4), targets


@pytest.fixture
def estimates(generator) -> tuple[torch.Tensor, torch.Tensor]:
    targets = torch.randn(N, 1, generator=generator) * 50 + 150
    return targets + torch.randn(N, 1, generator=generator) * 20, targets


def theirs(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    found = outputs.argmax(1)
    macro, p = {"average": "macro", "zero_division": 0}, outputs.double().softmax(1)
    there = [k for k in range(outputs.shape[1]) if (targets == k).any()]
    return {
        "auroc": statistics.mean(sk.roc_auc_score(targets == k, p[:, k]) for k in there),
        "ece": calibration_error(p.max(1).values, found == targets),
        "accuracy": sk.accuracy_score(targets, found),
        "balanced_accuracy": sk.balanced_accuracy_score(targets, found),
        "f1": sk.f1_score(targets, found, **macro),
        "recall": sk.recall_score(targets, found, **macro),
        "precision": sk.precision_score(targets, found, **macro),
        "loss": sk.log_loss(targets, p, labels=range(outputs.shape[1])),
    }


def calibration_error(confidence, right):
    """Over 15 bins, each without its lower end."""
    bins = [(confidence > b / 15) & (confidence <= (b + 1) / 15) for b in range(15)]
    return sum(abs(confidence[b].mean() - right[b].double().mean()) * b.double().mean() for b in bins if b.any()).item()


def accuracy(outputs, targets):
    return quality_metrics("classification", outputs, targets, ["accuracy"])["accuracy"]


class Fifth(torchmetrics.Metric):
    """The share of targets that are among the first outputs, counted by hand."""

    def __init__(self, num_classes):
        super().__init__()
        self.add_state("seen", torch.tensor(0.0))
        self.classes = num_classes

    def update(self, outputs, targets):
        self.seen += (outputs.topk(min(5, self.classes)).indices == targets[:, None]).any(1).float().mean()

    def compute(self):
        return self.seen


def test_metrics_of_the_users_own():
    outputs, targets = torch.eye(8), torch.arange(8)
    assert by("Fifth", Fifth, outputs, targets) == 1.0
    assert by("Fifth", Fifth, outputs, targets.flip(0)) == pytest.approx(0.5, abs=0.2)
    assert by("worst", lambda o, t: (o.argmax(1) - t).abs().max(), outputs, targets.flip(0)) == 7
    assert by("Acc", torchmetrics.classification.MulticlassAccuracy, outputs, targets) == 1.0
    assert by("Match", torchmetrics.classification.MultilabelExactMatch, outputs, torch.eye(8).long()) == 1.0
    with pytest.raises(ValueError, match="metrics=broken: ZeroDivisionError: division by zero"):
        by("broken", lambda o, t: 1 / 0, outputs, targets)


def test_classification_equals_scikit_learn(guesses):
    assert quality_metrics("classification", *guesses, METRICS["classification"]) == pytest.approx(theirs(*guesses), abs=1e-6)


@pytest.fixture
def labels(generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a fair model over four labels, of which an example has any number; those of the last are all within [0, 1]."""
    targets = (torch.rand(N, 4, generator=generator) < torch.tensor([0.6, 0.3, 0.1, 0.5])).long()
    outputs = torch.randn(N, 4, generator=generator) + 3 * targets - 1.5
    return torch.cat([outputs[:, :3], outputs[:, 3:].sigmoid()], 1), targets


def test_labels_equal_scikit_learn(labels):
    outputs, targets = labels
    found, macro = outputs > 0, {"average": "macro", "zero_division": 0}
    expected = {
        "f1": sk.f1_score(targets, found, **macro),
        "recall": sk.recall_score(targets, found, **macro),
        "precision": sk.precision_score(targets, found, **macro),
        "accuracy": 1 - sk.hamming_loss(targets, found),
        "exact_match": sk.accuracy_score(targets, found),
        "auroc": sk.roc_auc_score(targets, outputs),
        "loss": 4 * sk.log_loss(targets.flatten(), outputs.double().sigmoid().flatten()),
    }
    assert quality_metrics("multilabel", outputs, targets, METRICS["multilabel"]) == pytest.approx(expected, abs=1e-6)
    within = quality_metrics("multilabel", outputs[:, 3:].repeat(1, 2), targets[:, 3:].repeat(1, 2), ["recall"])
    assert within == {"recall": 1.0}  # torchmetrics takes outputs that are all in [0, 1] for probabilities
    assert quality_metrics("multilabel", outputs[:1], torch.zeros(1, 4).long(), ["f1"]) == {"f1": 0.0}


def test_ties_count_half_in_auroc_and_labels_that_do_not_differ_not_at_all():
    outputs, labels = torch.tensor([[1.0, 5.0], [1.0, 5.0], [2.0, 7.0], [0.0, 7.0]]), torch.tensor([[1, 1], [0, 1], [1, 1], [0, 1]])
    assert quality_metrics("multilabel", outputs, labels, ["auroc"])["auroc"] == sk.roc_auc_score(labels[:, 0], outputs[:, 0]) == 0.875
    assert quality_metrics("multilabel", outputs, torch.ones(4, 2), ["auroc"]) == {"auroc": 0.5}
    assert quality_metrics("classification", outputs, torch.zeros(4).long(), ["auroc"]) == {"auroc": 0.5}


def test_classes_that_never_occur_do_not_count(guesses):
    outputs, targets = guesses
    outputs[:, 3] = -100
    rows = targets != 3
    ours = quality_metrics("classification", outputs[rows], targets[rows], METRICS["classification"])
    assert ours == pytest.approx(theirs(outputs[rows], targets[rows]), abs=1e-5)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_balanced_accuracy_counts_the_classes_that_there_are(guesses):
    outputs, targets = guesses
    rows = targets != 3  # which is found, though it is not there
    ours = quality_metrics("classification", outputs[rows], targets[rows], ["balanced_accuracy"])["balanced_accuracy"]
    assert ours == pytest.approx(sk.balanced_accuracy_score(targets[rows], outputs[rows].argmax(1)))
    always = torch.nn.functional.one_hot(torch.zeros(100, dtype=torch.int64), 2).float()
    rare = (torch.arange(100) < 4).long()
    assert quality_metrics("classification", always, rare, ["accuracy", "balanced_accuracy"]) == {
        "accuracy": pytest.approx(0.96),
        "balanced_accuracy": 0.5,
    }


def test_a_class_that_is_never_found_counts_as_nought(guesses):
    outputs, targets = guesses
    outputs[:, 3] = -5
    assert quality_metrics("classification", outputs, targets, METRICS["classification"]) == pytest.approx(
        theirs(outputs, targets), abs=1e-5
    )


@pytest.mark.parametrize("columns", [1, 2])
def test_regression_equals_scikit_learn(estimates, columns):
    outputs, targets = (t.repeat(1, columns) for t in estimates)
    expected = {
        "rmse": sk.root_mean_squared_error(targets, outputs),
        "mae": sk.mean_absolute_error(targets, outputs),
        "r2": sk.r2_score(targets, outputs),
        "loss": sk.mean_squared_error(targets, outputs),
    }
    assert quality_metrics("regression", outputs, targets, METRICS["regression"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("unit", [1e9, 1e-3, 1e-9])
def test_r2_has_no_unit(estimates, unit):
    outputs, targets = (t.double() for t in estimates)
    assert quality_metrics("regression", outputs * unit, targets * unit, ["r2"])["r2"] == pytest.approx(sk.r2_score(targets, outputs))
    small = torch.tensor([[1e-25], [2e-25]])
    assert (float(metrics.r2(small, small)), float(metrics.r2(small.flip(0), small))) == (1, -3), "whose squares are 0"
    flat = torch.full_like(targets, 0.1 * unit)
    assert [quality_metrics("regression", guess, flat, ["r2"])["r2"] for guess in (flat, flat + unit)] == [1, 0]


def test_resamples_spread_as_the_binomial_distribution_says(guesses):
    outputs, targets = guesses
    drawn, units = on_resamples(accuracy, outputs, targets)
    assert units == N
    p = quality_metrics("classification", outputs, targets, ["accuracy"])["accuracy"]
    assert len(drawn) == metrics.RESAMPLES
    error = (p * (1 - p) / N) ** 0.5
    assert statistics.stdev(drawn) == pytest.approx(error, rel=0.15)  # three standard errors of a deviation of 200
    assert statistics.mean(drawn) == pytest.approx(p, abs=3 * error / len(drawn) ** 0.5)


def test_two_models_are_measured_on_the_same_resamples(guesses):
    outputs, targets = guesses
    torch.manual_seed(1)
    one, _ = on_resamples(accuracy, outputs, targets)
    torch.manual_seed(2)
    assert on_resamples(accuracy, outputs, targets) == (one, N)
    worse = outputs.clone()
    worse[:40] = worse[:40].roll(1, dims=1)  # the same model but for a tenth of the examples
    other, _ = on_resamples(accuracy, worse, targets)
    gains = [a - b for a, b in zip(one, other, strict=True)]
    unpaired = (statistics.variance(one) + statistics.variance(other)) ** 0.5
    assert statistics.stdev(gains) < 0.7 * unpaired


def test_the_examples_of_a_group_are_drawn_together():
    """Groups of 1, 2, 3 and 4 examples, each with one value: the mean's variance is that of drawing groups."""
    groups = torch.tensor([2, 0, 3, 1, 3, 2, 1, 3, 2, 3])
    values = groups[:, None].float()

    def whole(outputs, targets):
        counts = targets.flatten().long().bincount(minlength=4) / torch.tensor([1, 2, 3, 4])
        assert torch.equal(counts, counts.round()) and counts.sum() == 4
        return float(outputs.mean())

    drawn, units = on_resamples(whole, values, values, groups)
    assert units == 4 and len(set(drawn)) > 10


def test_a_large_mean_hides_no_spread():
    torch.manual_seed(0)
    targets = 20000 + 10 * torch.randn(500, 1)
    outputs = targets + 5 * torch.randn(500, 1)
    expected = sk.r2_score(targets.double(), outputs.double())
    assert quality_metrics("regression", outputs, targets, ["r2"])["r2"] == pytest.approx(expected, rel=1e-6)
    assert quality_metrics("regression", outputs[:1], targets[:1], ["r2", "mae"]).keys() == {"mae"}, "of one value there is no r2"


@pytest.mark.parametrize("name", METRICS["regression"])
def test_regression_is_resampled_too(estimates, name):
    drawn, _ = on_resamples(lambda *drawn: quality_metrics("regression", *drawn, [name])[name], *estimates)
    assert min(drawn) < quality_metrics("regression", *estimates, [name])[name] < max(drawn)


def test_size_counts_bytes():
    model = nn.Sequential(nn.Linear(10, 5), nn.BatchNorm1d(5))  # 65 parameters, 10 running statistics, one count of 8 bytes
    assert size(model) == {"parameters": 65.0, "size_mb": (75 * 4 + 8) / 1e6}
    assert size(model.bfloat16())["size_mb"] == (75 * 2 + 8) / 1e6


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_peak_of_memory_is_in_megabytes_whatever_a_system_counts_in(monkeypatch, platform, unit):
    monkeypatch.setattr(metrics.sys, "platform", platform)
    monkeypatch.setattr(metrics.resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=300 * 2**20 // unit))
    assert metrics.peak_memory()["peak_memory_mb"] == 300


def test_latency_is_positive_and_its_tail_is_longer():
    found = latency(nn.Linear(8, 2).train(), torch.rand(3, 8), seconds=0.02)
    assert 0 < found["latency_ms"] <= found["latency_p95_ms"]
    assert found["inference_samples_per_second"] > 0


@pytest.mark.parametrize("times", [[0.002], [0.001, 0.003], [0.001] * 95 + [0.5] * 5])
def test_the_tail_is_no_shorter_than_the_median(monkeypatch, times):
    monkeypatch.setattr(metrics, "timed", lambda *_: times)
    found = latency(nn.Identity(), torch.rand(1, 2))
    assert found["latency_ms"] == pytest.approx(statistics.median(times) * 1e3)
    assert found["latency_ms"] <= found["latency_p95_ms"] <= max(times) * 1e3
    assert found["inference_samples_per_second"] == pytest.approx(256 / statistics.median(times))


def test_where_memory_does_not_hold_many_examples_one_is_timed(capsys):
    class Greedy(nn.Identity):
        error = MemoryError("of 256")

        def forward(self, inputs):
            if len(inputs) > 1:
                raise self.error
            return inputs

    assert latency(Greedy(), torch.rand(5, 2), seconds=0.01).keys() == {"latency_ms", "latency_p95_ms"}
    assert "a batch of 256 does not fit into memory (of 256)" in capsys.readouterr().out
    Greedy.error = ValueError("something else")
    with pytest.raises(ValueError, match="something else"):
        latency(Greedy(), torch.rand(5, 2), seconds=0.01)


def test_latency_is_taken_of_one_example_and_of_many_in_evaluation_mode():
    shapes, model = set(), nn.Dropout()
    model.register_forward_hook(lambda module, inputs, output: shapes.add((tuple(inputs[0].shape), module.training)))
    latency(model, torch.rand(5, 2), seconds=0.01)
    assert shapes == {((1, 2), False), ((256, 2), False)}


def test_operations_count_a_multiplication_and_an_addition_as_two():
    model = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 3, bias=False))
    assert operations(model, torch.rand(9, 6)) == {"flops": 2.0 * (6 * 4 + 4 * 3)}
    assert operations(nn.ReLU(), torch.rand(9, 6)) == {}


def test_weights_that_are_stored_in_another_form_are_counted():
    model = nn.Sequential(nn.Linear(3, 2), nn.Identity())
    model[1].stored_parameters = 100
    assert size(model) == {"parameters": 108.0, "size_mb": pytest.approx(32e-6)}
