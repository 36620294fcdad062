"""autoopt finds a better way to train a PyTorch model under a budget, and says honestly how much better it is."""

from autoopt.domain import Acts, Choice, Range, Unavailable

__all__ = ["Acts", "Choice", "Range", "Unavailable"]
