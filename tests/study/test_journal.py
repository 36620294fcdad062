import json
import math
import os
import resource
import subprocess
import sys
from dataclasses import replace

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from scripted import ACCURACY, learn, runner, space

from autoopt.space import Space
from autoopt.study.explore import Derived, explore
from autoopt.study.journal import Journal, JournalFile, Record, StoreError


def fill(path, count=5):
    """A journal of so many told trials, each with one parameter."""
    journal = Journal(path, "s")
    for number in range(count):
        tell(journal, number)
    journal.close()
    return path.read_bytes()


def tell(journal, number):
    study = journal.stage("search")
    study.sampler = optuna.samplers.RandomSampler(seed=number)
    trial = study.ask()
    trial.suggest_float("lr", 0, 1)
    journal.tell(study, trial, record(number))


def record(number, **changes):
    return Record(
        **{"key": str(number), "stage": "search", "recipe": {"model": {"mlp": {}}}, "seed": number, "state": "complete"} | changes,
        score=0.5,
    )


def history(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_cut_at_every_byte_of_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)  # slow, a thousand times
    path = tmp_path / "journal.log"
    whole = fill(path, 3)
    lines = whole.splitlines(keepends=True)
    last = sum(map(len, lines[:-3]))
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        kept = [json.loads(line) for line in whole[:cut].splitlines(keepends=True) if line.endswith(b"\n")]
        reader = JournalFile(path, write=False)
        assert reader.logs == kept
        assert path.read_bytes() == whole[:cut]
        writer = JournalFile(path)
        assert writer.logs == kept
        writer.append_logs([{"next": cut}])
        writer.close()
        assert history(path) == [*kept, {"next": cut}]


def test_cut_inside_a_record_goes_on(tmp_path):
    path = tmp_path / "journal.log"
    whole = fill(path)
    path.write_bytes(whole[:-10])
    journal = Journal(path, "s")
    assert [t.number for t in journal.interrupted(journal.stage("search"))] == [4]
    tell(journal, 5)
    journal.close()
    assert [r.key for r in Journal(path, "s", write=False).records("search")] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("tail", [b"\0" * 512, b"garbage\n", b'"no object"\n', b"\xff\xfe\n", b'{"op_code": 4', b'{"op_code": 4}', b"\n"])
def test_a_garbage_tail_is_cut_when_it_is_written_and_left_when_it_is_read(tmp_path, tail):
    path = tmp_path / "journal.log"
    whole = fill(path)
    path.write_bytes(whole + tail)
    assert len(Journal(path, "s", write=False).records("search")) == 5
    assert path.read_bytes() == whole + tail
    Journal(path, "s").close()
    assert path.read_bytes() == whole


def test_what_was_cut_is_kept_beside_what_was_cut_before(tmp_path):
    path = tmp_path / "journal.log"
    whole = fill(path)
    for tail in (b'{"op_code": 4', b"garbage\n"):
        path.write_bytes(whole + tail)
        JournalFile(path).close()
    assert (tmp_path / "journal.torn").read_bytes() == b'{"op_code": 4\ngarbage\n'


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("spoilt", [b"garbage", b"", b"\0" * 40, b"[1]", b"\xff"])
def test_a_spoilt_line_further_up_is_said_and_nothing_is_changed(tmp_path, spoilt, write):
    path = tmp_path / "journal.log"
    lines = fill(path).split(b"\n")
    at = sum(len(line) + 1 for line in lines[:6])
    lines[6] = spoilt
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(StoreError, match=rf"journal\.log, line 7 \(from byte {at} on\) is spoilt; nothing was changed"):
        Journal(path, "s", write)
    assert path.read_bytes() == b"\n".join(lines) and [p.name for p in tmp_path.iterdir()] == ["journal.log"]


def test_reading_makes_no_file(tmp_path):
    assert Journal(tmp_path / "none.log", "s", write=False).records("search") == []
    assert list(tmp_path.iterdir()) == []


def test_opening_again_writes_nothing(tmp_path):
    path = tmp_path / "journal.log"
    whole = fill(path)
    journal = Journal(path, "s")
    journal.stage("search")
    journal.records("confirm")
    journal.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("fault", ["in part", "not at all"])
def test_a_full_disk_leaves_the_file_sound(tmp_path, monkeypatch, fault):
    path = tmp_path / "journal.log"
    fill(path)
    journal = Journal(path, "s")
    before = path.read_bytes()
    write = os.write

    def full(file, data):
        if fault == "not at all":
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) // 2])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(StoreError, match=r"journal\.log cannot be written: (No space left on device|it was written in part)") as caught:
            tell(journal, 5)
    assert caught.value.exit_code == 75
    assert path.read_bytes() == before
    journal.close()
    again = Journal(path, "s")
    tell(again, 5)
    again.close()
    assert len(Journal(path, "s", write=False).records("search")) == 6


def test_the_limit_of_a_real_file_system(tmp_path):
    path = tmp_path / "journal.log"
    size = len(fill(path))
    script = (
        "import sys; from pathlib import Path; from autoopt.study.journal import JournalFile, StoreError\n"
        "file = JournalFile(Path(sys.argv[1]))\n"
        "try:\n    file.append_logs([{'long': 'x' * 1000}])\n"
        "except StoreError as error:\n    print(error)"
    )
    limit = size + 500
    said = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert "cannot be written: it was written in part" in said.stdout
    assert path.stat().st_size == size


def test_optuna_reads_it(tmp_path):
    path = tmp_path / "journal.log"
    fill(path)
    storage = JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))
    study = optuna.load_study(study_name="s/search", storage=storage)
    assert [t.value for t in study.trials] == [0.5] * 5
    assert study.trials[3].user_attrs["autoopt"]["seed"] == 3


def test_states_and_what_the_sampler_is_told(tmp_path):
    journal = Journal(tmp_path / "journal.log", "s")
    study = journal.stage("search")
    for number, (state, reason) in enumerate([("complete", None), ("stopped", None), ("failed", "lost"), ("failed", "nonfinite")]):
        trial = study.ask()
        trial.suggest_float("lr", 0, 1)
        journal.tell(study, trial, record(number, state=state, curve=[0.1, 0.2], reason=reason))
    told = study.get_trials()
    assert [t.state.name for t in told] == ["COMPLETE", "PRUNED", "FAIL", "PRUNED"]
    assert told[1].intermediate_values == {2: 0.2} and told[3].intermediate_values == {}
    assert [r.state for r in journal.records("search")] == ["complete", "stopped", "failed", "failed"]


def test_the_sampler_learns_where_trainings_diverge(tmp_path):
    """The best rate is just below the one from which on all diverges: of trials unseen there, three in four would fail."""
    journal = Journal(tmp_path / "journal.log", "s", "minimize")
    study, failed = journal.stage("search"), []
    for number in range(50):
        study.sampler = Derived(0, number)
        trial = study.ask()
        rate = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        diverged = rate > 0.1
        failed.append(diverged)
        ended = {"state": "failed", "reason": "nonfinite"} if diverged else {"state": "complete"}
        journal.tell(study, trial, replace(record(number, **ended), score=None if diverged else -math.log10(rate)))
    assert sum(failed[10:]) < 20


def test_a_baseline_of_another_space_is_told_to_no_sampler_and_kept(tmp_path):
    journal = Journal(tmp_path / "journal.log", "s")
    study = journal.stage("search")
    journal.tell(study, study.ask(), record(0), silent=True)
    assert [t.state.name for t in study.get_trials()] == ["FAIL"]
    assert journal.records("search") == [record(0)]


def test_a_space_with_nothing_left_to_choose_is_told_like_any_other(tmp_path):
    journal = Journal(tmp_path / "journal.log", "s")
    study = journal.stage("search")
    journal.tell(study, study.ask(), record(0))
    assert [(t.state.name, t.value) for t in study.get_trials()] == [("COMPLETE", 0.5)]


def test_a_record_is_read_as_it_was_kept(tmp_path):
    journal = Journal(tmp_path / "journal.log", "s", "minimize")
    kept = record(1, stage="confirm", metrics={"val_loss": 0.25}, curve=[1.0, 0.25], resamples=[0.2], epochs=2, seconds=1.5, detail="für")
    journal.add("confirm", kept)
    journal.close()
    again = Journal(tmp_path / "journal.log", "s", "minimize")
    assert again.records("confirm") == [kept]
    assert again.stage("confirm").direction.name == "MINIMIZE"


@pytest.mark.parametrize("own", [True, False])
def test_only_a_baseline_of_its_own_is_kept_from_the_sampler(tmp_path, own):
    pinned = space("optimizer=sgd", "schedule=constant", "regularizer=none", "model=linear", "batches.size=32", "study.trials=2")
    pinned = Space({**pinned.tree, **pinned.baseline().tree, "study": pinned.tree["study"]})
    assert list(pinned.parameters()) == []
    journal = Journal(tmp_path / "journal.log", "s")
    explore(runner(tmp_path, learn), journal, pinned, ACCURACY, pinned.baseline() if own else None, 0, float("inf"), False)
    states = [t.state.name for t in journal.stage("search").get_trials()]
    assert states == (["FAIL", "COMPLETE"] if own else ["COMPLETE", "COMPLETE"])
