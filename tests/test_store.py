"""Where logs and weights are stored."""

import pytest

from autoopt.store import Store


def test_a_trial_has_a_log_and_the_weights_of_each_fold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("study")
    assert store.folder("best") == tmp_path / "study" / "best"
    store.log("preflight/baseline").write_text("printed")
    assert (tmp_path / "study" / "trials" / "preflight" / "baseline" / "log.txt").read_text() == "printed"
    for fold in (1, 2):
        with store.writing("3", fold) as path:
            path.write_text(f"fold {fold}")
    assert store.has_weights("3") and not store.has_weights("4")
    assert [store.weights("3", fold).read_text() for fold in (1, 2)] == ["fold 1", "fold 2"]
    monkeypatch.chdir("/")
    store.forget("3")
    assert not store.has_weights("3") and not list((tmp_path / "study" / "trials" / "3").iterdir())


def test_weights_that_were_not_written_to_their_end_are_not_stored(tmp_path):
    store = Store(tmp_path)
    with store.writing("0") as path:
        path.write_text("whole")
    with pytest.raises(OSError, match="full"), store.writing("0") as path:
        path.write_text("ha")
        raise OSError("full")
    assert store.weights("0").read_text() == "whole" and len(list(store.weights("0").parent.iterdir())) == 1
    (store.weights("0").parent / ".model.safetensors").touch()  # of a trial that was killed
    store.forget("0")
    assert not list(store.weights("0").parent.iterdir())
