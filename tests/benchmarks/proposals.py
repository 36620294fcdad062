"""What one proposal costs: processor time of each strategy with 100 to 10,000 trials behind it, in a space of some 60 values.

`python tests/benchmarks/proposals.py`
"""

import os
from statistics import median
from time import process_time

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported

from autoopt.config import compose
from autoopt.goal import Goal, Objective
from autoopt.space import Space
from autoopt.strategy import AtRandom, Observation
from autoopt.study.study import strategy_of

WIDE = (
    "data=digits", "model=cnn,mlp,resnet", "optimizer=adamw,nesterov,lion,muon,sgd,radam,adam", "schedule=cosine,one_cycle,step,polynomial",
    "initializer=he_normal,orthogonal,xavier_normal", "augmentation=mixup,translate,rotate,noise,random_erasing,cutmix",
    "regularizer=dropout,l1,gradient_clip,ema,gradient_noise", "loss=cross_entropy,focal", "study.epochs=18",
)  # fmt: skip
SIZES, REPEATS = (100, 200, 1000, 5000, 10_000), 5
GOAL = Goal((Objective("val_accuracy", "maximize"),))


def history_of(space: Space, count: int) -> list[Observation]:
    """Trials at random; one of three is complete, the others were stopped at the second epoch."""
    draw = AtRandom(space)
    trials = []
    for number in range(count):
        values = draw.propose((), number, 0)
        score = len(values) / 100 + (number * 7919 % 1000) / 2000
        complete = number % 3 == 0
        curve = dict.fromkeys((2, 6, 18), score) if complete else {2: score}
        trials.append(Observation(number, "complete" if complete else "stopped", values, (score,) if complete else (), curve))
    return trials


def main() -> None:
    space = Space.of(compose(WIDE))
    every = history_of(space, SIZES[-1] + REPEATS)
    print(f"{len(space.domains())} values; milliseconds of processor time a proposal, the median of {REPEATS} that follow one another")
    print(f"| strategy | {' | '.join(f'{size:,} trials' for size in SIZES)} |")
    print(f"|---|{'---|' * len(SIZES)}")
    for name in ("random", "tpe", "bayes"):
        cells = []
        for size in SIZES:
            strategy = strategy_of(compose([*WIDE, f"strategy={name}"]), space, GOAL)
            strategy.propose(every[:size], size, 0)
            times = []
            for more in range(1, REPEATS + 1):
                start = process_time()
                strategy.propose(every[: size + more], size + more, 0)
                times.append(process_time() - start)
            cells.append(f"{1000 * median(times):.1f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
