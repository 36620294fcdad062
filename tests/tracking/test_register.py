"""Exported models in MLflow's registry."""

import json

import pytest
from mlflow import MlflowClient

from autoopt.errors import BadInput
from autoopt.tracking.model import DIGEST, log_model
from autoopt.tracking.register import register
from autoopt.tracking.server import free_port
from autoopt.tracking.writer import connect


@pytest.fixture
def best(tmp_path):
    folder = tmp_path / "signs" / "best"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"sha256": "abc"}))
    (folder / "MLmodel").write_text("flavors: {}\n")
    return folder


@pytest.mark.slow
def test_each_registration_is_the_next_version_of_one_logged_model(best, store):
    assert [register(store, "digits", best, "signs", "signs-v1.5"), register(store, "digits", best, "signs", "signs-v1.5")] == [1, 2]
    client = MlflowClient(store)
    (model,) = client.search_logged_models([client.get_experiment_by_name("digits").experiment_id])
    versions = client.search_model_versions("name = 'signs'")
    assert [version.source for version in versions] == [model.artifact_location] * 2
    assert (model.name, model.status) == ("signs-v1_5", "READY")
    linked = json.loads(model.tags["mlflow.modelVersions"])
    assert [(link["name"], int(link["version"])) for link in linked] == [("signs", 1), ("signs", 2)]


@pytest.mark.slow
def test_an_upload_that_was_cut_short_is_finished(best, store):
    client, experiment = connect(store, "digits")
    run = client.create_run(experiment).info.run_id
    begun = client.create_logged_model(experiment, "signs", source_run_id=run, tags={DIGEST: "abc"})
    assert log_model(client, experiment, run, best, "signs") == begun.model_id
    assert client.get_logged_model(begun.model_id).status == "READY"
    assert {file.path for file in client.list_logged_model_artifacts(begun.model_id)} == {"MLmodel", "model.json"}
    assert [output.model_id for output in client.get_run(run).outputs.model_outputs] == [begun.model_id]


@pytest.mark.slow
def test_an_upload_that_was_cut_short_before_its_end_was_marked_is_finished(best, store, monkeypatch):
    client, experiment = connect(store, "digits")
    run = client.create_run(experiment).info.run_id
    with monkeypatch.context() as broken:
        broken.setattr(client, "finalize_logged_model", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            log_model(client, experiment, run, best, "signs")
    model = client.get_logged_model(log_model(client, experiment, run, best, "signs"))
    assert model.status == "READY" and len(client.search_logged_models([experiment])) == 1
    assert len(client.get_run(run).outputs.model_outputs) == 1


def test_a_folder_that_is_no_mlflow_model_is_refused(best):
    (best / "MLmodel").unlink()
    with pytest.raises(BadInput, match=r"--register signs: .*best has no MLmodel, so it is no MLflow model"):
        register("sqlite:///none.db", "digits", best, "signs", "signs-v1.5")


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_told_without_its_credentials(best, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(BadInput, match=r"--register signs: http://u:\*\*\*@127.0.0.1:\d+ does not take it: ") as raised:
        register(f"http://u:secret@127.0.0.1:{free_port()}", "digits", best, "signs", "signs-v1.5")
    assert "secret" not in str(raised.value)
