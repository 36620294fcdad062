"""`autoopt finish`"""

from collections.abc import Sequence

from autoopt.commands.words import named, read
from autoopt.errors import BadInput
from autoopt.study.search import search
from autoopt.terminal import Progress, closing

HELP = """Usage: autoopt finish NAME [root=DIR]

Stops asking for trials: what was searched so far is confirmed and concluded."""


def run(arguments: Sequence[str]) -> int:
    said = read(arguments, "finish", HELP)
    if said is None:
        return 0
    study = named(said, "finish")
    asked = len(study.records["search"])
    if not asked:
        raise BadInput(f"{study.name} has no finished trial yet; there is nothing to conclude")
    tree = {**study.config, "root": str(study.path.parent), "study": {**study.config["study"], "trials": asked, "time": "0s"}}
    with Progress() as screen:
        verdict = search(tree, screen)
    closing(verdict, screen.say)
    return 0
