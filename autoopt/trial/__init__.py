"""One trial: an order in, an outcome out."""

from collections.abc import Callable

Report = Callable[[int, dict[str, float]], bool]
"""Called after every epoch with its number, from 1, and its metrics; says whether to stop."""
