"""What a strategy must do: propose points of the space, as a pure function of the history, the number and the seed."""

from collections.abc import Mapping
from typing import Any

from autoopt.space import Domain, Space
from autoopt.strategy import AtRandom, Observation
from autoopt.technique import Technique
from autoopt.testing.worlds import Offered, situations

TRIALS, SEED = 15, 3


def proposes_points_of_the_space(technique: Technique) -> None:
    for world, strategy in situations(technique):
        history: list[Observation] = []
        for number in range(TRIALS):
            values = strategy.propose(tuple(history), number, SEED)
            assert number or values is not None, "it has nothing to propose for the first trial"
            if values is None:
                break
            check_point(world["space"], values)
            history.append(completed_trial(number, values, world))


def repeats_under_a_seed(technique: Technique) -> None:
    for world, strategy in situations(technique):
        history = mixed(world)
        first = strategy.propose(history, TRIALS, SEED)
        strategy.propose(history[:3], TRIALS + 1, SEED + 1)
        again = strategy.propose(history, TRIALS, SEED)
        assert again == first, f"asked again for trial {TRIALS}, it proposes other values: {differing_values(first, again)}"


def resumes_from_the_history(technique: Technique) -> None:
    for (world, strategy), (_, fresh) in zip(situations(technique), situations(technique), strict=True):
        history = mixed(world)
        for number in range(1, TRIALS):
            strategy.propose(history[:number], number, SEED)
        went_on, resumed = (s.propose(history, TRIALS, SEED) for s in (strategy, fresh))
        assert resumed == went_on, f"a new instance proposes other values from the same history: {differing_values(went_on, resumed)}"


def bears_every_state_of_a_trial(technique: Technique) -> None:
    for world, strategy in situations(technique):
        history = mixed(world)
        for length in range(TRIALS):
            values = strategy.propose(history[:length], length, SEED)
            if values is not None:
                check_point(world["space"], values)


def decides_at_its_rungs(technique: Technique) -> None:
    for world, strategy in situations(technique):
        wrong = [rung for rung in strategy.rungs if rung not in range(1, world["epochs"] + 1)]
        assert not wrong, f"its rung {wrong and wrong[0]} is none of the epochs 1 to {world['epochs']}"
        for rung in strategy.rungs:
            now = Observation(TRIALS, "running", drawn(world["space"], TRIALS), curve=dict.fromkeys(range(1, rung + 1), 0.5))
            history = [*mixed(world), now]
            answers = [strategy.stop(history, TRIALS, rung) for _ in range(2)]
            assert answers[0] is answers[1] and isinstance(answers[0], bool), f"asked twice at epoch {rung}, it answers {answers}"


def mixed(world: Offered) -> list[Observation]:
    """A history with trials of every state; one of them is not a point of the space."""
    curve = {epoch: 0.4 + 0.01 * epoch for epoch in range(1, 5)}
    history = []
    for number in range(TRIALS):
        values = drawn(world["space"], number)
        match number % 5:
            case 1:
                history.append(Observation(number, "stopped", values, curve=curve))
            case 2:
                history.append(Observation(number, "failed", values))
            case 3:
                history.append(Observation(number, "running", values, curve=curve))
            case _:
                history.append(completed_trial(number, values if number else {}, world))
    return history


def completed_trial(number: int, values: Mapping[str, Any], world: Offered) -> Observation:
    score = 0.5 + 0.02 * (number * 7 % 11)
    curve = dict.fromkeys(range(1, world["epochs"] + 1), score)
    return Observation(number, "complete", values, (score,) * len(world["goal"].directions), curve)


def drawn(space: Space, number: int) -> Mapping[str, Any]:
    return AtRandom(space).propose((), number, 0)


def differing_values(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> str:
    old, new = first or {}, second or {}
    return ", ".join(sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))) or f"{first} and {second}"


def check_point(space: Space, values: Mapping[str, Any]) -> None:
    """Raise AssertionError if the values are not a point of the space."""
    asked = set[str]()

    def pick(domain: Domain) -> Any:
        asked.add(domain.path)
        assert domain.path in values, f"it proposes no {domain.path}, but: {', '.join(values) or 'nothing'}"
        try:
            accepted = domain.accept(values[domain.path])
        except ValueError as error:
            raise AssertionError(str(error)) from error
        assert type(accepted) is type(values[domain.path]), f"{domain.path}={values[domain.path]!r}, expected {type(accepted).__name__}"
        return accepted

    space.walk(pick)
    assert not (rest := values.keys() - asked), f"the space has no {', '.join(sorted(rest))} with the rest of what it proposes"


CHECKS = (proposes_points_of_the_space, repeats_under_a_seed, resumes_from_the_history, bears_every_state_of_a_trial, decides_at_its_rungs)
