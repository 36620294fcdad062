"""`autoopt report`"""

from collections.abc import Sequence
from pathlib import Path

from autoopt.commands.words import read_words, study_named
from autoopt.errors import BadInput

HELP = """Usage: autoopt report NAME [to=FILE.html] [root=DIR]

Writes the verdict, the figures, the trials and the recipe of a study as one HTML file that needs no network, by default report.html in
the study's folder. A browser prints it as PDF. A search writes it at its end; of a study that is not concluded, it shows what there is."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "report", HELP, known=("root", "to"))
    if parsed is None:
        return 0
    study = study_named(parsed, "report")
    if not study.records["search"]:
        raise BadInput(f"{study.name} has no finished trial yet; there is nothing to show")
    from autoopt.report.page import NAME, write_page  # loads plotly, which takes a second: bad input is reported before

    path = Path(parsed[1].get("to", study.path / NAME))
    write_page(study, path)
    print(path)
    return 0
