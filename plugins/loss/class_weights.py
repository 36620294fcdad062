"""Shared by the losses that weigh classes."""

from torch import Tensor

from autoopt.domain import one_of


def class_weights(class_counts: Tensor, class_weight: str) -> Tensor | None:
    """`N / (K * class_counts)` if `balanced`, else None: all classes count equally, and an example counts 1 on average.

    Raises:
        ValueError: `class_weight` is neither `balanced` nor `none`.
    """
    one_of("none", "balanced", class_weight=class_weight)
    return class_counts.sum() / (len(class_counts) * class_counts.clamp(min=1)) if class_weight == "balanced" else None
