"""`autoopt ui`"""

from collections.abc import Sequence

from autoopt.commands.words import read_words, study_named
from autoopt.errors import BadInput
from autoopt.prose import print_prose
from autoopt.records.folder import reference
from autoopt.tracking import experiment_name, store_uri, ui
from autoopt.tracking.spool import spool_name
from autoopt.tracking.view import view_name

HELP = """Usage: autoopt ui [NAME] [root=DIR] [port=N] [tracking.uri=URI]

Serves the MLflow pages of the runs, for this machine only, by default on a
free port; with NAME, the leaderboard of that study and its charts."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "ui", HELP, known=("root", "port", "tracking.uri"))
    if parsed is None:
        return 0
    words, settings, _ = parsed
    port = settings.get("port", "0")
    if not (port.isdecimal() and int(port) < 2**16):
        raise BadInput(f"port={port}: expected a number up to {2**16 - 1}")
    uri, experiment, view = settings.get("tracking.uri"), None, None
    if words:
        study = study_named(parsed, "ui")
        node = study.config["tracking"]
        if not node["enabled"]:
            mirror = f"autoopt report {reference(study.path)} --mirror writes them"
            print_prose(f"MLflow was not told of the runs of {study.name} (tracking.enabled=false): {mirror}")
        uri, experiment = uri or node["uri"], experiment_name(node["experiment"], study.name)
        view = view_name(spool_name(study.path))
    return ui(store_uri(uri), port=int(port), experiment=experiment, view=view)
