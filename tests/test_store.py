"""Where logs and weights are stored."""

import os
import random
import subprocess

import pytest

from autoopt.errors import StoreFault
from autoopt.store import SUMS, Reached, Store


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
    assert store.weights("0").read_text() == "whole" and store.has_weights("0") and len(list(store.weights("0").parent.iterdir())) == 2
    (store.weights("0").parent / ".model.safetensors").touch()  # of a trial that was killed
    store.forget("0")
    assert not list(store.weights("0").parent.iterdir())


def test_any_change_of_stored_weights_is_seen(tmp_path):
    """60 files with two changed bytes, cut, or longer."""
    store, draw = Store(tmp_path), random.Random(0)
    whole = draw.randbytes(500)
    for number in range(60):
        with store.writing(f"{number}") as path:
            path.write_bytes(whole)
        assert store.intact_weights(f"{number}").read_bytes() == whole
        spoilt, places = bytearray(whole), draw.sample(range(500), 2)
        for place in places:
            spoilt[place] ^= draw.randrange(1, 256)
        spoilt = [spoilt, whole[: places[0]], whole + b"\0"][number % 3]
        store.weights(f"{number}").write_bytes(spoilt)
        assert not store.has_weights(f"{number}")
        with pytest.raises(
            StoreFault, match=rf"the weights of trial {number} are damaged: .*/{number}/model\.safetensors is not as it was"
        ):
            store.intact_weights(f"{number}")


def test_weights_of_a_study_begun_before_digests_were_stored_are_used_as_they_are(tmp_path):
    store = Store(tmp_path)
    with store.writing("0") as path:
        path.write_text("whole")
    store.weights("0").with_name(SUMS).unlink()
    assert store.has_weights("0") and store.intact_weights("0").read_text() == "whole"
    store.weights("0").unlink()
    assert not store.has_weights("0")
    with pytest.raises(StoreFault, match="the weights of trial 0 are gone"):
        store.intact_weights("0")


def test_weights_that_are_gone_are_missed_in_each_fold(tmp_path):
    store = Store(tmp_path)
    for fold in (1, 2, 3):
        with store.writing("0", fold) as path:
            path.write_text(f"fold {fold}")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "trials" / "0", check=True)
    store.weights("0", 2).unlink()
    assert not store.has_weights("0")
    with pytest.raises(StoreFault, match=r"the weights of trial 0 are gone: .*/model.fold2.safetensors"):
        store.intact_weights("0", 2)
    assert store.intact_weights("0", 3).read_text() == "fold 3"
    (tmp_path / "trials" / "0" / "SHA256SUMS").write_bytes(b"\xff\n")
    assert not store.has_weights("0")
    with pytest.raises(StoreFault, match="damaged"):
        store.intact_weights("0", 3)


def test_what_is_no_checkpoint_is_passed_over(tmp_path):
    store = Store(tmp_path)
    for name in "1-000004-000000001", "1-000008-000000003", "1--", "9-²-1", "1-2", "1-2-3-4", "x":
        (tmp_path / "trials" / "0" / "resume" / name).mkdir(parents=True)
    assert store.checkpoints("0") == [Reached(1, 8, 3), Reached(1, 4, 1)]


def test_a_checkpoint_whose_file_is_a_pipe_is_damaged(tmp_path):
    """Reading it would wait for somebody who writes."""
    store, at = Store(tmp_path), Reached(1, 4, 1)
    with store.writing_checkpoint("0", at) as folder:
        (folder / "state.json").write_text("{}")
    path = store.intact_checkpoint("0", at) / "state.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreFault, match="is damaged: it is not as it was written"):
        store.intact_checkpoint("0", at)
