"""`autoopt ui`"""

from collections.abc import Sequence

from autoopt.errors import BadInput
from autoopt.study.stored import stored
from autoopt.tracking import experiment_name, store_uri, ui

HELP = """Usage: autoopt ui [NAME] [root=DIR] [port=N] [tracking.uri=URI]

Serves the MLflow pages of the runs, on this machine only; with NAME, of that study."""


def run(arguments: Sequence[str]) -> int:
    if "-h" in arguments or "--help" in arguments:
        print(HELP)
        return 0
    settings = dict(a.split("=", 1) for a in arguments if "=" in a)
    if unknown := settings.keys() - {"root", "port", "tracking.uri"}:
        raise BadInput(f"ui: no setting named '{unknown.pop()}'. Known: root, port, tracking.uri.")
    if not (port := settings.get("port", "5000")).isdigit():
        raise BadInput(f"port={port}: expected a number")
    name = next((a for a in arguments if "=" not in a), None)
    uri, experiment = settings.get("tracking.uri"), None
    if name is not None:
        node = stored(name, settings.get("root")).config["tracking"]
        uri, experiment = uri or node["uri"], experiment_name(node["experiment"], name)
    return ui(store_uri(uri), port=int(port), experiment=experiment)
