"""The parts that examples are split into, and the name of a metric on each."""

import re

PARTS = ("train", "validation", "test")
VALIDATION = re.compile(r"(?<![A-Za-z])val(idation)?(?![A-Za-z])")


def on_test(metric: str) -> str:
    """The name that a validation metric has on the test part: `val/acc` becomes `test/acc`, `eval_acc` stays."""
    return VALIDATION.sub("test", metric, count=1)
