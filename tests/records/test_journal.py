import gc
import json
import os
import resource
import subprocess
import sys
from binascii import crc32
from dataclasses import asdict
from random import Random

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json, json_to_distribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from scripted import ACCURACY, record

from autoopt.goal import Goal
from autoopt.recipe import Recipe
from autoopt.records.journal import Journal, stored_records
from autoopt.records.journal_file import JournalFile, StoreError, abbreviated, to_line
from autoopt.records.record import columns
from autoopt.records.stages import COMPRESS, CONFIRM, SEARCH
from autoopt.study.compress import compress_goal

GOAL = Goal((ACCURACY,))
RATE = {"lr": FloatDistribution(0, 1)}


def fill(path, count=5):
    """A journal of so many ended trials, each with one value."""
    journal = Journal(path, "s")
    for number in range(count):
        tell(journal, number)
    journal.close()
    return path.read_bytes()


def tell(journal, number, **fields):
    journal.begin(SEARCH, GOAL, {"lr": number / 100}, RATE)
    journal.end(SEARCH, GOAL, len(journal.trials(SEARCH)) - 1, ended(number, **fields))


def ended(number, **fields):
    return record(str(number), **{"score": 0.5} | fields)


def history(path):
    return [without_sum(line) for line in path.read_bytes().splitlines()]


def without_sum(line):
    log = json.loads(line)
    del log["crc32"]
    return log


def test_what_a_later_version_adds_to_its_records_is_left_out(tmp_path, monkeypatch):
    path = tmp_path / "journal.log"
    monkeypatch.setattr("autoopt.records.journal.asdict", lambda record: {**asdict(record), "energy": 3.0})
    fill(path, 2)
    assert [r.key for r in stored_records(path, "s")[0]["search"]] == ["0", "1"]


@pytest.mark.slow
def test_cut_at_every_byte_of_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)  # slow, a thousand times
    path = tmp_path / "journal.log"
    whole = fill(path, 3)
    lines = whole.splitlines(keepends=True)
    last = sum(map(len, lines[:-3]))
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        kept = [without_sum(line) for line in whole[:cut].splitlines(keepends=True) if line.endswith(b"\n")]
        reader = JournalFile(path, write=False)
        assert reader.logs == kept
        assert path.read_bytes() == whole[:cut]
        writer = JournalFile(path)
        assert writer.logs == kept
        writer.append_logs([{"next": cut}])
        writer.close()
        assert history(path) == [*kept, {"next": cut}]


@pytest.mark.slow
def test_cut_at_any_byte_it_has_the_trials_that_ended_before(tmp_path):
    path = tmp_path / "journal.log"
    whole = fill(path)
    known, last = 0, 0
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        records, begun = stored_records(path, "s")
        ended = [r.key for r in records.get("search", [])]
        assert ended == [str(number) for number in range(len(ended))] and len(ended) <= begun <= len(ended) + 1
        assert (len(ended), begun) == (known, last) or whole[:cut].endswith(b"\n"), "a line counts once it is whole"
        known, last = len(ended), begun
    assert (known, last) == (5, 5)


def test_cut_inside_a_record_goes_on(tmp_path):
    path = tmp_path / "journal.log"
    whole = fill(path)
    path.write_bytes(whole[:-10])
    journal = Journal(path, "s")
    assert [t.number for t in journal.trials(SEARCH) if not t.state.is_finished()] == [4]
    tell(journal, 5)
    journal.close()
    assert [r.key for r in Journal(path, "s", write=False).records(SEARCH)] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("tail", [b"\0" * 512, b"garbage\n", b'"no object"\n', b"\xff\xfe\n", b'{"op_code": 4', b'{"op_code": 4}', b"\n"])
def test_a_garbage_tail_is_cut_when_it_is_written_and_left_when_it_is_read(tmp_path, tail):
    path = tmp_path / "journal.log"
    whole = fill(path)
    path.write_bytes(whole + tail)
    assert len(Journal(path, "s", write=False).records(SEARCH)) == 5
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
    (tmp_path / "journal.torn").unlink()
    (tmp_path / "journal.torn").mkdir()
    path.write_bytes(whole + b"garbage")
    with pytest.raises(StoreError, match=r"journal.torn cannot be opened: Is a directory$"):
        JournalFile(path)
    assert path.read_bytes() == whole + b"garbage"


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("spoilt", [b"garbage", b"", b"\0" * 40, b"[1]", b"\xff"])
def test_a_spoilt_line_further_up_is_said_and_nothing_is_changed(tmp_path, spoilt, write):
    path = tmp_path / "journal.log"
    lines = fill(path).split(b"\n")
    at = sum(len(line) + 1 for line in lines[:6])
    lines[6] = spoilt
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(StoreError, match=rf"journal\.log, line 7 \(from byte {at}\) is damaged; nothing was changed"):
        Journal(path, "s", write)
    assert path.read_bytes() == b"\n".join(lines) and [p.name for p in tmp_path.iterdir()] == ["journal.log"]


def test_a_byte_that_has_changed_is_told_with_its_line(tmp_path):
    """All but the last line, which may be torn and is then cut: in none of 300 places does it pass as something else."""
    path = tmp_path / "journal.log"
    whole = fill(path)
    lines, last = whole.splitlines(keepends=True), whole.rstrip(b"\n").rfind(b"\n") + 1
    random = Random(0)
    told = 0
    for _ in range(300):
        at = random.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ random.randrange(1, 256)]) + whole[at + 1 :])
        if at >= last:
            assert len(JournalFile(path, write=False).logs) == len(lines) - 1
            continue
        with pytest.raises(StoreError, match=rf"journal\.log, line {whole[:at].count(10) + 1} \(from byte \d+\) is damaged"):
            JournalFile(path, write=False)
        told += 1
    assert told > 250


def test_a_line_that_is_nested_too_deep_is_damaged_whatever_its_checksum_says(tmp_path):
    path = tmp_path / "journal.log"
    whole = fill(path)
    body = b'{"a":' + b"[" * 99_999 + b"]" * 99_999
    path.write_bytes(body + b',"crc32":%d}\n' % crc32(body) + whole)
    with pytest.raises(StoreError, match=r"journal\.log, line 1 \(from byte 0\) is damaged"):
        JournalFile(path, write=False)


@pytest.mark.parametrize("collects", [True, False])
def test_after_reading_the_garbage_collection_is_as_it_was(tmp_path, request, collects):
    path = tmp_path / "journal.log"
    fill(path)
    request.addfinalizer(gc.enable)
    if not collects:
        gc.disable()
    stored_records(path, "s")
    assert gc.isenabled() is collects
    path.write_bytes(b"garbage\n" + path.read_bytes())
    with pytest.raises(StoreError):
        stored_records(path, "s")
    assert gc.isenabled() is collects


def test_reading_makes_no_file(tmp_path):
    assert Journal(tmp_path / "none.log", "s", write=False).records(SEARCH) == []
    assert list(tmp_path.iterdir()) == []


def test_opening_again_writes_nothing(tmp_path):
    path = tmp_path / "journal.log"
    whole = fill(path)
    journal = Journal(path, "s")
    journal.trials(SEARCH)
    journal.records(CONFIRM)
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
        if fault == "not at all" or os.fstat(file).st_size > len(before):
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) // 2])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(StoreError, match=r"journal\.log cannot be written: No space left on device; what was") as caught:
            tell(journal, 5)
    assert caught.value.exit_code == 75
    assert path.read_bytes() == before
    journal.close()
    again = Journal(path, "s")
    tell(again, 5)
    again.close()
    assert len(Journal(path, "s", write=False).records(SEARCH)) == 6


def test_the_limit_of_a_real_file_system(tmp_path):
    path = tmp_path / "journal.log"
    size = len(fill(path))
    script = (
        "import sys; from pathlib import Path; from autoopt.records.journal_file import JournalFile, StoreError\n"
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
    assert "cannot be written: File too large; what was written before is kept" in said.stdout
    assert path.stat().st_size == size


def test_optuna_reads_it(tmp_path):
    path = tmp_path / "journal.log"
    fill(path)
    storage = JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))
    study = optuna.load_study(study_name="s/search", storage=storage)
    assert [t.value for t in study.trials] == [0.5] * 5
    assert study.trials[3].user_attrs["autoopt"]["key"] == "3" and study.trials[3].params == {"lr": 0.03}


@pytest.mark.parametrize(
    "kept",
    [
        CategoricalDistribution((None, True, 1, 0.5, "a")),
        FloatDistribution(0, 1),
        FloatDistribution(1e-5, 0.1, log=True),
        FloatDistribution(0.0, 1.0, step=0.25),
        IntDistribution(0, 9),
        IntDistribution(0, 9, step=3),
        IntDistribution(1, 128, log=True),
    ],
)
def test_a_distribution_is_written_shorter_and_read_as_it_was(kept):
    full = distribution_to_json(kept)
    short = abbreviated(full)
    assert json_to_distribution(short) == kept and len(short) < 0.65 * len(full)


def test_a_trial_is_written_without_repeating_who_has_written_it(tmp_path):
    path = tmp_path / "journal.log"
    fill(path)
    assert {log.get("worker_id", "") for log in history(path)} == {""}


def test_a_journal_of_optunas_own_lines_goes_on(tmp_path):
    path = tmp_path / "journal.log"
    study = optuna.create_study(study_name="s/search", storage=JournalStorage(JournalFileBackend(str(path))), direction="maximize")
    trial = study.ask({"lr": FloatDistribution(0, 1)})
    study.tell(trial, 0.5)
    lines = [to_line(json.loads(line)) for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(lines))
    journal = Journal(path, "s")
    tell(journal, 1)
    assert [t.distributions for t in journal.trials(SEARCH)] == [RATE, RATE]


def test_states(tmp_path):
    journal = Journal(tmp_path / "journal.log", "s")
    curves = columns({1: {"val_accuracy": 0.1}, 2: {"val_accuracy": 0.2}})
    for number, (state, reason) in enumerate([("complete", None), ("stopped", None), ("failed", "lost"), ("failed", "nonfinite")]):
        tell(journal, number, state=state, reason=reason, curves=curves)
    trials = journal.trials(SEARCH)
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED", "FAIL", "FAIL"]
    assert [t.intermediate_values for t in trials] == [{1: 0.1, 2: 0.2}] * 4, "Optuna's dashboard draws them"
    assert [r.state for r in journal.records(SEARCH)] == ["complete", "stopped", "failed", "failed"]


def test_every_metric_of_every_epoch_is_kept(tmp_path):
    """So that figures can be drawn and MLflow can be written anew from the folder alone."""
    epochs = {1: {"val_loss": 2.0, "train_loss": 3.0, "lr": 0.1}, 2: {"val_loss": 1.0, "train_loss": 2.0, "lr": 0.05}}
    journal = Journal(tmp_path / "journal.log", "s")
    tell(journal, 0, curves=columns(epochs))
    journal.close()
    (kept,) = Journal(tmp_path / "journal.log", "s", write=False).records(SEARCH)
    assert {epoch: {name: kept.curve(name)[epoch] for name in epochs[1]} for epoch in (1, 2)} == epochs


def test_the_records_are_read_without_optuna_as_they_are_with_it(tmp_path):
    """Also where values and recipes look like what is left out."""
    path = tmp_path / "journal.log"
    journal = Journal(path, "s")
    odd = '"},"params":{'
    values, distributions = {"lr": 0.1, "odd": odd}, {"odd": CategoricalDistribution([odd, "a"])} | RATE
    recipe = Recipe({"model": {"net": {"distributions": {"x": {}}, "params": [odd]}}})
    for number in (0, 2, 1):  # they end in another order than they began
        while len(journal.trials(SEARCH)) <= number:
            journal.begin(SEARCH, GOAL, values, distributions)
        journal.end(SEARCH, GOAL, number, record(str(number), recipe=recipe))
    journal.begin(SEARCH, GOAL, values, distributions)
    journal.add(CONFIRM, record("1-confirm-0", stage=CONFIRM, recipe=recipe))
    journal.take(SEARCH, GOAL, values, distributions, record("4", recipe=recipe))
    both = {stage.name: journal.records(stage) for stage in (SEARCH, CONFIRM)}
    journal.close()
    assert [r.key for r in both["search"]] == ["0", "1", "2", "4"]
    assert stored_records(path, "s") == (both, 6)
    assert stored_records(path, "t") == ({}, 0)


def test_a_complete_trial_that_lacks_an_objective_is_told_as_failed(tmp_path):
    journal, goal = Journal(tmp_path / "journal.log", "s"), compress_goal(GOAL)
    for number, metrics in enumerate(({"latency_ms": 1.0, "size_mb": 2.0}, {"latency_ms": 1.0})):
        journal.begin(COMPRESS, goal, {}, {})
        journal.end(COMPRESS, goal, number, ended(0, metrics=metrics))
    assert [(t.state.name, t.values) for t in journal.trials(COMPRESS)] == [("COMPLETE", [0.5, 1.0, 2.0]), ("FAIL", None)]


def test_the_options_of_a_name_may_change(tmp_path):
    """A plugin was mended, or a longer search has other best trials."""
    journal = Journal(tmp_path / "journal.log", "s")
    for options in (("a", "b"), ("a", "b", "c")):
        journal.begin(SEARCH, GOAL, {"optimizer": options[-1]}, {"optimizer": CategoricalDistribution(options)})
    assert [t.params["optimizer"] for t in journal.trials(SEARCH)] == ["b", "c"]


def test_a_trial_begins_with_all_its_values_in_one_line(tmp_path):
    """So that none is found half drawn."""
    path = tmp_path / "journal.log"
    journal = Journal(path, "s")
    journal.begin(SEARCH, GOAL, {}, {})
    before = len(path.read_bytes().splitlines())
    journal.begin(SEARCH, GOAL, {"lr": 0.1}, RATE)
    assert len(path.read_bytes().splitlines()) == before + 1


@pytest.mark.parametrize("how", ["end", "add"])
def test_what_has_ended_is_on_the_disk(tmp_path, monkeypatch, how):
    journal = Journal(tmp_path / "journal.log", "s")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    tell(journal, 0) if how == "end" else journal.add(CONFIRM, record("0-confirm-0", 0.5, stage=CONFIRM))
    assert synced[-1] == (tmp_path / "journal.log").stat().st_size


def test_what_has_begun_is_on_the_disk_once_the_journal_is_closed(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.log", "s")
    journal.begin(SEARCH, GOAL, {"lr": 0.1}, RATE)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    journal.close()
    assert synced == [(tmp_path / "journal.log").stat().st_size]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(journal.file.file)


def test_a_disk_that_does_not_take_it_is_told(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.log", "s")

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"journal\.log cannot be written: No space left on device"):
        tell(journal, 0)


def test_a_record_is_read_as_it_was_kept(tmp_path):
    journal = Journal(tmp_path / "journal.log", "s", "minimize")
    kept = record("1", 0.25, stage=CONFIRM, metrics={"val_loss": 0.25}, resamples=[0.2], epochs=2, seconds=1.5, detail="für")
    journal.add(CONFIRM, kept)
    journal.close()
    again = Journal(tmp_path / "journal.log", "s", "minimize")
    assert again.records(CONFIRM) == [kept]
    storage = again.storage
    assert {s.study_name: s.directions[0].name for s in storage.get_all_studies()} == {"s/confirm": "MINIMIZE"}


def test_optuna_is_never_asked_for_a_pruner(tmp_path):
    journal = Journal(tmp_path / "j.log", "s")
    tell(journal, 0)
    assert isinstance(journal._study(SEARCH).pruner, optuna.pruners.NopPruner)


def test_optunas_log_level_is_the_users_own(tmp_path, capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    tell(Journal(tmp_path / "j.log", "s"), 0)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert capfd.readouterr().err == ""
