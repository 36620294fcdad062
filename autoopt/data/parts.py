"""The parts that examples are split into, and the name of a metric on each."""

import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

PARTS = ("train", "validation", "test")
VALIDATION = re.compile(r"(?<![A-Za-z])val(id(ation)?)?(?![A-Za-z])")


def on_test(metric: str) -> str:
    """The name that a validation metric has on the test part: `val/acc` becomes `test/acc`, `eval_acc` stays."""
    return VALIDATION.sub("test", metric, count=1)


def named_on_test(metrics: Mapping[str, Value]) -> dict[str, Value]:
    """Metrics under the names that they have on the test part; one that a test logs under that name stands before a renamed one."""
    return {on_test(name): metrics[name] for name in sorted(metrics, key=lambda name: name == on_test(name))}
