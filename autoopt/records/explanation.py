"""Why the winner won, as plain data: what each change gives, what mattered in the search, and where its ranges end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoopt.recipe import Recipe


@dataclass(frozen=True)
class Effect:
    """What a change of the baseline gives: a recipe with it, compared with the recipe without it on the same seeds.

    Args:
        changes: the title of the change, or of several that were measured together.
        gain: positive where it helps; `None` where a recipe was not trained.
        interval: of the gain; infinite where it is unknown.
        time: the share by which a training is longer with it, where it was measured.
        without: the key of the recipe without it; `0` is the baseline, trained in the last comparison, else `KEY-0` is its training on
            the first seed.
        fault: how that training fails.
    """

    changes: tuple[str, ...]
    gain: float | None
    interval: tuple[float, float]
    time: float | None
    without: str
    fault: str = ""

    @property
    def unshown(self) -> bool:
        """Whether it was measured, but its gain cannot be told from 0, or is a loss."""
        return self.gain is not None and self.interval[0] <= 0


@dataclass(frozen=True)
class Simpler:
    """The winner without the changes whose gain was not shown, where no loss could be shown.

    Args:
        recipe: as a tree.
        gain: over the winner.
        time: the share by which a training is longer than the winner's, where it was measured.
    """

    recipe: Mapping[str, Any]
    gain: float
    interval: tuple[float, float]
    time: float | None

    @property
    def point(self) -> Recipe:
        return Recipe(self.recipe)


@dataclass(frozen=True)
class Ablation:
    """The changes between the baseline and the winner, measured by trainings on the validation part.

    Args:
        seeds: the number of seeds of the recipes between the baseline and the winner; the ends have those of the comparison.
        left_out: each change left out of the winner; first those without which it loses most.
        path: the changes made in this order; steps that were not trained are taken together.
        simpler: the recipe without the changes whose gain was not shown, if it is as good.
    """

    seeds: int
    left_out: tuple[Effect, ...]
    path: tuple[Effect, ...]
    simpler: Simpler | None


@dataclass(frozen=True)
class Rival:
    """The second best candidate.

    Args:
        trial: its key in the search.
        ahead: how much better the winner was, on the seeds that chose it.
        chance: that the winner is truly better; `None` where no recipe was trained on several final seeds.
    """

    trial: str
    ahead: float
    chance: float | None = None


@dataclass(frozen=True)
class Importance:
    """How much of the difference between good and bad trials each searched value explains, by PED-ANOVA.

    Args:
        shares: by key, `optimizer.adamw.lr`; they add up to 1, the greatest first.
        epoch: the rung at which the trials are compared.
        trials: how many reached it, stopped trials too.
    """

    shares: Mapping[str, float]
    epoch: int
    trials: int


@dataclass(frozen=True)
class Edge:
    """A value of the winner at the end of its range.

    Args:
        low, high: the range.
        wider: the override that searches beyond it.
    """

    key: str
    value: float
    low: float
    high: float
    wider: str


def read_ablation(tree: Mapping[str, Any]) -> Ablation:
    rows = {name: tuple(Effect(**with_tuples(effect)) for effect in tree[name]) for name in ("left_out", "path")}
    simpler = tree["simpler"] and Simpler(**with_tuples(tree["simpler"]))
    return Ablation(**{**tree, **rows, "simpler": simpler})


def with_tuples(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass with tuples for the lists of YAML."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()}
