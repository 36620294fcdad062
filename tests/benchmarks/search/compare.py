"""Plays autoopt's strategies and the methods of other libraries through the recorded tables, and compares what they find.

`python tests/benchmarks/search/compare.py tuning|judging|NAME... [--seeds 30] [--workers 1] [--trainings 80] [--only METHOD,...]
[--out FILE]`

A method that is not installed is left out; run in an environment in which it is, with the same FILE, it adds its row to those of the
others. Regret: the mean test error, over the training seeds, of the recipe that the method delivers, over that of the table's best
recipe, in points. A method delivers the complete trial of the best validation score; `bayes` delivers the first of its own ranking.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported
sys.path.insert(0, str(Path(__file__).parents[1] / "tables"))

import numpy as np
import optuna
from grids import GRIDS
from peers import PEERS, Make
from scipy.stats import wilcoxon
from simulate import Ours, goal_of, play
from table import Table

from autoopt.config import compose
from autoopt.study.study import strategy_of

BUDGETS = (5, 10, 20, 40, 80)
OURS = {
    "autoopt bayes": ("strategy=bayes",),
    "autoopt bayes, no rungs": ("strategy=bayes", "strategy.bayes.rungs=0"),
    "autoopt tpe": ("strategy=tpe",),
    "autoopt random, rungs": ("strategy=random",),
    "autoopt one_epoch": ("strategy=one_epoch",),
    "random": ("strategy=random", "strategy.random.rungs=0"),
}
REFERENCE = "autoopt bayes"


def ours(overrides: Sequence[str]) -> Make:
    def make(table: Table, seed: int) -> Ours:
        grid = table.grid
        return Ours(strategy_of(compose([*grid.config, *overrides]), grid.space, goal_of(table)), seed, grid.space.defaults())

    return make


def by_score(table: Table, seed: int) -> Ours:
    """`bayes` that delivers the complete trial of the best score, as the others do, and not the first of its ranking."""
    searcher = ours(OURS[REFERENCE])(table, seed)
    searcher.strategy.ranking = lambda history: ()
    return searcher


METHODS: Mapping[str, Make] = {
    **{name: ours(overrides) for name, overrides in OURS.items()},
    "autoopt bayes, by score": by_score,
    **PEERS,
}


def played(task: tuple[str, str, int, int, float]) -> tuple[list[float], float, int, int]:
    """The regrets at the budgets, the processor seconds of all decisions, and how many trials began and how many were complete."""
    method, name, seed, workers, trainings = task
    warnings.filterwarnings("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = Table.load(name)
    result = play(table, METHODS[method](table, seed), trainings, workers, seed, [b for b in BUDGETS if b <= trainings])
    return result.regrets, result.seconds, len(result.trials), sum(trial.state == "complete" for trial in result.trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--trainings", type=float, default=80)
    parser.add_argument("--only")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    names = [grid.name for grid in GRIDS if grid.name in given.tables or grid.use in given.tables]
    known = given.out.read_text() if given.out and given.out.exists() else "{}"
    regrets: dict[str, dict[str, list[list[float]]]] = json.loads(known)
    with ProcessPoolExecutor(2) as pool:
        for method in given.only.split(",") if given.only else METHODS:
            try:
                for name in names:
                    tasks = [(method, name, seed, given.workers, given.trainings) for seed in range(given.seeds)]
                    rows = list(pool.map(played, tasks))
                    regrets.setdefault(method, {})[name] = [row[0] for row in rows]
                    means = " ".join(f"{mean:6.2f}" for mean in np.mean([row[0] for row in rows], axis=0))
                    cost, begun, complete = (sum(row[i] for row in rows) for i in (1, 2, 3))
                    told = f"{begun / len(rows):.0f} trials, {complete / len(rows):.0f} complete, {1000 * cost / begun:.1f} ms a proposal"
                    print(f"{method:34s} {name:18s} {means}   {told}", file=sys.stderr, flush=True)
            except ImportError as error:
                print(f"{method}: left out, {error}", file=sys.stderr)
            if given.out:
                given.out.write_text(json.dumps(regrets))
    print(report(regrets, names, [b for b in BUDGETS if b <= given.trainings]))


def report(regrets: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], names: Sequence[str], budgets: Sequence[float]) -> str:
    """Markdown: the mean regret of each method at each budget; over the tables together, in units of random's regret at 40 or the last."""
    last = budgets.index(40) if 40 in budgets else len(budgets) - 1
    unit = {name: np.mean(regrets["random"][name], axis=0)[last] if "random" in regrets else 1.0 for name in names}
    pooled = {method: np.mean([np.array(rows[name]) / unit[name] for name in names], axis=0) for method, rows in regrets.items()}
    head = " | ".join(f"{name} @{'/'.join(map(str, budgets))}" for name in names)
    lines = [f"| method | {head} | together | p at {'/'.join(map(str, budgets))} |", f"|---|{'---|' * (len(names) + 2)}"]
    for method, rows in regrets.items():
        cells = ["/".join(f"{mean:.2f}" for mean in np.mean(rows[name], axis=0)) for name in names]
        together = "/".join(f"{mean:.2f}" for mean in pooled[method].mean(axis=0))
        lines.append(f"| {method} | {' | '.join(cells)} | {together} | {compared(pooled, method, len(budgets))} |")
    return "\n".join(lines)


def compared(pooled: Mapping[str, np.ndarray], method: str, budgets: int) -> str:
    """Wilcoxon's signed rank test against the reference, over the search seeds."""
    if method == REFERENCE or REFERENCE not in pooled:
        return ""
    differences = pooled[method] - pooled[REFERENCE]
    return "/".join(f"{wilcoxon(differences[:, i]).pvalue:.2g}{'+' if differences[:, i].mean() < 0 else ''}" for i in range(budgets))


if __name__ == "__main__":
    main()
