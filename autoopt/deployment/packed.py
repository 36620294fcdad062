"""Weights that are stored in few bits, and made float32 at their first use."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autoopt.module.norm_layers import gains_and_shifts


class Compact(nn.Module):
    """A network that is stored small and computes in a copy in float32, as fast as before, and no faster; made at its first use."""

    _dense: tuple[nn.Module, ...] = ()

    def dense(self) -> nn.Module:
        """The network in float32."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Any:
        if not self._dense:
            self._dense = (self.dense(),)  # in a tuple, so that it is not registered as a child
        return self._dense[0](inputs)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Compact":
        self._dense = ()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._dense = ()
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_dense"}


class Packed(Compact):
    """A network that stores some of its weights packed.

    A packing is a module with weights of its own, which can be packed again (such as the weights left by pruning, by a codebook).

    Args:
        model: the network, which is not changed.
        packings: by the name of a parameter, the module that returns it.

    Attributes:
        names: of each packing, all names that its parameter has in the network.
    """

    def __init__(self, model: nn.Module, packings: Mapping[str, nn.Module]):
        super().__init__()
        parameters, held = dict(model.named_parameters()), names_of(model)
        self.names = [held[parameters[name]] for name in packings]
        self.packings = nn.ModuleList(packings.values())
        self.model = copy.deepcopy(model)
        for name in chain(*self.names):
            put(self.model, name, None)

    @torch.no_grad()
    def dense(self) -> nn.Module:
        """The network with its weights unpacked."""
        model = copy.deepcopy(self.model)
        for names, packing in zip(self.names, self.packings, strict=True):
            parameter = nn.Parameter(packing())
            for name in names:
                put(model, name, parameter)
        return unpacked(model).eval()


class Unpacking(nn.Module):
    """A parametrization that replaces a weight by what its packing returns."""

    def __init__(self, packing: nn.Module):
        super().__init__()
        self.packing = packing

    def forward(self, _: Tensor) -> Tensor:
        return self.packing()


@contextmanager
def unpacked_network(packed: Packed) -> Iterator[nn.Module]:
    """The network inside of a packed one, with every weight computed from its packing: training it trains the packings."""
    for names, packing in zip(packed.names, packed.packings, strict=True):
        for name in names:
            put(packed.model, name, nn.Parameter(packing().detach(), requires_grad=False))
            parametrize.register_parametrization(*place(packed.model, name), Unpacking(packing))
    if isinstance(packed.model, Packed):
        with unpacked_network(packed.model) as network:
            yield network
    else:
        yield packed.model
    for name in chain(*packed.names):
        parametrize.remove_parametrizations(*place(packed.model, name), leave_parametrized=False)
        put(packed.model, name, None)
    packed._dense = ()


def names_of(model: nn.Module) -> dict[nn.Parameter, list[str]]:
    """The names of each parameter: several, if layers share it, as an embedding and a head may."""
    names = defaultdict[nn.Parameter, list[str]](list)
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                names[parameter].append(f"{path}.{name}" if path else name)
    return names


def place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds a parameter, and the parameter's name there."""
    path, _, last = name.rpartition(".")
    return model.get_submodule(path), last


def put(model: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
    """Set a parameter by its dotted name."""
    module, last = place(model, name)
    module._parameters[last] = parameter
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()  # an RNN keeps a second list of its weights


def unpacked(model: nn.Module) -> nn.Module:
    """A copy of a network with all weights unpacked, in float32."""
    return model.dense() if isinstance(model, Compact) else copy.deepcopy(model)


def kernels(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that make up nearly all bytes, by name: matrices, kernels and the weights of packings; no biases and norms."""
    within = {p for packed in model.modules() if isinstance(packed, Packed) for p in packed.packings.parameters()}
    norms = gains_and_shifts(model)
    return {n: p for n, p in model.named_parameters() if p.is_floating_point() and p not in norms and (p.ndim > 1 or p in within)}


def pack(codes: Tensor, bits: int) -> Tensor:
    """Whole numbers below `2 ** bits` as bytes, uint8; `bits` is 1, 2, 4 or 8."""
    per_byte = 8 // bits
    rows = nn.functional.pad(codes.reshape(-1).to(torch.uint8), (0, -codes.numel() % per_byte)).view(-1, per_byte)
    return (rows << shifts(bits, codes.device)).sum(1, dtype=torch.uint8)


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """The first `count` numbers of `pack`, int64."""
    return ((packed[:, None] >> shifts(bits, packed.device)) & (2**bits - 1)).view(-1)[:count].long()


def shifts(bits: int, device: torch.device) -> Tensor:
    return torch.arange(0, 8, bits, dtype=torch.uint8, device=device)
