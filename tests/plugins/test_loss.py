import pytest
import torch
from torch.nn.functional import one_hot

from autoopt.domain import Unavailable
from autoopt.plugins.loss.cross_entropy import cross_entropy
from autoopt.plugins.loss.keep import keep
from autoopt.plugins.loss.mse import mse
from autoopt.task import Task

COUNTS = torch.tensor([60, 30, 10])
torch.manual_seed(0)
OUTPUTS = torch.randn(7, 3)
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
    w = weight[TARGETS]
    expected = -(w * LOG_P[torch.arange(7), TARGETS]).sum() / w.sum()
    torch.testing.assert_close(cross_entropy(COUNTS, class_weight="balanced")(OUTPUTS, TARGETS), expected)


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


def test_mse_is_not_for_classes():
    with pytest.raises(Unavailable, match="mse is for regression, the task is classification"):
        mse(Task("classification"))


def test_keep_gives_the_modules_own():
    assert keep(mse) is mse
