"""`autoopt search`"""

from collections.abc import Sequence

from autoopt.commands.options import read_options
from autoopt.report.terminal import closing
from autoopt.study.search import search
from autoopt.terminal import Progress


def run(arguments: Sequence[str]) -> int:
    asked = read_options(arguments, "search")
    if asked is None:
        return 0
    with Progress(resumes=True) as screen:
        tree = asked.tree()
        verdict = search(tree, screen)
    closing(verdict, screen.say, tree["tracking"]["enabled"])
    return 3 if "--strict" in asked.flags and verdict.quarantined else 0
