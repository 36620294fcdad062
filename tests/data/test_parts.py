"""The parts of the data, and a metric's name on each."""

import pytest

from autoopt.data.parts import on_test
from autoopt.goal import Objective


@pytest.mark.parametrize(
    ("metric", "tested"),
    [
        ("val_accuracy", "test_accuracy"),
        ("val/acc", "test/acc"),
        ("validation/acc", "test/acc"),
        ("valid_acc", "test_acc"),
        ("invalid_acc", "invalid_acc"),
        ("loss/val", "loss/test"),
        ("eval_acc", "eval_acc"),
        ("value", "value"),
        ("interval_val_interval_val", "interval_test_interval_val"),
    ],
)
def test_only_the_word_for_validation_changes(metric, tested):
    assert on_test(metric) == tested
    assert Objective(metric, "maximize").value({tested: 0.5, metric: 0.1 if tested != metric else 0.5}, "test") == 0.5
