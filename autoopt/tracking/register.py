"""Adds an exported model to MLflow's registry."""

import json
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from autoopt.errors import BadInput, one_line
from autoopt.tracking.model import MLMODEL, log_model
from autoopt.tracking.spool import redacted, secrets
from autoopt.tracking.writer import connect

EXISTS = "RESOURCE_ALREADY_EXISTS"


def register(uri: str, experiment: str, folder: Path, name: str, study: str) -> int:
    """Register an exported folder as the next version of a model, and return the version; it is logged first if need be.

    Args:
        study: the name of the study that the folder was exported from.

    Raises:
        BadInput: the folder is no MLflow model, or the store refuses it or does not answer.
    """
    if not (folder / MLMODEL).exists():
        raise BadInput(f"--register {name}: {folder} has no {MLMODEL}, so it is no MLflow model")
    before = mlflow.get_tracking_uri()
    try:
        mlflow.set_tracking_uri(uri)  # the registry looks the model up there
        client, experiment_id = connect(uri, experiment)
        model = client.get_logged_model(log_model(client, experiment_id, None, folder, study))
        make_registered(client, name)
        version = client.create_model_version(name, model.artifact_location, run_id=model.source_run_id, model_id=model.model_id)
        link_version(client, model.model_id, name, version.version)
    except (MlflowException, OSError) as error:
        reason = redacted(one_line(error), secrets(uri))
        raise BadInput(f"--register {name}: {redacted(uri, secrets(uri))} does not take it: {reason:.300}") from error
    finally:
        mlflow.set_tracking_uri(before)
    return int(version.version)


def make_registered(client: MlflowClient, name: str) -> None:
    """Create a registered model, unless there is one of this name."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != EXISTS:
            raise


def link_version(client: MlflowClient, model_id: str, name: str, version: str) -> None:
    """Tell a logged model its version, so that its page links it; servers of MLflow do so themselves, a database alone does not."""
    known = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    if (name, str(version)) not in {(link["name"], str(link["version"])) for link in known}:
        client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps([*known, {"name": name, "version": version}])})
