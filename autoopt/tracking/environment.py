"""The environment variables of a process that uses MLflow."""

import os

# MLflow's own retries take minutes per call, during which the writer could not notice that its supervisor is gone.
MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def prepare_environment() -> None:
    """Set the variables that the user has not set; MLflow reads them when it is imported."""
    os.environ.update({name: value for name, value in MLFLOW.items() if name not in os.environ})
