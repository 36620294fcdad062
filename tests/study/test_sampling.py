import time

import optuna
import pytest
from scripted import ACCURACY, Fails, Killed, learn, outcome, runner, searched, space, told

from autoopt.errors import NotConcluded
from autoopt.study.explore import explore, ranked
from autoopt.study.folder import derived_seed
from autoopt.study.journal import Journal, Record

TRIALS = 25


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """A whole search by one worker: the lines of its journal, and its trials."""
    path = tmp_path_factory.mktemp("uncut") / "journal.log"
    rows = searched(path)
    return path.read_bytes().splitlines(keepends=True), rows


def test_it_searches(uncut):
    _, rows = uncut
    assert [number for number, *_ in rows] == list(range(TRIALS))
    assert {state for _, _, state, _ in rows} == {"COMPLETE", "PRUNED"}
    assert len({row[3]["seed"] for row in rows}) == TRIALS


def test_the_baseline_is_first_and_is_never_stopped(tmp_path):
    def play(job):
        value = 0.1 if job["recipe"]["model"]["mlp"]["width"] == 128 else 0.9
        for _ in range(3):
            if (yield {"val_accuracy": value}):
                return outcome(stopped=True, val_accuracy=value)
        return outcome(val_accuracy=value)

    rows = searched(tmp_path / "a.log", play, trials=4)
    assert rows[0][1] == space("study.trials=4", "study.epochs=3").trained().defaults()
    assert rows[0][3]["recipe"] == dict(space("study.trials=4", "study.epochs=3").baseline().tree)
    assert rows[0][2] == "COMPLETE"

    again = searched(tmp_path / "b.log", play, trials=1)
    assert again == rows[:1]
    better = searched(tmp_path / "b.log", play, trials=4)
    assert better == rows, "a bad baseline that is remembered stops nobody and is not stopped"


def test_the_same_seed_gives_the_same_search(tmp_path, uncut):
    assert searched(tmp_path / "a.log") == uncut[1]
    assert searched(tmp_path / "b.log", seed=1) != uncut[1]


@pytest.mark.parametrize("share", [0, 0.002, 0.004, 0.01, 0.03, 0.05, 0.2, 0.31, 0.44, 0.53, 0.62, 0.71, 0.83, 0.97, 0.998])
def test_cut_anywhere_equals_uncut(tmp_path, uncut, share):
    """The journal ends after any of its lines: before, within and after the parameters of a trial, its record, its end."""
    lines, rows = uncut
    path = tmp_path / "journal.log"
    path.write_bytes(b"".join(lines[: int(share * len(lines))]))
    assert searched(path) == rows


@pytest.mark.parametrize("line", range(20))
def test_cut_within_one_trial_equals_uncut(tmp_path, uncut, line):
    lines, rows = uncut
    begin = [i for i, text in enumerate(lines) if text.startswith(b'{"op_code":4')][21]
    path = tmp_path / "journal.log"
    path.write_bytes(b"".join(lines[: begin + line]))
    assert searched(path) == rows


@pytest.mark.parametrize("turn", [1, 2, 30, 45])
def test_a_supervisor_that_dies_while_a_trial_trains(tmp_path, uncut, turn):
    def die(now):
        if now == turn:
            raise Killed

    with pytest.raises(Killed):
        searched(tmp_path / "journal.log", on_turn=die)
    assert [state for *_, state, _ in told(tmp_path / "journal.log")][-1] == "RUNNING"
    assert searched(tmp_path / "journal.log") == uncut[1]


def test_with_more_workers_none_is_lost_or_doubled(tmp_path):
    path = tmp_path / "journal.log"
    for turn in (5, 9, 7):

        def die(now, turn=turn):
            if now == turn:
                raise Killed

        with pytest.raises(Killed):
            searched(path, workers=3, on_turn=die)
    running = [number for number, _, state, _ in told(path) if state == "RUNNING"]
    before = {row[0]: row for row in told(path) if row[2] != "RUNNING"}
    assert len(running) == 3
    rows = searched(path, workers=3)
    assert [row[0] for row in rows] == list(range(TRIALS))
    assert {row[2] for row in rows} <= {"COMPLETE", "PRUNED"}
    assert [row for row in rows if row[0] in before] == list(before.values()), "what was finished is not run again"


def test_the_total_is_exact_and_grows(tmp_path, uncut):
    path = tmp_path / "journal.log"
    for total in (1, 1, 7, 7, TRIALS):
        rows = searched(path, trials=total)
        assert len(rows) == total
    assert rows == uncut[1]
    size = path.stat().st_size
    searched(path, trials=3)
    assert path.stat().st_size == size, "a smaller budget takes nothing away and asks nothing"


def test_failures_count_and_the_search_goes_on(tmp_path):
    def play(job):
        if job["seed"] % 2 and job["seed"] != derived_seed(0, "0"):
            raise Fails("lost", "killed by SIGKILL")
        return (yield from learn(job))

    rows = searched(tmp_path / "journal.log", play)
    failed = [row for row in rows if row[2] == "FAIL"]
    assert len(rows) == TRIALS
    assert 5 < len(failed) < 20
    assert {row[3]["reason"] for row in failed} == {"lost"}


def without_baseline(job):
    if job["seed"] == derived_seed(0, "0"):
        raise Fails("lost", "killed by SIGKILL")
    return (yield from learn(job))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_baseline_that_fails_ends_the_search_at_once(tmp_path, workers):
    path, said = (
        tmp_path / "journal.log",
        "^the baseline failed, and there is nothing to compare with .lost: killed by SIGKILL.; another name= begins anew$",
    )
    with pytest.raises(NotConcluded, match=said) as caught:
        searched(path, without_baseline, workers=workers)
    assert caught.value.exit_code == 4
    assert [(number, state) for number, _, state, _ in told(path)] == [(0, "FAIL"), *((n, "RUNNING") for n in range(1, workers))]
    before = path.read_bytes()
    with pytest.raises(NotConcluded, match=said):
        searched(path)
    assert path.read_bytes() == before, "nothing is asked or run again"


def test_after_the_time_nothing_is_asked_but_the_baseline(tmp_path):
    rows = searched(tmp_path / "journal.log", until=time.time() - 1)
    assert [row[0] for row in rows] == [0]
    assert searched(tmp_path / "journal.log", until=time.time() - 1) == rows


def test_after_the_time_the_interrupted_baseline_runs_again_and_no_other(tmp_path):
    path = tmp_path / "journal.log"

    def die(turn):
        if turn == 2:
            raise Killed

    with pytest.raises(Killed):
        searched(path, workers=3, on_turn=die)
    assert [row[2] for row in told(path)] == ["RUNNING"] * 3
    rows = searched(path, workers=3, until=time.time() - 1)
    assert [row[2] for row in rows] == ["COMPLETE", "RUNNING", "RUNNING"]
    rows = searched(path, workers=3)
    assert len(rows) == TRIALS
    assert "RUNNING" not in {row[2] for row in rows}, "a longer search takes the others up again"


def test_the_time_stops_asking_and_lets_running_ones_end(tmp_path, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr("autoopt.study.explore.time.time", lambda: next(clock))
    rows = searched(tmp_path / "journal.log", until=5, workers=2)
    assert 3 <= len(rows) <= 7
    assert "RUNNING" not in {row[2] for row in rows}


def test_a_baseline_of_its_own_is_trial_0_and_is_told_to_no_sampler(tmp_path):
    own = space("model=linear", "optimizer=momentum", "schedule=constant", "regularizer=none").baseline()
    rows = searched(tmp_path / "journal.log", trials=12, baseline=own)
    assert rows[0][1] == {}
    assert rows[0][3]["recipe"] == dict(own.tree)
    assert (rows[0][2], rows[0][3]["state"]) == ("FAIL", "complete"), "to the sampler it is none"
    assert {row[2] for row in rows[1:]} <= {"COMPLETE", "PRUNED"}
    assert len(rows) == 12
    assert all(row[1] for row in rows[1:])
    cut = searched(tmp_path / "b.log", trials=1, baseline=own)
    assert cut == rows[:1]
    assert searched(tmp_path / "b.log", trials=12, baseline=own) == rows


def test_ten_random_ones_come_first(uncut):
    """Then TPE: the good optimizer is drawn more often."""
    _, rows = uncut
    late = [row[1]["optimizer"] for row in rows[15:]]
    assert late.count("adamw") > len(late) / 2


def test_weights_are_kept_for_compressions_alone(tmp_path):
    for name, more in {"plain": (), "compressed": ("compression=half",)}.items():
        run = runner(tmp_path / name, learn)
        (tmp_path / name).mkdir()
        explore(
            run,
            Journal(tmp_path / f"{name}.log", "s"),
            space("study.trials=2", "study.epochs=3", *more),
            ACCURACY,
            None,
            0,
            time.time(),
            True,
        )
        assert all(("save" in job) == bool(more) for job in run.executor.jobs)
        assert not any(job["recipe"]["compression"] for job in run.executor.jobs)


def test_stopping_may_be_switched_off(tmp_path):
    run, journal = runner(tmp_path, learn), Journal(tmp_path / "journal.log", "s")
    explore(run, journal, space("study.trials=25", "study.epochs=3"), ACCURACY, None, 0, float("inf"), False)
    assert {r.state for r in journal.records("search")} == {"complete"}
    assert {len(r.curve) for r in journal.records("search")} == {3}


def test_ranked():
    records = [
        Record(str(i), "search", {}, 0, state, score)
        for i, (state, score) in enumerate([("complete", 0.5), ("stopped", 0.9), ("failed", None), ("complete", 0.7)])
    ]
    assert [r.key for r in ranked(records, ACCURACY)] == ["3", "0"]


def test_optuna_is_never_asked_for_a_pruner(tmp_path):
    assert isinstance(Journal(tmp_path / "j.log", "s").stage("search").pruner, optuna.pruners.NopPruner)
    assert isinstance(Journal(tmp_path / "j.log", "s").stage("search").pruner, optuna.pruners.NopPruner)
