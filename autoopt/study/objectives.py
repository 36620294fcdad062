"""The objectives and the bounds that a config names, or else those that the measured metrics suggest."""

from collections.abc import Collection, Mapping

from autoopt.config import Tree
from autoopt.errors import BadInput, nearest
from autoopt.goal import COSTS, Bound, Objective, direction_of

COMMON = tuple(
    f"{part}{metric}"
    for metrics in (("accuracy", "acc"), ("f1",), ("rmse",), ("loss",))
    for part in ("val_", "val/", "valid_", "valid/", "validation_", "validation/")
    for metric in metrics
)
LOGS_NOTHING = "the module logs no metric; log one in its validation_step: self.log('val_loss', …)"


def nameable(told: Collection[str], validated: Collection[str], logged: Mapping[str, float]) -> str:
    """What may be named as objective: of the validation, else of the training; first what tells its direction."""
    own = [[name for name in names if name in logged and name not in (*COSTS, "lr")] for names in (validated, logged)]
    known = told or [name for name in own[1] if direction_of(name) and not own[0]]
    if len(known) == 1:
        return f"validation logs none; give objective={next(iter(known))}"
    others = [name for name in own[0] or own[1] if name not in known]
    parts = [", ".join(sorted(known)), f"{', '.join(sorted(others))}, with direction=maximize or direction=minimize"]
    told = [part for part, names in zip(parts, (known, others), strict=True) if names]
    return f"name one of {'; or '.join(told)}" if told else LOGS_NOTHING


def choose_objectives(tree: Tree, logged: Mapping[str, float], validated: Collection[str] = ()) -> tuple[Objective, ...]:
    """The objectives that the config names, else the first common metric that is logged, else the one metric of the validation whose
    name tells a direction; their directions likewise, else by their names.

    Args:
        validated: the names of the metrics that the validation part gives without a training.

    Raises:
        BadInput: a metric is not logged, or its name tells no direction.
    """
    told = [name for name in validated if name in logged and name not in COSTS and direction_of(name)]
    usual = next((name for name in COMMON if name in logged), told[0] if len(told) == 1 else "")
    names = (tree["objective"] or usual).split()
    if not names:
        raise BadInput(f"objective=… is needed: {nameable(told, validated, logged)}")
    directions = (tree["direction"] or "").split() or list(map(direction_of, names))
    for name, direction in zip(names, directions, strict=True):
        if name not in logged:
            raise BadInput(f"objective={name} is not logged. {nearest(name, logged).replace('Known', 'Logged')}")
        if direction is None:
            raise BadInput(f"objective={name}: give direction=maximize or direction=minimize")
    return tuple(Objective(name, direction) for name, direction in zip(names, directions, strict=True) if direction)


def bounds_of(tree: Tree, logged: Mapping[str, float]) -> tuple[Bound, ...]:
    """The bounds that the config names.

    Raises:
        BadInput: a metric is not logged, its name does not tell whether it is bounded from above or from below, or nothing keeps
            the bound.
    """
    bounds = []
    for name, limit in tree["constraints"].items():
        if name not in logged:
            raise BadInput(
                f"constraints.{name}={limit:g}: {name} is not measured. {nearest(name, {**logged, **COSTS}).replace('Known', 'Measured')}"
            )
        if (direction := direction_of(name)) is None:
            raise BadInput(
                f"constraints.{name}={limit:g}: its name does not tell which way is better; log it as {name}_loss or {name}_score"
            )
        bounds.append(Bound(Objective(name, direction), limit))
        if bounds[-1].impossible and bounds[-1].metric.possible(logged[name]):
            raise BadInput(f"constraints.{name}={limit:g}: no model keeps it, as {name} is never {bounds[-1].impossible}")
    return tuple(bounds)
