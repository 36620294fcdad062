"""Exported models in MLflow's registry."""

import json

import pytest
from mlflow import MlflowClient

from autoopt.errors import BadInput
from autoopt.tracking.register import register
from autoopt.tracking.server import free_port


@pytest.fixture
def best(tmp_path):
    folder = tmp_path / "signs" / "best"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"sha256": "abc"}))
    (folder / "MLmodel").write_text("flavors: {}\n")
    return folder


@pytest.mark.slow
def test_each_registration_is_the_next_version_of_one_logged_model(best, store):
    assert [register(store, "digits", best, "signs"), register(store, "digits", best, "signs")] == [1, 2]
    client = MlflowClient(store)
    (model,) = client.search_logged_models([client.get_experiment_by_name("digits").experiment_id])
    versions = client.search_model_versions("name = 'signs'")
    assert [version.source for version in versions] == [model.artifact_location] * 2
    assert (model.name, model.status) == ("signs", "READY")


def test_a_folder_that_is_no_mlflow_model_is_refused(best):
    (best / "MLmodel").unlink()
    with pytest.raises(BadInput, match=r"--register signs: .*best has no MLmodel, so it is no MLflow model"):
        register("sqlite:///none.db", "digits", best, "signs")


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_told_without_its_credentials(best, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(BadInput, match=r"--register signs: http://u:\*\*\*@127.0.0.1:\d+ does not take it: ") as raised:
        register(f"http://u:secret@127.0.0.1:{free_port()}", "digits", best, "signs")
    assert "secret" not in str(raised.value)
