"""Does it pay: techniques against the baseline of a search, on bundled data sets with few training rows.

Each technique is added to the baseline by itself, at its defaults. A row is its difference to the baseline on the test part, in points
of accuracy or as the share of the RMSE that it saves: positive is better. Both are trained with the same seed, which also splits the
data, and the interval is that of Student's t over the seeds (95 %).

`python tests/benchmarks/pays.py [ROW …] [--baseline OVERRIDES] [--set NAME …] [--seeds N]`

Without rows: the techniques of the recommended presets. A row is a list of overrides: `'optimizer=sam optimizer.sam.rho=0.1'`.
"""

import argparse
import math
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from scipy.stats import t

from autoopt.config import compose
from autoopt.data.parts import on_test
from autoopt.errors import TechniqueError
from autoopt.goal import direction_of
from autoopt.orders import Measure, Train
from autoopt.recipe import Recipe
from autoopt.space import Space
from autoopt.study.preflight import variants
from autoopt.trial.run import prepare, run
from autoopt.trial.world import World

SETS = {
    "digits, cnn": ("data=digits", "split.test=0.8", "model=cnn", "study.epochs=60"),
    "digits, mlp": ("data=digits", "split.test=0.8", "model=mlp", "study.epochs=60"),
    "breast_cancer, mlp": ("data=breast_cancer", "split.test=0.6", "model=mlp", "study.epochs=60"),
    "diabetes, mlp": ("data=diabetes", "split.test=0.5", "model=mlp", "study.epochs=30"),
}
ALWAYS = ("split.validation=0.1", "device=cpu", "activation=recommended", "batches.size=32")
BASELINE = "baseline"
Scores = dict[str, float]


def main() -> None:
    arguments = parser().parse_args()
    sets = arguments.sets or list(SETS)
    jobs = [(name, seed, arguments.baseline, arguments.rows) for name in sets for seed in range(arguments.seeds)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        scores = pool.starmap(scored, jobs, chunksize=1)
    by_set = {name: [s for (of, *_), s in zip(jobs, scores, strict=True) if of == name] for name in sets}
    print("\n".join(table(by_set)))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--baseline", default="", help="overrides of all rows and of what they are compared with")
    parser.add_argument("--set", action="append", dest="sets", help="a name, or the overrides of a further one; by default all names")
    parser.add_argument("--seeds", type=int, default=5)
    return parser


def scored(name: str, seed: int, baseline: str, rows: Sequence[str]) -> Scores:
    """The test score of the baseline and of each row, with one seed; rows that do not apply to the data are missing."""
    torch.set_num_threads(1)
    settings = [*SETS.get(name, name.split()), *ALWAYS, f"split.seed={seed}", *baseline.split()]
    tree = compose(settings)
    with tempfile.TemporaryDirectory() as folder:
        world, facts = prepare({"tree": tree, "store": folder})

        def recipe(row: str) -> Recipe:
            return space_of([*settings, *row.split()], facts).baseline()

        recipes = {BASELINE: recipe("")} | {row: recipe(row) for row in rows}
        if not rows:
            recipes |= {f"{slot}={name}": recipe for slot, name, recipe in variants(space_of(settings, facts))}
        tried = {row: test_score(world, recipe, seed, tree["objective"] or facts["objective"]) for row, recipe in recipes.items()}
    return {row: score for row, score in tried.items() if score is not None}


def space_of(settings: Sequence[str], facts: dict[str, Any]) -> Space:
    return Space.of(compose(settings)).around(facts["batch_size"]).fitting(facts["absent"])


def test_score(world: World, recipe: Recipe, seed: int, objective: str) -> float | None:
    """The objective, or the negative logarithm of an error; None where a technique does not apply."""
    settings: dict[str, Any] = {"recipe": recipe, "seed": seed, "objective": objective}
    try:
        run(world, Train(key="0", keep=True, **settings).json(), lambda *_: False)
    except TechniqueError as error:
        if not error.unavailable:
            raise
        return None
    score = run(world, Measure(key="1", weights="0", **settings).json(), lambda *_: False)["metrics"][on_test(objective)]
    return score if direction_of(objective) == "maximize" else -math.log(score)


def table(by_set: dict[str, list[Scores]]) -> Iterable[str]:
    """Markdown."""
    rows = dict.fromkeys(row for scores in by_set.values() for row in scores[0])
    yield f"`python tests/benchmarks/pays.py {' '.join(repr(a) if ' ' in a else a for a in sys.argv[1:])}`".replace(" `", "`")
    yield ""
    yield f"| | {' | '.join(by_set)} |"
    yield "|---" * (len(by_set) + 1) + "|"
    for row in rows:
        yield f"| {row} | {' | '.join(cell(row, scores) for scores in by_set.values())} |"


def cell(row: str, scores: list[Scores]) -> str:
    """A mean difference in points and its interval, in bold where the interval leaves out 0; of the baseline, its score."""
    if row not in scores[0]:
        return "–"
    if row == BASELINE:
        mean = statistics.mean(s[row] for s in scores)
        return f"{mean:.1%}" if mean >= 0 else f"{math.exp(-mean):#.3g}"
    differences = [100 * (s[row] - s[BASELINE]) for s in scores]
    mean = statistics.mean(differences)
    half = t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / len(differences) ** 0.5
    shown = f"{mean:+.1f} ± {half:.1f}"
    return f"**{shown}**" if abs(mean) > half else shown


if __name__ == "__main__":
    main()
