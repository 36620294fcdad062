"""A trained model in MLflow: a logged model of its run, which can be loaded, served and registered.

An exported folder with an MLmodel file is an MLflow model as it is.
"""

import json
import re
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus

DIGEST, MLMODEL = "autoopt.sha256", "MLmodel"
READY, PENDING = LoggedModelStatus.READY, LoggedModelStatus.PENDING


def log_model(client: MlflowClient, experiment: str, run_id: str | None, folder: Path, study: str) -> str:
    """Log an exported folder as a model, unless the experiment has it already, and return the model's id.

    A model whose upload was cut short is uploaded again: it is READY only once all of it is there.

    Args:
        run_id: the run that it is an output of.
        study: the name of the study, by which MLflow shows the model.
    """
    digest = json.loads((folder / "model.json").read_text(encoding="utf-8"))["sha256"]
    model = logged(client, experiment, digest, run_id)
    if model is None:
        name, tags = model_name(study), {DIGEST: digest}
        model = client.create_logged_model(experiment, name, source_run_id=run_id, tags=tags, model_type="autoopt")
    if model.status != READY:
        client.log_model_artifacts(model.model_id, str(folder))
        if model.source_run_id:
            make_output(client, model.source_run_id, model.model_id)
        client.finalize_logged_model(model.model_id, READY)
    return str(model.model_id)


def make_output(client: MlflowClient, run_id: str, model_id: str) -> None:
    """Make a model an output of its run, unless it is; stores refuse to be told twice."""
    outputs = client.get_run(run_id).outputs
    if all(output.model_id != model_id for output in (outputs.model_outputs if outputs else ())):
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def model_name(study: str) -> str:
    """A study's name without the characters that MLflow refuses in the name of a model."""
    return re.sub(r"""[/:.%"']""", "_", study)


def logged(client: MlflowClient, experiment: str, digest: str, run_id: str | None) -> LoggedModel | None:
    """The model with these weights, where the experiment has it as an output of the run; rather a whole one than a part."""
    found = client.search_logged_models([experiment], filter_string=f"tags.`{DIGEST}` = '{digest}'")
    known = {model.status: model for model in found if run_id in (None, model.source_run_id)}
    return known.get(READY) or known.get(PENDING)
