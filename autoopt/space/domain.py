"""One value of a recipe: a pin, or a domain from which a search chooses it, complete with type, scale, step and default."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from math import exp, isclose, log
from numbers import Real
from random import Random
from typing import Any, Protocol

from autoopt import grammar
from autoopt.domain import Choice, Range
from autoopt.space.condition import ALWAYS, Condition
from autoopt.space.scale import Scale
from autoopt.technique import Param


class Suggester(Protocol):
    """The methods of an Optuna trial by which a domain asks for a value."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False, step: int = 1) -> int: ...
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclass(frozen=True)
class Pin:
    """A value that is fixed."""

    value: Any
    condition: Condition = ALWAYS

    def __str__(self) -> str:
        return grammar.spell(self.value)


@dataclass(frozen=True)
class Domain:
    """A value that a search chooses.

    Args:
        key: what is chosen: a slot, `slot.technique.use`, `slot.technique.argument`, or a setting such as `batches.size`.
        values: what may be chosen, in the value's own type. The scale and the step of a range are final: the signature's
            where the config gives none; its ends lie on its steps.
        scalar: the type of the values; `None` where a choice mixes types.
        default: the value of the baseline.
        narrowed: other choices of a recipe leave only some of the options.
        condition: when a recipe needs this value.
    """

    key: str
    values: Range | Choice
    scalar: type | None
    default: Any
    narrowed: bool = False
    condition: Condition = ALWAYS

    @cached_property
    def path(self) -> str:
        """The name under which a trial records the value; a narrowed choice has another name, because Optuna fixes a name's options."""
        return f"{self.key}({','.join(map(str, self.options))})" if self.narrowed else self.key

    @property
    def options(self) -> tuple[Any, ...]:
        """The options of a choice, the ends of a range."""
        return self.values.options if isinstance(self.values, Choice) else (self.values.low, self.values.high)

    @cached_property
    def scale(self) -> Scale | None:
        """Where its numbers lie from 0 to 1; None where the options are no numbers."""
        return Scale.of(self.values)

    def __str__(self) -> str:
        step = self.values.step if isinstance(self.values, Range) else None
        return grammar.spell(self.values) + (f" in steps of {step}" if step else "")

    @property
    def number(self) -> type[int] | type[float]:
        """The type of a range's values."""
        return int if self.scalar is int else float

    def __contains__(self, value: Any) -> bool:
        if isinstance(self.values, Choice):
            return value in self.options
        if not isinstance(value, Real) or not self.values.low <= float(value) <= self.values.high:
            return False
        given, step = float(value), self.values.step
        near = step is None or isclose(given, on_step(given, self.values, step), abs_tol=1e-6 * step)
        return near and self.number(given) == given

    def accept(self, value: Any) -> Any:
        """The value in the domain's type.

        Raises:
            ValueError: it does not lie in the domain.
        """
        if value not in self:
            raise ValueError(f"{self.path}={value}: expected {self}")
        return self.options[self.options.index(value)] if isinstance(self.values, Choice) else self.number(value)

    def sample(self, random: Random) -> Any:
        """A value at random: uniform over the options, the steps, or the scale of the domain."""
        if isinstance(self.values, Choice):
            return random.choice(self.values.options)
        low, high, step, number = self.values.low, self.values.high, self.values.step, self.number
        if step is not None or (number is int and not self.values.log):
            value = low + (step or 1) * random.randint(0, round((high - low) / (step or 1)))
        elif number is int:  # half a step on both sides, or the ends would be drawn half as often
            value = round(exp(random.uniform(log(low - 0.5), log(high + 0.5))))
        else:
            value = exp(random.uniform(log(low), log(high))) if self.values.log else random.uniform(low, high)
        return number(min(max(value, low), high))

    def nearest(self, value: float) -> Any:
        """The value of a range that is nearest to a number."""
        assert isinstance(self.values, Range)
        near = on_step(min(max(value, self.values.low), self.values.high), self.values, self.values.step)
        return self.number(round(near) if self.number is int else near)

    def suggest(self, trial: Suggester) -> Any:
        """The value that an Optuna trial chooses."""
        if isinstance(self.values, Choice):
            return trial.suggest_categorical(self.path, self.values.options)
        low, high, scale, step = self.values.low, self.values.high, self.values.log, self.values.step
        if self.number is int:
            return trial.suggest_int(self.path, int(low), int(high), log=scale, step=int(step or 1))
        return trial.suggest_float(self.path, low, high, log=scale, step=step)

    def narrow(self, allowed: Callable[[Any], bool]) -> "Pin | Domain":
        """The value with the allowed options only; unchanged if no option is allowed."""
        left = [option for option in self.options if allowed(option)]
        if not left or len(left) == len(self.options):
            return self
        if len(left) == 1:
            return Pin(left[0])
        return replace(self, values=Choice(*left), default=self.default if self.default in left else left[0], narrowed=True)


def parse_node(key: str, node: Any, param: Param) -> Pin | Domain:
    """The pin or the domain that a node of the composed tree gives to an argument; a choice of one value is a pin.

    Raises:
        ValueError: a value is of another type than the argument.
    """
    match grammar.interpret(node):
        case Range() as values:
            return completed(key, values, param)
        case Choice(options=given):
            options = [*{(type(option), option): option for option in map(param.accept, given)}.values()]  # each once: 0.1, 1e-1
            if len(options) == 1:
                return Pin(options[0])
            return Domain(key, Choice(*options), param.scalar, param.default if param.default in options else options[0])
        case value:
            return Pin(param.accept(value))


def completed(key: str, values: Range, param: Param) -> Pin | Domain:
    """A range with the scale and the step of the signature where the config gives none; a range of one step is a pin."""
    advised = param.domain if isinstance(param.domain, Range) else None
    scalar = param.number
    step = values.step or (advised.step if advised else None)
    low, high = scalar(values.low), scalar(on_step(values.high, values, step))
    if low == high:
        return Pin(low)
    scale = (values.log or (advised is not None and advised.log)) and step is None and low > 0
    default = param.default if isinstance(param.default, int | float) else low
    default = on_step(min(max(default, low), high), values, step)
    return Domain(key, Range(low, high, scale, step and scalar(step)), scalar, scalar(default))


def on_step(value: float, values: Range, step: float | None) -> float:
    """The value on the steps of a range that is nearest to `value`."""
    if step is None:
        return value
    near, low, high, unit = (Decimal(str(number)) for number in (value, values.low, values.high, step))
    steps = min(round((near - low) / unit), int((high - low) / unit))
    return float(low + unit * steps)
