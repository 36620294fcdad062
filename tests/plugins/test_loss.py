from functools import partial

import pytest
import torch
from torch.nn.functional import one_hot

from autoopt.data.task import Task
from autoopt.domain import Unavailable
from autoopt.plugins.loss.bce import bce
from autoopt.plugins.loss.cross_entropy import cross_entropy
from autoopt.plugins.loss.focal import focal
from autoopt.plugins.loss.huber import huber
from autoopt.plugins.loss.keep import keep
from autoopt.plugins.loss.logit_adjusted import logit_adjusted
from autoopt.plugins.loss.mae import mae
from autoopt.plugins.loss.mse import mse
from autoopt.plugins.loss.quantile import quantile

COUNTS = torch.tensor([60, 30, 10])
torch.manual_seed(0)
OUTPUTS = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))  # others than the targets that a test draws
TARGETS = torch.tensor([0, 1, 2, 0, 0, 1, 2])
LOG_P = OUTPUTS - OUTPUTS.exp().sum(1, keepdim=True).log()


def test_cross_entropy_is_the_mean_of_minus_log_p():
    expected = -LOG_P[torch.arange(7), TARGETS].mean()
    torch.testing.assert_close(cross_entropy(COUNTS)(OUTPUTS, TARGETS), expected)


def test_smoothing_moves_mass_to_all_classes():
    q = 0.9 * one_hot(TARGETS, 3) + 0.1 / 3
    torch.testing.assert_close(cross_entropy(COUNTS, label_smoothing=0.1)(OUTPUTS, TARGETS), -(q * LOG_P).sum(1).mean())


def test_probabilities_weigh_the_classes():
    q = torch.rand(7, 3).softmax(1)
    torch.testing.assert_close(cross_entropy(COUNTS)(OUTPUTS, q), -(q * LOG_P).sum(1).mean())
    smooth = 0.8 * q + 0.2 / 3
    torch.testing.assert_close(cross_entropy(COUNTS, label_smoothing=0.2)(OUTPUTS, q), -(smooth * LOG_P).sum(1).mean())


def test_balanced_weights_count_each_class_alike():
    weight = 100 / (3 * COUNTS)
    assert (weight * COUNTS).sum() == pytest.approx(100)  # an example counts 1 on average
    expected = -(weight[TARGETS] * LOG_P[torch.arange(7), TARGETS]).mean()
    torch.testing.assert_close(cross_entropy(COUNTS, class_weight="balanced")(OUTPUTS, TARGETS), expected)


def test_weights_count_an_example_by_its_own_class_however_its_target_is_smoothed():
    weight, smooth = 100 / (3 * COUNTS), 0.8 * one_hot(TARGETS, 3) + 0.2 / 3
    expected = -(weight[TARGETS] * (smooth * LOG_P).sum(1)).mean()
    torch.testing.assert_close(cross_entropy(COUNTS, label_smoothing=0.2, class_weight="balanced")(OUTPUTS, TARGETS), expected)


def test_smoothing_of_weighed_classes_leads_to_the_class_of_an_example():
    """Of 24 examples of a class and one of another; weights of the smoothed mass led all of them to the rare class."""
    targets, outputs = (torch.arange(25) == 0).long(), torch.zeros(25, 2, requires_grad=True)
    cross_entropy(torch.bincount(targets), label_smoothing=0.2, class_weight="balanced")(outputs, targets).backward()
    assert torch.equal((-outputs.grad).argmax(1), targets)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_indices_and_probabilities_have_the_same_loss(class_weight, smoothing):
    for loss in (cross_entropy(COUNTS, class_weight=class_weight, label_smoothing=smoothing), focal(COUNTS, class_weight=class_weight)):
        torch.testing.assert_close(loss(OUTPUTS, TARGETS), loss(OUTPUTS, one_hot(TARGETS, 3).float()))


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_a_rarer_class_has_to_win_by_a_greater_margin(tau):
    """Equation 10 of the paper, the pairwise form: `log(1 + sum over the other classes of (π' / π)^tau exp(f' - f))`."""
    expected = []
    for outputs, target in zip(OUTPUTS, TARGETS, strict=True):
        others = [((COUNTS[k] / COUNTS[target]) ** tau * (outputs[k] - outputs[target]).exp()) for k in range(3) if k != target]
        expected.append(torch.stack(others).sum().log1p())
    loss = logit_adjusted(COUNTS, tau=tau)
    torch.testing.assert_close(loss(OUTPUTS, TARGETS), torch.stack(expected).mean())
    torch.testing.assert_close(loss(OUTPUTS, one_hot(TARGETS, 3).float()), loss(OUTPUTS, TARGETS))
    assert torch.isfinite(logit_adjusted(torch.tensor([60, 30, 0]), tau=tau)(OUTPUTS, TARGETS))


def test_the_outputs_decide_as_if_all_classes_were_equally_frequent():
    """Where the inputs say nothing, the best outputs are equal, though nine of ten examples are of one class."""
    targets, outputs = (torch.arange(100) < 90).long(), torch.zeros(2, requires_grad=True)
    logit_adjusted(torch.bincount(targets))(outputs.expand(100, 2), targets).backward()
    torch.testing.assert_close(outputs.grad, torch.zeros(2))


def test_a_rare_class_has_its_share_of_the_gradient_over_many_batches():
    """One example in a hundred is rare: it is missing in most batches of 32, and half of the whole gradient is its."""
    targets, batches = (torch.arange(3200) % 100 == 0).long(), torch.randperm(3200, generator=torch.Generator().manual_seed(0)).split(32)
    loss = cross_entropy(torch.bincount(targets), class_weight="balanced")
    outputs = torch.zeros(3200, 2, requires_grad=True)
    for batch in batches:
        loss(outputs[batch], targets[batch]).backward()
    shares = outputs.grad.abs().sum(1)
    assert (shares[targets == 1].sum() / shares.sum()).item() == pytest.approx(0.5)


def test_balanced_probabilities_are_weighed_class_by_class():
    q, weight = one_hot(TARGETS, 3).float(), 100 / (3 * COUNTS)
    expected = -(q * weight * LOG_P).sum(1).mean()
    torch.testing.assert_close(cross_entropy(COUNTS, class_weight="balanced")(OUTPUTS, q), expected)


def test_a_class_without_examples_does_no_harm():
    assert torch.isfinite(cross_entropy(torch.tensor([5, 5, 0]), class_weight="balanced")(OUTPUTS, TARGETS.clamp(max=1)))


def test_cross_entropy_of_half_precision_is_computed_in_single():
    loss = cross_entropy(COUNTS, class_weight="balanced")(OUTPUTS.bfloat16(), TARGETS)
    assert loss.dtype == torch.float32


def test_mse_is_the_mean_square():
    targets = torch.randn(7, 3)
    torch.testing.assert_close(mse(Task("regression"))(OUTPUTS, targets), ((OUTPUTS - targets) ** 2).mean())


def test_mae_is_the_mean_distance():
    targets = torch.randn(7, 3)
    torch.testing.assert_close(mae(Task("regression"))(OUTPUTS, targets), (OUTPUTS - targets).abs().mean())


@pytest.mark.parametrize("delta", [0.3, 1.5])
def test_huber_is_square_near_and_straight_far(delta):
    targets = torch.randn(7, 3)
    e = (OUTPUTS - targets).abs()
    assert e.min() < delta < e.max()
    expected = torch.where(e <= delta, e**2 / 2, delta * (e - delta / 2)).mean()
    torch.testing.assert_close(huber(Task("regression"), delta=delta)(OUTPUTS, targets), expected)


@pytest.mark.parametrize("loss", [mse, mae, huber, partial(quantile, level=0.5)])
def test_distances_are_not_for_classes(loss):
    with pytest.raises(Unavailable, match=r"(mse|mae|huber|quantile) is for regression, the task is classification"):
        loss(Task("classification"))


def test_quantile_weighs_targets_above_and_below():
    targets = torch.randn(7, 3)
    e = targets - OUTPUTS
    expected = (0.8 * e.clamp(min=0) + 0.2 * (-e).clamp(min=0)).mean()
    torch.testing.assert_close(quantile(Task("regression"), level=0.8)(OUTPUTS, targets), expected)


def test_quantile_is_least_where_its_share_of_the_targets_lies_below():
    targets, loss = torch.arange(100.0)[:, None], quantile(Task("regression"), level=0.9)
    values = torch.stack([loss(torch.full((100, 1), float(guess)), targets) for guess in range(100)])
    assert values.argmin() in (89, 90)


def test_bce_tells_each_class_from_all_others():
    p, loss = 1 / (1 + (-OUTPUTS).exp()), bce(Task("classification"), threshold=None)
    for q in (one_hot(TARGETS, 3).float(), torch.rand(7, 3).softmax(1)):
        expected = -(q * p.log() + (1 - q) * (1 - p).log()).sum(1).mean()
        torch.testing.assert_close(loss(OUTPUTS, q), expected)
    torch.testing.assert_close(loss(OUTPUTS, TARGETS), loss(OUTPUTS, one_hot(TARGETS, 3).float()))


@pytest.mark.parametrize(("threshold", "present"), [(0.2, [1.0, 1.0, 0.0]), (0.3, [1.0, 0.0, 0.0]), (0.0, [1.0, 1.0, 1.0])])
def test_bce_takes_a_mixed_class_for_present_above_a_share(threshold, present):
    loss, mixed = bce(Task("classification"), threshold=threshold), torch.tensor([[0.6, 0.3, 0.1]])
    expected = bce(Task("classification"), threshold=None)(OUTPUTS[:1], torch.tensor([present]))
    torch.testing.assert_close(loss(OUTPUTS[:1], mixed), expected)
    assert threshold != 0.2 or torch.equal(bce(Task("classification"))(OUTPUTS[:1], mixed), expected)


@pytest.mark.parametrize("classes", [10, 100])
def test_the_gradient_of_bce_at_the_right_class_is_that_of_cross_entropy_however_many_classes_there_are(classes):
    targets, gradients = torch.arange(8) % classes, []
    for loss in (bce(Task("classification")), cross_entropy(torch.ones(classes))):
        outputs = torch.full((8, classes), -5.0, requires_grad=True)  # most outputs are far from a class, as soon as training has begun
        loss(outputs, targets).backward()
        gradients.append(outputs.grad[torch.arange(8), targets])
    torch.testing.assert_close(*gradients, rtol=0.15, atol=0)


def test_bce_asks_for_each_label_by_itself():
    q, p = torch.tensor([[1.0, 1, 0], [0, 0, 0], [1, 0, 1]]), 1 / (1 + (-OUTPUTS[:3]).exp())
    loss = bce(Task("multilabel"), multilabel_only=True)
    torch.testing.assert_close(loss(OUTPUTS[:3], q), -(q * p.log() + (1 - q) * (1 - p).log()).sum(1).mean())


def test_bce_is_not_for_values_and_can_be_kept_from_classes():
    with pytest.raises(Unavailable, match="bce is for multilabel and classification, the task is regression"):
        bce(Task("regression"))
    with pytest.raises(Unavailable, match="bce is for multilabel, the task is classification"):
        bce(Task("classification"), multilabel_only=True)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_weighs_by_what_is_missing(gamma):
    p = LOG_P[torch.arange(7), TARGETS].exp()
    torch.testing.assert_close(focal(COUNTS, gamma=gamma)(OUTPUTS, TARGETS), ((1 - p) ** gamma * -p.log()).mean())
    q = torch.rand(7, 3).softmax(1)
    expected = -(q * (1 - LOG_P.exp()) ** gamma * LOG_P).sum(1).mean()
    torch.testing.assert_close(focal(COUNTS, gamma=gamma)(OUTPUTS, q), expected)


def test_focal_without_focus_is_cross_entropy():
    torch.testing.assert_close(focal(COUNTS, gamma=0.0)(OUTPUTS, TARGETS), cross_entropy(COUNTS)(OUTPUTS, TARGETS))


def test_balanced_focal_counts_each_class_alike():
    weight, p = (100 / (3 * COUNTS))[TARGETS], LOG_P[torch.arange(7), TARGETS].exp()
    torch.testing.assert_close(focal(COUNTS, class_weight="balanced")(OUTPUTS, TARGETS), (weight * (1 - p) ** 2 * -p.log()).mean())


def test_focal_of_a_certain_answer_has_a_finite_gradient():
    outputs = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    focal(COUNTS, gamma=0.5)(outputs, torch.tensor([0])).backward()
    assert torch.isfinite(outputs.grad).all()


@pytest.mark.parametrize("loss", [mae(Task("regression")), huber(Task("regression")), bce(Task("classification")), focal(COUNTS)])
def test_losses_of_half_precision_are_computed_in_single(loss):
    assert loss(OUTPUTS.bfloat16(), one_hot(TARGETS, 3).float()).dtype == torch.float32


def test_keep_gives_the_modules_own():
    assert keep(mse) is mse
