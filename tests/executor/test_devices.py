"""A trial on two devices is the same trial in every engine."""

import pytest

from autoopt.config import compose
from autoopt.executor.resources import Limits
from autoopt.orders import Train
from autoopt.points import plug
from autoopt.space import Space
from autoopt.store import Store, digest
from autoopt.testing.executor import collect_events

NOTHING = ("initializer=keep", "regularizer=none", "augmentation=none", "loss=cross_entropy", "schedule=constant", "optimizer=nesterov")
TRAINING = ("data=digits", "data.digits.train=96", "model=linear", "study.epochs=2", "device=cpu", "batches.size=32", *NOTHING)
DDP = ("device.cpu.devices=2", "device.cpu.strategy=ddp")
DIGESTS: dict[str, str] = {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine", [["executor=local"], ["executor=ray"], ["executor=submitit", "executor.submitit.cluster=local"]], ids=str
)
def test_two_processes_train_together_in_each_engine(tmp_path, engine):
    if engine[0] != "executor=local":
        pytest.importorskip(engine[0].partition("=")[2])
    tree = compose([*TRAINING, *DDP, *engine, "executor.workers=1"])
    limits = Limits.of(tree)
    assert limits.processors == 2
    executor = plug(tree, "executor", setup={"tree": tree}, store=Store(tmp_path), limits=limits)
    try:
        recipe = Space.of(tree).baseline()
        executor.submit(0, Train(key="0", recipe=recipe, seed=1, objective="val_loss", direction="minimize", keep=True))
        end = collect_events(executor, {0})[0][-1]
    finally:
        executor.close()
    assert end.kind == "finished", end.data
    DIGESTS[engine[0]] = digest(executor.store.weights("0"))
    assert len(set(DIGESTS.values())) == 1  # to the last bit, as far as the engines have run
