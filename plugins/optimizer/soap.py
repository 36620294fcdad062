from typing import Annotated

from pytorch_optimizer import SOAP

from autoopt.domain import Bounds, Range


def soap(
    params,
    *,
    lr: Annotated[float, Range(1e-4, 3e-2, log=True), Bounds(0)] = 3e-3,
    weight_decay: Annotated[float, Range(1e-6, 1.0, log=True), Bounds(0)] = 1e-2,
    beta1: Annotated[float, Range(0.8, 0.99), Bounds(0, below=1)] = 0.95,
    precondition_frequency: Annotated[int, Range(1, 100, log=True), Bounds(1)] = 10,
) -> SOAP:
    """Adam in the eigenbasis of Shampoo's preconditioner: of the running means of `G G^T` and `G^T G`, for each dimension of a weight.

    The basis is renewed by one power iteration every `precondition_frequency` steps; the first step only finds it. Vectors, and
    dimensions above 10000, are not rotated.

    Vyas et al. 2024, arXiv:2409.11321.
    """
    return SOAP(params, lr=lr, betas=(beta1, 0.95), weight_decay=weight_decay, precondition_frequency=precondition_frequency)
