"""What an executor must do: run orders to their end, report their events, and end them when it is asked to."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from types import MappingProxyType

from autoopt.executor import Event, Executor
from autoopt.orders import Outcome, Problem, Train
from autoopt.space import Space
from autoopt.technique import Technique
from autoopt.testing.worlds import EPOCHS, Offered, situations

DEADLINE = 120
"""Seconds that the first trial of an executor may take to end."""


def runs_stops_and_ends_trials(technique: Technique) -> None:
    """In one executor, since the first trial of each may wait for minutes."""
    with running(technique) as (world, executor):
        check_ends(world, executor)
        check_stop_at_a_rung(world, executor)
        check_kill_and_time_limit(world, executor)


def check_ends(world: Offered, executor: Executor) -> None:
    for number in range(2):  # the second waits for the first: there is one worker
        executor.submit(number, order_of(world, f"{number}", keep=True))
    events = collect_events(executor, {0, 1})
    for number in range(2):
        end = ended_well(events[number])
        kinds = [event.kind for event in events[number]]
        assert kinds[0] == "started" and kinds[-1] == "finished", f"the events of a trial are {', '.join(kinds)}"
        epochs = [event.data["epoch"] for event in events[number] if event.kind == "report"]
        assert epochs == list(range(1, EPOCHS + 1)), f"of {EPOCHS} epochs, from 1, it reports {epochs}"
        assert end.epochs == EPOCHS and not end.stopped, f"a training of {EPOCHS} epochs ended with {end}"
        assert world["store"].has_weights(f"{number}"), "the weights of a trial with keep=True are not in the store"


def check_stop_at_a_rung(world: Offered, executor: Executor) -> None:
    executor.submit(2, order_of(world, "2", rungs=(1, 2)))
    events = collect_events(executor, {2}, {1: False, 2: True})
    end = ended_well(events[2])
    assert end.stopped and end.epochs == 2, f"a trial that was stopped after two epochs ended with {end}"


def check_kill_and_time_limit(world: Offered, executor: Executor) -> None:
    endless = replace(order_of(world, "3"), recipe=order_of(world, "3").recipe.replace(study={"epochs": 10**6}))
    executor.submit(3, endless)
    events = collect_events(executor, {3}, on_report=lambda event: executor.kill(event.number))
    assert (reason := reason_of(events[3])) == "user", f"a trial that was killed fails for the reason {reason}"
    executor.submit(4, replace(endless, key="4", time_limit=1.0))
    events = collect_events(executor, {4})
    assert (reason := reason_of(events[4])) == "timeout", f"a trial that takes longer than its time_limit fails for the reason {reason}"
    executor.submit(5, order_of(world, "5"))
    ended_well(collect_events(executor, {5})[5])


def has_a_clock_that_runs_forward(technique: Technique) -> None:
    ((_, executor),) = situations(technique)
    try:
        times = []
        for _ in range(5):
            times.append(executor.now())
            time.sleep(0.01)
    finally:
        executor.close()
    assert times == sorted(times) and times[-1] > times[0], f"its clock goes {', '.join(f'{t:g}' for t in times)}"


@contextmanager
def running(technique: Technique) -> Iterator[tuple[Offered, Executor]]:
    """The situation and its executor, ready."""
    ((world, executor),) = situations(technique)
    try:
        assert executor.workers == 1, f"it should run one trial at a time, but has {executor.workers} workers"
        assert executor.facts, "it has no facts"
        yield world, executor
    finally:
        executor.close()


def order_of(world: Offered, key: str, keep: bool = False, rungs: tuple[int, ...] = ()) -> Train:
    recipe = Space.of(world["setup"]["tree"]).baseline()
    return Train(key=key, recipe=recipe, objective="val_accuracy", direction="maximize", keep=keep, rungs=rungs)


def collect_events(
    executor: Executor,
    numbers: set[int],
    answers: Mapping[int, bool] = MappingProxyType({}),
    on_report: Callable[[Event], None] = lambda event: None,
) -> dict[int, list[Event]]:
    """The events of the trials until all have ended; the reports of rungs, and no others, are answered."""
    events: dict[int, list[Event]] = {number: [] for number in numbers}
    deadline = time.monotonic() + DEADLINE
    left = set(numbers)
    while left:
        assert time.monotonic() < deadline, f"after {DEADLINE} s trial {min(left)} has not ended"
        for event in executor.events():
            assert event.number in left, f"trial {event.number} sent '{event.kind}', but does not run"
            events[event.number].append(event)
            if event.kind == "report":
                if (epoch := event.data["epoch"]) in answers:
                    executor.reply(event.number, answers[epoch])
                on_report(event)
            elif event.kind in ("finished", "failed"):
                left.remove(event.number)
    return events


def ended_well(events: list[Event]) -> Outcome:
    last = events[-1]
    assert last.kind == "finished", f"a trial that should succeed has failed: {last.data}"
    unknown = last.data.keys() - {field.name for field in fields(Outcome)}
    assert not unknown, f"its outcome has {', '.join(sorted(unknown))}, which no Outcome has"
    return Outcome(**last.data)


def reason_of(events: list[Event]) -> str:
    last = events[-1]
    return Problem(**last.data).reason if last.kind == "failed" else f"none, it has {last.kind}"


CHECKS = (
    runs_stops_and_ends_trials,
    has_a_clock_that_runs_forward,
)
