"""A trained model in MLflow: a logged model of its run, which can be loaded, served and registered.

An exported folder with an MLmodel file is an MLflow model as it is.
"""

import json
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput

DIGEST, MLMODEL = "autoopt.sha256", "MLmodel"


def log_model(client: MlflowClient, experiment: str, run_id: str | None, folder: Path) -> str:
    """Log an exported folder as a model, unless the experiment has it already, and return the model's id.

    Args:
        run_id: the run that it is an output of.
    """
    digest, name = json.loads((folder / "model.json").read_text())["sha256"], folder.resolve().parent.name
    if model_id := logged(client, experiment, digest, run_id):
        return model_id
    model = client.create_logged_model(experiment, name, source_run_id=run_id, tags={DIGEST: digest}, model_type="autoopt")
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    if run_id:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def logged(client: MlflowClient, experiment: str, digest: str, run_id: str | None) -> str | None:
    """The id of the model with these weights, where the experiment has it as an output of the run."""
    found = client.search_logged_models([experiment], filter_string=f"tags.`{DIGEST}` = '{digest}'")
    return next((m.model_id for m in found if m.source_run_id == run_id or run_id is None), None)
