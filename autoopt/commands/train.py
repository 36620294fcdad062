"""`autoopt train`"""

from collections.abc import Sequence

from autoopt.commands.options import Asked, read
from autoopt.errors import BadInput
from autoopt.study.stored import recipe_overrides
from autoopt.study.train import train
from autoopt.terminal import Progress


def run(arguments: Sequence[str]) -> int:
    asked = read(arguments, "train")
    if asked is None:
        return 0
    with Progress() as screen:
        trained = train(resolved(asked).tree(), screen)
    for name, value in sorted(trained.metrics.items()):
        screen.say(f"  {name:<30} {value:.6g}")
    screen.say(f"{trained.objective} on the test split: {trained.score:.4f}; exported to {trained.path}")
    return 0


def resolved(asked: Asked) -> Asked:
    """`recipe=` names a file, a study (its best) or one of its trials (`NAME/17`)."""
    named = [o for o in asked.overrides if o.startswith("recipe=")]
    rest = [o for o in asked.overrides if not o.startswith("recipe=")]
    if not named:
        return asked
    if asked.file or len(named) > 1:
        raise BadInput(f"{named[-1]}: one recipe at a time")
    root = next((o.removeprefix("root=") for o in rest if o.startswith("root=")), None)
    return Asked([*recipe_overrides(named[0].removeprefix("recipe="), root), *rest], None, asked.flags)
