"""Shared by the losses that weigh classes."""

from torch import Tensor


def class_weights(class_counts: Tensor, class_weight: str) -> Tensor | None:
    """`N / (K * class_counts)` if `balanced`, else None: all classes count equally, and an example counts 1 on average."""
    return class_counts.sum() / (len(class_counts) * class_counts.clamp(min=1)) if class_weight == "balanced" else None
