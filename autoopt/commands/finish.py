"""`autoopt finish`"""

from collections.abc import Sequence

from autoopt.errors import BadInput
from autoopt.study.search import search
from autoopt.study.stored import stored
from autoopt.terminal import Progress, closing

HELP = """Usage: autoopt finish NAME [root=DIR]

Stops asking for trials: what was searched so far is confirmed and concluded."""


def run(arguments: Sequence[str]) -> int:
    if not arguments or "-h" in arguments or "--help" in arguments:
        print(HELP)
        return 0
    name, *rest = arguments
    study = stored(name, next((a.removeprefix("root=") for a in rest if a.startswith("root=")), None))
    asked = len(study.records["search"])
    if not asked:
        raise BadInput(f"{name} has no finished trial yet; there is nothing to conclude")
    tree = {**study.config, "root": str(study.path.parent), "study": {**study.config["study"], "trials": asked}}
    with Progress() as screen:
        verdict = search(tree, screen)
    closing(verdict, screen.say)
    return 0
