"""A curve in one line of text."""

from collections.abc import Sequence
from math import isfinite

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 32


def sparkline(values: Sequence[float]) -> str:
    """The values as bars from the least to the greatest; of a long curve, evenly spaced ones, the first and the last among them."""
    count = min(WIDTH, len(values))
    shown = [values[round(place * (len(values) - 1) / max(1, count - 1))] for place in range(count)]
    finite = [value for value in shown if isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] if isfinite(value) else "?" for value in shown)
