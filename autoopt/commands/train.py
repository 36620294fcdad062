"""`autoopt train`"""

from collections.abc import Sequence

from autoopt.commands.options import Asked, read_options
from autoopt.config.overrides import parse_override
from autoopt.errors import BadInput
from autoopt.records.stored import recipe_overrides
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
    screen.say(f"{trained.note} Exported to {trained.path}")
    return 0


def take_recipe(asked: Asked) -> None:
    """Read `recipe=`: a file, a study (its best recipe) or a trial (`NAME/17`); the other overrides replace its values.

    Raises:
        BadInput: there is a second recipe or a file, or no such recipe.
    """
    named = [o for o in asked.overrides if o.startswith("recipe=")]
    asked.overrides = [o for o in asked.overrides if not o.startswith("recipe=")]
    if len(named) > 1 or (named and asked.file):
        raise BadInput(f"{named[-1]}: give only one recipe or file")
    root = next((str(parse_override(o).value()) for o in asked.overrides if o.startswith("root=")), None)
    asked.recipe = [line for word in named for line in recipe_overrides(word.removeprefix("recipe="), root)]
