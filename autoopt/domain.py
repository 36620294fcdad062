"""What a technique declares about its arguments and its neighbours. Nothing here needs torch."""

from dataclasses import dataclass
from math import inf

Scalar = bool | int | float | str | None


class Unavailable(Exception):
    """Raised by a technique that cannot work here; the message says why (`no CUDA device`)."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `log` draws them on a logarithmic scale.

    The annotated type decides what is drawn: `int` draws integers, `float` real numbers, both in multiples of `step`
    from `low` where one is given.

    Raises:
        ValueError: the range is empty, or `log` is set with a bound that is not positive or with a step.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"Range needs low < high, got low={self.low}, high={self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError(f"a logarithmic Range needs low > 0 and no step, got {self}")


@dataclass(frozen=True, init=False)
class Choice:
    """One of the listed scalars; `None` among them means that the argument may be off.

    Args:
        others: texts that are not listed may be given, too. Of numbers the list is advice in any case, as a `Range` is.

    Raises:
        ValueError: there are fewer than two options, or one is not a scalar.
    """

    options: tuple[Scalar, ...]
    others: bool = False

    def __init__(self, *options: Scalar, others: bool = False):
        if len(options) < 2 or not all(o is None or isinstance(o, bool | int | float | str) for o in options):
            raise ValueError(f"Choice needs two or more scalars, got {options}")
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "others", others)

    def refusal(self, value: object) -> str:
        """What was expected instead of a value that is no option; empty if it may be given."""
        if self.others or not isinstance(value, str) or value in self.options:
            return ""
        return f"expected one of {', '.join(option for option in self.options if isinstance(option, str))}"


@dataclass(frozen=True)
class Bounds:
    """The numbers that an argument can mean at all, beside its `Range`, which says where it is worth searching.

    A number outside is refused before anything starts. `low` and `high` are allowed themselves; it is also more than `above`, and less
    than `below`: `Bounds(0, 1)` is a share, `Bounds(0, below=1)` the decay of a mean, `Bounds(above=0)` a length.

    Raises:
        ValueError: no number is left.
    """

    low: float = -inf
    high: float = inf
    above: float = -inf
    below: float = inf

    def __post_init__(self) -> None:
        if max(self.low, self.above) >= min(self.high, self.below):
            raise ValueError(f"Bounds need some numbers between them, got {self!r}")

    def refusal(self, value: object) -> str:
        """What was expected instead of a number outside; empty if it may be given."""
        if not isinstance(value, int | float) or (self.low <= value <= self.high and self.above < value < self.below):
            return ""
        return f"expected {self}"

    def __str__(self) -> str:
        both = -inf < self.low and self.high < inf
        ends = [f"{self.low:g} to {self.high:g}"] if both else []
        ends += [f"{self.low:g} or more"] if -inf < self.low and not both else []
        ends += [f"more than {self.above:g}"] if -inf < self.above else []
        ends += [f"at most {self.high:g}"] if self.high < inf and not both else []
        ends += [f"less than {self.below:g}"] if self.below < inf else []
        return ", ".join(ends)


ORDER = ("early", "middle", "late")


@dataclass(frozen=True)
class Acts:
    """What a technique does to its neighbours.

    Args:
        fills: a slot that it takes over, so that nothing is drawn there (a schedule-free optimizer fills `schedule`).
        order: when it acts within its slot, one of `ORDER`; techniques of the same order act as listed. Of the gradient: penalties early,
            clipping in the middle, noise late. Of batches: geometry early, mixing late. Of compression: a student, which is trained
            anew, early, whole channels in the middle, single weights late.
        last: it acts after all the others, and a recipe uses only one such technique (int8 weights cannot be changed further).
        sparse: of a compression: it leaves zeros among the weights, which pay only as long as they are stored as such.
        dense: of a compression: it stores every weight, zeros as well, so that a recipe does not use it with a `sparse` technique.
        closure: of an optimizer: it calls its closure more than once per step (SAM). Values that leave it no closure (16-bit
            scaling), or only that of the last batch (gradients that Lightning accumulates), are not drawn with it.
        clips: of a regularizer: it shortens the gradient, as `gradient_clip_val` of an author's Trainer does.
        gpu: of a device: it trains on NVIDIA GPUs if there are any; the executor gives each trial its share of them.
        preset: of data: slots that have a preset of this name are filled from it, unless an override fills them.

    Raises:
        ValueError: there is no such order.
    """

    fills: str | None = None
    order: str = "early"
    last: bool = False
    sparse: bool = False
    dense: bool = False
    closure: bool = False
    clips: bool = False
    gpu: bool = False
    preset: str = ""

    def __post_init__(self) -> None:
        if self.order not in ORDER:
            raise ValueError(f"Acts(order={self.order!r}): expected one of {', '.join(ORDER)}")

    def clash(self, other: "Acts") -> str:
        """Why a recipe uses only one of two techniques of a slot; empty if it may use both."""
        if self.last and other.last:
            return "each has to act last"
        if (self.sparse and other.dense) or (self.dense and other.sparse):
            return "one leaves zeros among the weights, and the other stores them like any weight"
        return ""
