"""`autoopt report`"""

from collections.abc import Sequence
from pathlib import Path

from autoopt.commands.words import read_words, study_named
from autoopt.errors import BadInput
from autoopt.records.stages import SEARCH
from autoopt.records.stored import in_use
from autoopt.study.rebuild import rebuild_mirror

HELP = """Usage: autoopt report NAME [--mirror] [to=FILE.html] [root=DIR] [tracking.uri=URI]

Writes the verdict, the figures, the trials and the recipe of a study as one
HTML file that needs no network, by default report.html in the study's folder.
A browser prints it as PDF. A search writes it at its end; of a study that is
not concluded, it shows what there is. --mirror also writes all runs of the
study into an MLflow store, that of the study or tracking.uri=, from the
study's folder alone."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "report", HELP, known=("root", "to", "tracking.uri"), flags=("--mirror",))
    if parsed is None:
        return 0
    study = study_named(parsed, "report")
    if not study.records[SEARCH.name]:
        raise BadInput(f"{study.name} has no finished trial yet; there is nothing to show")
    if "--mirror" in parsed.flags and in_use(study.path):
        raise BadInput(f"report --mirror: {study.name} is being searched, and its runs are written as they go")
    from autoopt.report.page import NAME, write_page  # loads plotly, which takes a second: bad input is reported before

    path = Path(parsed.settings.get("to", study.path / NAME))
    write_page(study, path)
    print(path)
    if "--mirror" in parsed.flags:
        written = rebuild_mirror(study, parsed.settings.get("tracking.uri"))
        print(f"MLflow has the runs of {study.name} in the experiment {written.experiment} of {written.shown}")
    return 0
