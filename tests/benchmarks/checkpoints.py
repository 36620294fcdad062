"""What checkpoints cost: the seconds of a checkpoint and of taking it up, and the loop with and without them.

python tests/benchmarks/checkpoints.py [ROUNDS]
"""

import sys
import tempfile
import time
from dataclasses import replace
from statistics import median

from autoopt.config import compose, seconds
from autoopt.orders import Train
from autoopt.space import Space
from autoopt.store import Store
from autoopt.trial.keeper import Keeper
from autoopt.trial.run import prepare, run

MODELS = {
    "mlp, 10 epochs": ("data=digits", "data.digits.train=200", "study.epochs=10", "regularizer=[dropout]"),
    "mlp by batch, 10 epochs": ("data=digits", "data.digits.train=200", "study.epochs=10", "regularizer=[ema]"),
    "11 M parameters, 1 epoch": ("data=digits", "data.digits.train=128", "study.epochs=1", "model.mlp.width=3300", "regularizer=none"),
}


def main(rounds: int) -> None:
    default = seconds(compose(["data=digits"])["executor"]["checkpoint"])
    assert default
    print(f"the default interval is {default:g} s")
    print("| model | loop with / without | a checkpoint | of the interval | taking it up |\n|---|---|---|---|---|")
    for name, overrides in MODELS.items():
        print(row(name, overrides, default, rounds))


def row(name: str, overrides: tuple[str, ...], default: float, rounds: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        tree = compose([*overrides, "device=cpu", "augmentation=none"])
        world, facts = prepare({"tree": tree, "store": folder})
        order = Train(key="0", recipe=Space.of(tree).fitting(facts["absent"]).baseline(), objective="val_loss", direction="minimize")
        world = replace(world, store=Store(folder))

        def trained(checkpoint: float | None) -> float:
            start = time.perf_counter()
            run(replace(world, checkpoint=checkpoint), order.json(), lambda *_: False)
            return time.perf_counter() - start

        trained(None)
        ratios = [trained(default) / trained(None) for _ in range(rounds)]
        written, taken = [], []
        timed(Keeper, "write", written)
        timed(Keeper, "take_up", taken)
        trained(0.0)
        for _ in range(rounds):
            trained(default)
        share = median(written) / default
        return f"| {name} | {median(ratios):.3f} | {median(written):.3f} s | {share:.2%} | {median(taken):.3f} s |"


def timed(kind: type, name: str, into: list[float]) -> None:
    """Let a method of a class note how long it takes."""
    method = getattr(kind, name)
    method = getattr(method, "plain", method)

    def call(*arguments: object) -> object:
        start = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            into.append(time.perf_counter() - start)

    call.plain = method  # type: ignore[attr-defined]
    setattr(kind, name, call)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
