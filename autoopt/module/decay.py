"""Which parameters weight decay and penalties pull towards zero."""

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch

from torch import Tensor, nn

from autoopt.module.norm_layers import gains_and_shifts

SPARED = re.compile(r"(^|_)(bias|pos|position|positional|positions|cls|class|token|tokens|embed|embedding|scale|gamma|lambda)(_|\d*$)")
"""In the name of a parameter itself, which in torch's layers is `weight`: positions, class tokens and layer scales are added or scale."""


def decays(model: nn.Module) -> Callable[[Tensor], bool]:
    """Whether a parameter of a model may be decayed.

    May not be: vectors, such as biases; the gains of norms, of any shape; those that a module's `no_weight_decay()` names (timm's
    convention: names, or patterns of names, within that module); those whose own names are `SPARED`, such as `pos_embed` or `cls_token`.
    """
    named = {p for name, p in model.named_parameters() if SPARED.search(name.rpartition(".")[2])}
    spared = named | {*named_by_authors(model)} | gains_and_shifts(model)
    return lambda p: p.ndim > 1 and p not in spared


def named_by_authors(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that the modules inside of a model name in `no_weight_decay()`."""
    for module in model.modules():
        if callable(said := getattr(module, "no_weight_decay", None)):
            patterns = [*said()]
            yield from (p for name, p in module.named_parameters() if any(fnmatch(name, pattern) for pattern in patterns))
