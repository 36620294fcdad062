"""`autoopt finish`"""

from collections.abc import Sequence

from autoopt.commands.words import read_words, study_named
from autoopt.config import compose
from autoopt.errors import BadInput
from autoopt.grammar import spell
from autoopt.records.stages import SEARCH
from autoopt.report.terminal import closing
from autoopt.study.search import search
from autoopt.terminal import Progress

HELP = """Usage: autoopt finish NAME [root=DIR] [trust=module:object,…] [tracking.uri=URI]

Begins no new trials: confirms the best trials so far and writes the verdict. A
study of your own code is finished once trust= names it."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "finish", HELP, known=("root", "trust", "tracking.uri"))
    if parsed is None:
        return 0
    study = study_named(parsed, "finish")
    if not study.searched:
        raise BadInput(f"{study.name} is a training, not a search; there is nothing to conclude")
    if not study.records[SEARCH.name]:
        raise BadInput(f"{study.name} has no finished trial yet; there is nothing to conclude")
    uri = parsed.settings.get("tracking.uri")
    address = [] if uri is None else [f"tracking.uri={spell(uri)}"]
    tree = compose([f"root={spell(str(study.path.parent))}", *address], str(study.path / "config.yaml"))
    with Progress(resumes=True) as screen:
        verdict = search(tree, screen, asking=False)
    closing(verdict, screen.say, tree["tracking"]["enabled"])
    return 0
