"""Ray Tune with reused actors, on the recipes and the training function of another leg; for ray_throughput.py.

`python tests/benchmarks/ray_tune.py FOLDER`, where FOLDER has recipes.json and tree.json, the composed tree of autoopt's search.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune

from autoopt.orders import Train, from_json
from autoopt.recipe import Recipe

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()


class Trial(tune.Trainable):
    """autoopt's trial function in an actor that stays, with the data: what a user of Tune would write to be as fast."""

    def setup(self, config: dict[str, Any]) -> None:
        from autoopt.trial.run import prepare

        os.environ["OMP_NUM_THREADS"] = "1"
        self.world, _ = prepare({"tree": json.loads((FOLDER / "tree.json").read_text()), "store": str(FOLDER / "store")})
        self.order = config["order"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.order = new_config["order"]
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None: ...

    def step(self) -> dict[str, Any]:
        from autoopt.trial.run import run

        outcome = run(self.world, self.order, lambda epoch, metrics: False)
        return {"val_accuracy": outcome["metrics"]["val_accuracy"], "done": True, "ended": time.time()}


def order_of(number: int, tree: dict[str, Any]) -> dict[str, Any]:
    order = Train(key=str(number), recipe=Recipe(tree), seed=number, objective="val_accuracy", direction="maximize").json()
    assert from_json(order)
    return order


def main() -> None:
    recipes = json.loads((FOLDER / "recipes.json").read_text())
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
    orders = [order_of(number, tree) for number, tree in enumerate(recipes)]
    found = tune.Tuner(
        tune.with_resources(Trial, {"cpu": 1}),
        param_space={"order": tune.grid_search(orders)},
        tune_config=tune.TuneConfig(metric="val_accuracy", mode="max", reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(FOLDER / "tune"), verbose=0, stop={"training_iteration": 1}),
    ).fit()
    ends = sorted(result.metrics["ended"] for result in found)
    scores = [result.metrics["val_accuracy"] for result in found]
    print(json.dumps({"trials": len(scores) - 2, "seconds": ends[-1] - ends[1], "accuracy": sum(scores) / len(scores)}))
    ray.shutdown()


if __name__ == "__main__":
    main()
