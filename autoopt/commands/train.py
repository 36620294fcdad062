"""`autoopt train`"""

from collections.abc import Sequence

from autoopt.commands.options import Asked, read_options
from autoopt.errors import BadInput
from autoopt.study.stored import recipe_overrides
from autoopt.study.train import train
from autoopt.terminal import Progress


def run(arguments: Sequence[str]) -> int:
    asked = read_options(arguments, "train", take_recipe)
    if asked is None:
        return 0
    with Progress() as screen:
        trained = train(asked.tree(), screen)
    for name, value in sorted(trained.metrics.items()):
        screen.say(f"  {name:<30} {value:.6g}")
    screen.say(f"{trained.objective} on the {trained.part} split: {trained.score:.4f}; exported to {trained.path}")
    return 0


def take_recipe(asked: Asked) -> None:
    """`recipe=` names a file, a study (its best) or one of its trials (`NAME/17`); the overrides go over it, as over a file."""
    named = [o for o in asked.overrides if o.startswith("recipe=")]
    asked.overrides = [o for o in asked.overrides if not o.startswith("recipe=")]
    if len(named) > 1 or (named and asked.file):
        raise BadInput(f"{named[-1]}: one recipe at a time")
    root = next((o.removeprefix("root=") for o in asked.overrides if o.startswith("root=")), None)
    asked.recipe = [line for said in named for line in recipe_overrides(said.removeprefix("recipe="), root)]
