from typing import Annotated

from pytorch_optimizer import Prodigy

from autoopt.domain import Bounds, Range, Unavailable


def prodigy(
    params,
    *,
    lr: Annotated[float, Bounds(0)] = 1.0,
    d_coef: Annotated[float, Range(0.1, 10.0, log=True), Bounds(above=0)] = 1.0,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True), Bounds(0)] = 1e-2,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.9,
) -> Prodigy:
    """Adam that finds its rate: `lr * d`, d an estimate from below of the distance from the first weights to the solution.

    `d = max(d, d_coef * r / |s|_1)`, r the running sum of `<g, w_0 - w>` and s that of g, both weighted by d². `lr` is for
    the schedule; it does not enter s, as the authors advise with a warm-up.

    Mishchenko & Defazio 2024, arXiv:2306.06101.

    Raises:
        Unavailable: some layers need another rate.
    """
    if len({group.get("lr_scale", 1.0) for group in params}) > 1:
        marked = any(hasattr(p, "lr_scale") for group in params for p in group["params"])
        cause = "layer_decay" if marked else "the groups of the module's own optimizer have different rates"
        raise Unavailable(f"it finds one rate for all layers, but some layers need another ({cause})")
    return Prodigy(params, lr=lr, betas=(beta1, 0.999), d_coef=d_coef, weight_decay=weight_decay, safeguard_warmup=True)
