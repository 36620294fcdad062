"""`autoopt ui`"""

from collections.abc import Sequence

from autoopt.commands.words import read_words, study_named
from autoopt.errors import BadInput
from autoopt.tracking import experiment_name, store_uri, ui

HELP = """Usage: autoopt ui [NAME] [root=DIR] [port=N] [tracking.uri=URI]

Serves the MLflow pages of the runs, on this machine only and a free port; with NAME, of that study, and its trials sorted by score."""


def run(arguments: Sequence[str]) -> int:
    said = read_words(arguments, "ui", HELP, known=("root", "port", "tracking.uri"))
    if said is None:
        return 0
    words, settings = said
    port = settings.get("port", "0")
    if not (port.isdigit() and int(port) < 2**16):
        raise BadInput(f"port={port}: expected a number up to {2**16 - 1}")
    uri, experiment, direction = settings.get("tracking.uri"), None, "maximize"
    if words:
        study = study_named(said, "ui")
        node = study.config["tracking"]
        uri, experiment = uri or node["uri"], experiment_name(node["experiment"], study.name)
        direction = study.direction
    return ui(store_uri(uri), port=int(port), experiment=experiment, direction=direction)
