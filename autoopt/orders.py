"""Orders to a trial, and their outcomes and problems: plain data that travels as JSON between a study and its executor."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from autoopt.recipe import Recipe

Json = dict[str, Any]
BEFORE = "uncompressed_"
"""The prefix of a metric of the trained model, where it is measured again after a compression."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """The fields of every order.

    Args:
        key: the name of the trial within its study; its log and its weights are stored under this key.
        recipe: the recipe that is trained, measured or compressed.
        seed: the seed of every random number that the trial draws.
        objective: the metric that decides the study; `None` before the study knows it.
        direction: maximize or minimize; `None` where no technique follows the objective while training (a cost).
        latency: measure latency and operations too; the caller makes sure that nothing else runs.
        time_limit: in seconds; `None` is the executor's limit.
    """

    key: str
    recipe: Recipe
    seed: int = 0
    objective: str | None = None
    direction: str | None = None
    latency: bool = False
    time_limit: float | None = None
    rungs: ClassVar[tuple[int, ...]] = ()
    """The epochs whose reports wait for an answer."""

    def json(self) -> Json:
        """The order as JSON; `from_json` reads it back."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "order": type(self).__name__, "recipe": dict(self.recipe.tree)}


@dataclass(frozen=True, kw_only=True)
class TryOut(Order):
    """Train two batches and go through all later stages: store, load, compress where the recipe says so, measure two of each part.

    Args:
        weights: the key of a trained trial, whose weights are loaded instead of training.
    """

    weights: str | None = None


@dataclass(frozen=True, kw_only=True)
class Contrast(TryOut):
    """Measure untrained weights on two batches by the modules of two recipes.

    Where the outputs are the same, the outcome's `validated` are the metrics that differ, and its `scaled` what differs by one factor in
    all groups of the author's optimizers.

    Args:
        other: the tree of the second recipe.
    """

    other: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Train(Order):
    """Train a recipe to its end, or until a rung stops it, and measure it on the validation part.

    Args:
        keep: store the weights under the order's key.
        rungs: the epochs whose reports wait for an answer.
        continues: the key of a trial of this recipe and seed that a rung stopped; it goes on from the checkpoint of that trial.
    """

    keep: bool = False
    rungs: tuple[int, ...] = ()  # type: ignore[misc]
    continues: str = ""


@dataclass(frozen=True, kw_only=True)
class Measure(Order):
    """Measure stored weights on a part of the data.

    Args:
        weights: the key under which they are stored.
        part: "validation" or "test".
    """

    weights: str
    part: str = "test"


@dataclass(frozen=True, kw_only=True)
class Compress(Order):
    """Compress stored weights as the recipe says, store the result under the order's key, and measure it.

    Args:
        weights: the key under which the trained weights are stored.
    """

    weights: str


@dataclass(frozen=True, kw_only=True)
class Export(Order):
    """Write an exported model in another form beside it.

    Args:
        folder: the exported folder, as the store names it (`best`).
    """

    folder: str


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Export):
    """Write an exported LightningModule as a Lightning checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Serve(Export):
    """Make an exported folder an MLflow model."""


@dataclass(frozen=True, kw_only=True)
class Graph(Export):
    """Write an exported model as an ONNX graph."""


ORDERS: Mapping[str, type[Order]] = {kind.__name__: kind for kind in (TryOut, Contrast, Train, Measure, Compress, Checkpoint, Graph, Serve)}


def from_json(data: Mapping[str, Any]) -> Order:
    """The order that `Order.json` wrote."""
    values = {**data, "recipe": Recipe(data["recipe"])}
    kind = ORDERS[values.pop("order")]
    if "rungs" in values:
        values["rungs"] = tuple(values["rungs"])
    return kind(**values)


NUMBERS = ("metrics", "tested", "resamples")
"""The fields of an outcome that hold numbers; its other lists and mappings hold texts."""


@dataclass(frozen=True)
class Outcome:
    """The result of a trial that did not fail.

    Args:
        metrics: by name, as measured at the end.
        epochs: how many were trained.
        seconds: of training, without validation.
        stopped: a rung ended it.
        resamples: the objective on each resample of the test part.
        units: the number of independent examples or groups of the test part.
        tested: of a try-out, the metrics of two batches of the test part; empty where there is no test part.
        validated: of a try-out, the names of the metrics that the validation part gave, measured from stored weights.
        untested: of a try-out, why there is a test part that cannot be measured.
        manual: the module optimizes manually.
        optimizers: how many the module has.
        decays: one of them decays weights.
        by_step: what a module's training logs without a value of the epoch, so that its last batch's counts.
        scaled: of a contrast, `lr` or `weight_decay`, where all groups of the module's own optimizers differ in it by one factor.
        notes: of a try-out, what the user has to know before the search.
        environment: the versions, the processor, the threads and the device, by name.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    seconds: float = 0.0
    stopped: bool = False
    resamples: list[float] = field(default_factory=list)
    units: int = 0
    tested: Mapping[str, float] = field(default_factory=dict)
    validated: list[str] = field(default_factory=list)
    untested: str = ""
    manual: bool = False
    optimizers: int = 1
    decays: bool = True
    by_step: list[str] = field(default_factory=list)
    scaled: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Json:
        return asdict(self)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> "Outcome":
        """The outcome that `json` wrote.

        Raises:
            ValueError: a trial sent something else.
        """
        blank = cls()
        for name, value in data.items():
            kind = type(getattr(blank, name, Outcome))  # of an unknown name: none that JSON has
            parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
            fits = isinstance(value, kind) or (kind is float and is_number(value))
            if not fits or not all(is_number(part) if name in NUMBERS else isinstance(part, str) for part in parts):
                raise ValueError(f"the trial's outcome has {name}={value!r:.80}")
        return cls(**data)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


BLAME: Mapping[str, str] = {
    **dict.fromkeys(("error", "nonfinite", "oom_device", "oom_host", "timeout", "data", "plugin"), "recipe"),
    **dict.fromkeys(("preempted", "lost", "disk", "system"), "machine"),
    "user": "user",
}
"""Every reason for which a trial can fail, and who is to blame: the recipe's faults teach the strategy, the machine's are retried."""
REASONS = tuple(BLAME)


@dataclass(frozen=True)
class Problem:
    """Why a trial failed.

    Args:
        reason: one of `REASONS`.
        detail: one line.
        slot: with `name`, the technique that failed; empty where no technique is to blame.
        unavailable: the technique raised `Unavailable`: it cannot work here.
    """

    reason: str
    detail: str
    slot: str = ""
    name: str = ""
    unavailable: bool = False

    @property
    def blame(self) -> str:
        """Who is to blame: recipe, machine or user."""
        return BLAME[self.reason]

    @property
    def line(self) -> str:
        """What happened, with the technique that failed."""
        return f"{self.slot}/{self.name}: {self.detail}" if self.slot else self.detail

    def __str__(self) -> str:
        return self.line if self.slot or self.reason == "error" else f"{self.reason}: {self.detail}"

    def json(self) -> Json:
        return asdict(self)
