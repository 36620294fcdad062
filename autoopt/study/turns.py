"""The trials of a comparison: the options of a slot take turns, each with a strategy of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoopt.config.check import too_few_trials
from autoopt.errors import BadInput
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.space import Space
from autoopt.strategy import AtRandom, Observation, Strategy
from autoopt.study.study import Study

NONE = "none"
"""The option without a technique, in a slot whose techniques are each on or off."""
DRAWS = 20
"""How many recipes are drawn for each trial of an option: of as many recipes as trials, one that is as likely as the others is then missed
with probability exp(-20)."""


@dataclass(frozen=True)
class Arm:
    """An option of the compared slot.

    Args:
        space: the study's, with this option alone.
        values: by their paths in the study's space, the values that choose it.
    """

    name: str
    space: Space
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Turns:
    """The options in turn: trial `number` belongs to option `number % count`, for which it is trial `number // count`."""

    arms: Sequence[Arm]

    @property
    def count(self) -> int:
        return len(self.arms)

    @property
    def start(self) -> list[Mapping[str, Any]]:
        """The values of the trials after the baseline: the defaults of each other option."""
        return [arm.values for arm in self.arms[1:]]

    def total(self, trials: int) -> int:
        """The trials of the whole turns among so many: equally many of each option."""
        return trials - trials % self.count

    def strategy(self, make: Callable[[Space], Strategy]) -> "InTurn":
        return InTurn(self, [make(arm.space) for arm in self.arms])


class InTurn(Strategy):
    """Asks the strategy of each option in turn. It sees the trials of its option alone, and what is not the choice of the option.

    The first trial of an option, its defaults, is not stopped.
    """

    def __init__(self, turns: Turns, strategies: Sequence[Strategy]):
        self.turns, self.strategies, self.rungs = turns, strategies, strategies[0].rungs

    def propose(self, history: Sequence[Observation], number: int, seed: int) -> Mapping[str, Any] | None:
        turn, place = divmod(number, self.turns.count)
        values = self.strategies[place].propose(self.seen(history, place), turn, seed)
        return None if values is None else {**values, **self.turns.arms[place].values}

    def stop(self, history: Sequence[Observation], number: int, epoch: int) -> bool:
        turn, place = divmod(number, self.turns.count)
        return turn > 0 and self.strategies[place].stop(self.seen(history, place), turn, epoch)

    def best_first(self, history: Sequence[Observation], place: int) -> list[int]:
        """The numbers of the complete trials of an option by its strategy's own ranking, if that has one."""
        return [turn * self.turns.count + place for turn in self.strategies[place].ranking(self.seen(history, place))]

    def seen(self, history: Sequence[Observation], place: int) -> list[Observation]:
        count, chosen = self.turns.count, self.turns.arms[place].values
        own = (trial for trial in history if trial.number % count == place)
        return [
            replace(t, number=t.number // count, values={path: value for path, value in t.values.items() if path not in chosen})
            for t in own
        ]


def turns_of(study: Study) -> Turns:
    """The options that the study compares, that of the baseline first.

    Raises:
        BadInput: as `turns_in`.
    """
    return turns_in(study.space.without_compression(), study.settings, study.baseline)


def turns_in(space: Space, settings: Mapping[str, Any], baseline: Recipe | None) -> Turns:
    """The options of the slot `settings["compare"]` in a space, that of the baseline first.

    Raises:
        BadInput: there are fewer than two, too few trials for them, or the baseline has none of them.
    """
    slot = settings["compare"]
    arms = arms_of(space, slot)
    if len(arms) < 2:
        left_out = "".join(f"; {key} was left out: {why}" for key, why in space.dropped.items() if key.startswith(f"{slot}/"))
        raise BadInput(f"study.compare={slot}: only {arms[0].name} is left{left_out}")
    if problem := too_few_trials(settings["trials"], len(arms)):
        raise BadInput(f"study.compare={slot}: {problem}")
    first = option_of(baseline or space.baseline(), space, slot)
    if first not in [arm.name for arm in arms]:
        raise BadInput(f"study.compare={slot}: the baseline has {first}; name it among the options, {slot}={first},…")
    arms.sort(key=lambda arm: arm.name != first)
    return Turns(arms)


def arms_of(space: Space, slot: str) -> list[Arm]:
    """Each technique of a slot by itself; where each is on or off, also none of them, and those that are always on with all."""
    if not SLOTS[slot].many:
        paths = [(domain.path, domain.options) for domain in space.domains() if domain.key == slot]
        names = list(space.options[slot])
        return [Arm(name, restricted(space, slot, name), {path: name for path, options in paths if name in options}) for name in names]
    uses = [name for name, option in space.options[slot].items() if not option.always]
    keys = {f"{slot}.{name}.use": name for name in uses}
    paths_of = {domain.path: keys[domain.key] for domain in space.domains() if domain.key in keys}
    arms = []
    for name in (NONE, *uses):
        used = {other: option.used() for other, option in space.options[slot].items() if option.always or other == name}
        narrow = replace(space, options={**space.options, slot: used})
        arms.append(Arm(name, narrow, {path: other == name for path, other in paths_of.items()}))
    return arms


def restricted(space: Space, slot: str, name: str) -> Space:
    """The space with one technique of a slot, and without those that would take the slot over.

    Raises:
        BadInput: nothing else is left in their slot.
    """
    for other in [other for other in space.options[slot] if other != name]:
        space = space.without(slot, other, f"{name} is compared with it")
    for earlier, filler, technique in list(space.techniques()):
        if technique.acts.fills == slot:
            space = space.without(earlier, filler, f"it takes over the {slot}, which is compared")
    return space


def option_of(recipe: Recipe, space: Space, slot: str) -> str:
    """The option that a recipe uses."""
    many, options = SLOTS[slot].many, space.options[slot]
    return "+".join(name for name in recipe.tree[slot] if not (many and name in options and options[name].always)) or NONE


def check_sizes(turns: Turns, slot: str, trials: int) -> None:
    """Raise BadInput where an option has fewer recipes than its share of the trials."""
    for arm in turns.arms:
        check_size(arm, slot, trials // turns.count, turns.count)


def check_size(arm: Arm, slot: str, trials: int, options: int) -> None:
    """Raise BadInput where an option has fewer recipes than trials: a strategy would have nothing left to propose."""
    random, found = AtRandom(arm.space), set[str]()
    for number in range(DRAWS * trials):
        found.add(repr(random.propose([], number, 0)))
        if len(found) == trials:
            return
    ways = f"give its arguments values to choose from, or study.trials={options * len(found)}"
    raise BadInput(f"study.compare={slot}: {arm.name} leaves {len(found)} recipes, fewer than its {trials} trials: {ways}")
