"""`autoopt finish`"""

from collections.abc import Sequence

from autoopt.commands.words import read_words, study_named
from autoopt.errors import BadInput
from autoopt.report.terminal import closing
from autoopt.study.search import search
from autoopt.terminal import Progress

HELP = """Usage: autoopt finish NAME [root=DIR]

Stops asking for trials: what was searched so far is confirmed and concluded."""


def run(arguments: Sequence[str]) -> int:
    said = read_words(arguments, "finish", HELP)
    if said is None:
        return 0
    study = study_named(said, "finish")
    if not study.searched:
        raise BadInput(f"{study.name} is a training, not a search; there is nothing to conclude")
    if not study.records["search"]:
        raise BadInput(f"{study.name} has no finished trial yet; there is nothing to conclude")
    with Progress() as screen:
        verdict = search(study.config | {"root": str(study.path.parent)}, screen, asking=False)
    closing(verdict, screen.say)
    return 0
