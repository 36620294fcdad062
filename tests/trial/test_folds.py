"""Cross-validation: the folds of a trial."""

import pytest
import torch
from safetensors.torch import load_file

from autoopt.config import compose
from autoopt.orders import Measure, Order, Outcome, Train
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.trial.folds import combined, in_folds
from autoopt.trial.run import prepare, run

ORDER = Train(key="0", recipe=Recipe({}), objective="val_accuracy", latency=True)


class Scripted:
    """Carries an order out by saying what it was told to."""

    def __init__(self, *outcomes: Outcome):
        self.outcomes, self.orders = list(outcomes), list[tuple[Order, int]]()

    def __call__(self, world, order, report, fold):
        report(1, {"val_accuracy": 0.1 * len(self.orders)})
        self.orders.append((order, fold))
        return self.outcomes.pop(0)


def outcome(accuracy, stopped=False, resamples=()):
    metrics = {"val_accuracy": accuracy, "seconds": 2.0, "epochs_trained": 3.0, "peak_memory_mb": 100 * accuracy}
    return Outcome(metrics, epochs=3, seconds=2.0, stopped=stopped, resamples=list(resamples))


@pytest.fixture
def world(tmp_path):
    return prepare({"tree": compose(["data=wine", "split.folds=3"]), "store": str(tmp_path)})[0]


def test_a_trials_value_is_the_mean_over_the_folds_and_its_spread_is_told(world):
    train, told = Scripted(outcome(0.5), outcome(0.7), outcome(0.9)), []
    found = in_folds(train, world, ORDER, lambda *said: told.append(said))
    assert found.metrics["val_accuracy"] == pytest.approx(0.7) and found.metrics["val_accuracy_std"] == pytest.approx(0.2)
    assert (found.seconds, found.epochs) == (6, 3) and found.metrics["epochs_trained"] == 9
    assert found.metrics["peak_memory_mb"] == pytest.approx(90)
    assert told == [(1, {"val_accuracy": 0.0})]
    assert [(order.latency, fold) for order, fold in train.orders] == [(True, 1), (False, 2), (False, 3)]


def test_a_trial_that_is_stopped_ends_with_its_first_fold(world):
    train = Scripted(outcome(0.5, stopped=True))
    assert in_folds(train, world, ORDER, lambda *_: True).metrics["val_accuracy"] == 0.5


def test_resamples_of_the_test_part_are_the_means_over_the_folds():
    found = combined([outcome(0.5, resamples=[0.1, 0.2]), outcome(0.7, resamples=[0.3, 0.6])], "val_accuracy")
    assert found.resamples == pytest.approx([0.2, 0.4])


def test_folds_share_nothing_but_the_test_part(world):
    tasks = [world.task, *world.task.folds]
    assert len(tasks) == 3
    raw = [task.inputs.invert(task.parts["test"][0]) for task in tasks]
    assert torch.allclose(raw[0], raw[1], rtol=1e-4) and not torch.equal(tasks[0].inputs.mean, tasks[1].inputs.mean)


def test_each_fold_has_weights_of_its_own_and_all_are_tested(tmp_path):
    tree = compose(["data=wine", "model=linear", "split.folds=3", "study.epochs=2", "device=auto"])
    world, facts = prepare({"tree": tree, "store": str(tmp_path)})
    recipe = Space.of(tree).fitting(facts["absent"]).baseline()
    told = []

    def carried_out(order: Order) -> Outcome:
        return Outcome(**run(world, order.json(), lambda epoch, metrics: told.append(epoch)))

    trained = carried_out(Train(key="0", recipe=recipe, objective="val_accuracy", keep=True))
    assert told == [1, 2] and 0 < trained.metrics["val_accuracy_std"] < 1
    first, *others = [load_file(world.store.weights("0", fold)) for fold in (1, 2, 3)]
    assert all(not torch.equal(first[name], other[name]) for other in others for name in first)
    tested = carried_out(Measure(key="0-test", recipe=recipe, objective="val_accuracy", weights="0"))
    again = carried_out(Measure(key="0-again", recipe=recipe, objective="val_accuracy", weights="0", part="validation"))
    assert 0 < tested.metrics["test_accuracy"] < 1 and len(tested.resamples) == 200
    assert again.metrics["val_accuracy"] == pytest.approx(trained.metrics["val_accuracy"])
