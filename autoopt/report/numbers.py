"""Scores, gains and times as text."""

from math import floor, isclose, isfinite, log10

DECIMALS = 4
"""Of values below 10, such as an accuracy."""


def number(value: float, *beside: float, sign: str = "") -> str:
    """A value with as many decimals as its size needs: `0.8897`, `12.35`, `23911`, `0.000123`.

    Args:
        beside: the values that are shown with it, such as its interval; the greatest of all decides on the decimals.
        sign: `+` shows the sign of a positive value, too.
    """
    greatest = max((abs(v) for v in (value, *beside) if isfinite(v)), default=0.0)
    magnitude = floor(log10(greatest)) if greatest else 0
    if magnitude < -DECIMALS - 2:
        return f"{value:{sign}.3g}"
    decimals = DECIMALS if -DECIMALS < magnitude < 1 else max(0, (3 if magnitude > 0 else 2) - magnitude)
    return f"{value:{sign}.{decimals}f}"


def with_interval(value: float, interval: tuple[float, float], *beside: float, sign: str = "") -> str:
    """`0.9532 ± 0.0041`, with as many decimals as the values that are shown with it; `0.9532 (0.8123 to 1.0000)` where the
    interval is cut at one end."""
    low, high = interval
    if not isfinite(low):
        return number(value, *beside, sign=sign)
    half = (high - low) / 2
    if not isclose(low + half, value, abs_tol=1e-3 * half):
        text, *ends = (number(each, value, low, high, *beside, sign=sign) for each in (value, low, high))
        return f"{text} ({' to '.join(ends)})"
    return f"{number(value, half, *beside, sign=sign)} ± {number(half, value, *beside)}"


def signed_interval(value: float, interval: tuple[float, float]) -> str:
    """`+0.0060, 95 % interval +0.0040 to +0.0080`; the value alone where nothing is known or there is no variance."""
    low, high = interval
    text = number(value, low, high, sign="+")
    if low < high and isfinite(low):
        text += f", 95 % interval {number(low, value, high, sign='+')} to {number(high, value, low, sign='+')}"
    return text


def duration(seconds: float) -> str:
    """Seconds as `42 s`, `3:20` or `1:03:20`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
