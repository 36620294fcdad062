"""A finished trial of a study, trained again: the same to the last bit, or with the differences that may explain another result."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

from autoopt.config import Tree
from autoopt.errors import BadInput, NotConcluded
from autoopt.executor import Executor
from autoopt.goal import COSTS
from autoopt.orders import Train
from autoopt.records.differences import altered, versions
from autoopt.records.folder import contents
from autoopt.records.record import Record
from autoopt.records.settled import recall
from autoopt.records.stages import SEARCH, STAGES, TRAIN
from autoopt.records.stored import Stored
from autoopt.study.jobs import Job, Result
from autoopt.study.runner import Runner, Screen
from autoopt.study.warm import warm


@dataclass(frozen=True)
class Reproduced:
    """A trial and what it gives now.

    Args:
        metric: whose value is shown: the objective, or a loss where the objective is a cost.
        differences: of the environment, a line for each.
        steady: whether a further training gives the same as the one before; `None` where that was not tried.
    """

    before: Record
    now: Record
    metric: str
    differences: tuple[str, ...]
    steady: bool | None = None

    @property
    def same(self) -> bool:
        return alike(self.before, self.now)


def alike(one: Record, other: Record) -> bool:
    """Whether two trainings ended in the same way, and every metric has the same values at all epochs and at the end, to the last bit."""
    ends = [(record.state, record.reason, record.epochs) for record in (one, other)]
    return ends[0] == ends[1] and values_shared(one, other) == values_shared(other, one)


def values_shared(record: Record, other: Record) -> str:
    """The values of the metrics that two records share, at the end and by epoch, exactly, NaN too; without costs, which may vary."""
    at_end = (record.metrics.keys() & other.metrics.keys()) - COSTS.keys()
    by_epoch = (record.curves.keys() & other.curves.keys()) - COSTS.keys()
    return repr(
        [(name, float(record.metrics[name])) for name in sorted(at_end)]
        + [(name, epoch, float(value)) for name in sorted(by_epoch) for epoch, value in record.curve(name).items()]
    )


def first_difference(before: Record, now: Record) -> tuple[int, str, float, float] | None:
    """The first epoch at which a metric differs, with the metric and both values."""
    names = [name for name in before.curves if name in now.curves and name not in ("epoch", *COSTS)]
    curves = {name: (before.curve(name), now.curve(name)) for name in names}
    for epoch in before.curves.get("epoch", []):
        for name, (ours, theirs) in curves.items():
            if epoch in ours and epoch in theirs and repr(float(ours[epoch])) != repr(float(theirs[epoch])):
                return epoch, name, ours[epoch], theirs[epoch]
    return None


def reproduce(study: Stored, key: str, tree: Tree, screen: Screen, executor: Executor | None = None) -> Reproduced:
    """Train a trial again, in a folder of its own, as far as it came.

    Where its result differs and nothing of the environment does, it is trained once more: two trainings that differ now show that the
    training itself is not deterministic.

    Args:
        tree: the config of the study.
        executor: where it runs; else the one that the config names.

    Raises:
        BadInput: there is no such trial, or it is no training that ended by itself.
        NotConcluded: the machine ended the training.
    """
    before = trained_before(study, key)
    locked = contents(study.path / "space.yaml", ())
    with TemporaryDirectory() as scratch:  # a running search may hold the study's own folder
        here = {**tree, "root": scratch, "baseline": None, "tracking": {**tree["tracking"], "enabled": False}}
        with warm(here, screen, executor, left="nothing is kept") as ready:
            goal = recall(ready.space, locked).goal
            runner = replace(ready.runner, goal=goal)
            now = trained_again(runner, before)
            loss = "val_loss" if "val_loss" in before.metrics else "train_loss"
            metric = loss if goal.first.cost else goal.first.name
            found = Reproduced(before, now, metric, tuple(changed_since(before, now, locked, tree, ready.facts)))
            if found.same or found.differences:
                return found
            return replace(found, steady=alike(now, trained_again(runner, before)))


def trained_before(study: Stored, key: str) -> Record:
    """The record of a trial that can be trained again; raises BadInput if it cannot."""
    if not study.searched:
        raise BadInput(f"{study.name} is a training, not a search; the same train command trains it again")
    record = study.record(key)
    if not STAGES[record.stage].trains:
        raise BadInput(f"trial {key} is no training, but of the stage {record.stage}; name a training, such as {SEARCH.key.format(0)}")
    if record.blame in ("machine", "user"):
        raise BadInput(f"trial {key} was ended from outside ({record.reason}: {record.detail}), so its result says nothing of its recipe")
    return record


def trained_again(runner: Runner, before: Record) -> Record:
    """The record of the same training now; where a rung stopped it, that ends it again."""
    rungs = (before.epochs,) if before.state == "stopped" else ()
    order = Train(key=before.key, recipe=before.point, seed=before.seed, rungs=rungs)
    results: list[Result] = []
    runner.screen.stage(TRAIN, 1, 0)
    runner.run([Job(order, TRAIN)], results.append, stop=lambda *_: True)
    (result,) = results
    if result.problem is not None and result.problem.blame != "recipe":
        raise NotConcluded(f"the training failed ({result.problem.reason}): {result.problem.line}")
    return result.record()


def changed_since(before: Record, now: Record, locked: Mapping[str, Any], tree: Tree, facts: Mapping[str, Any]) -> Iterator[str]:
    """What of the environment has changed since the trial: packages, processor, threads, device, techniques, the user's code, the data.

    Args:
        locked: the study's space.yaml.
        facts: of the executor, now.
    """
    if before.environment and now.environment:
        for name in before.environment.keys() | now.environment.keys():
            then, here = (record.environment.get(name, "absent") for record in (before, now))
            if then != here:
                yield f"{name} {then}, now {here}"
    used = {f"{slot}/{name}" for slot, name, _ in before.point.techniques()}
    installed = dict(versions(tree))
    for key, owner in locked["techniques"].items():
        if key in used and owner != installed.get(key):
            yield f"{key} of {owner}, now of {installed.get(key, 'nothing')}"
    yield from (f"the file of {key} has changed" for key in altered(locked["sources"], facts["sources"]))
    if locked["examples"] != facts["examples"]:
        yield "the data have changed"
