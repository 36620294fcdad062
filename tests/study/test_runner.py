import os
import signal
import threading
from dataclasses import replace

import pytest
from scripted import ACCURACY, AGAIN, Fails, outcome, runner, space

from autoopt.study.objective import Objective
from autoopt.study.runner import Interrupted, Job, Nobody

RECIPE = space().baseline()


def jobs(count, **order):
    return [Job(str(n), "search", RECIPE, n, order) for n in range(count)]


def train(epochs):
    def play(job):
        for epoch in range(epochs):
            if (yield {"val_accuracy": epoch / 10}):
                return outcome(stopped=True, val_accuracy=epoch / 10)
        return outcome(val_accuracy=0.9)

    return play


def ran(run, some, *, width=None, judge=lambda *_: False):
    results = []
    run.run(some, results.append, judge, width)
    return results


@pytest.mark.parametrize(("workers", "width", "most"), [(1, None, 1), (3, None, 3), (9, None, 7), (4, 1, 1), (1, 3, 3)])
def test_so_many_run_at_once(tmp_path, workers, width, most):
    run = runner(tmp_path, train(2), workers)
    results = ran(run, jobs(7), width=width)
    assert run.executor.most == most
    assert sorted(r.job.key for r in results) == list("0123456")
    assert {r.state for r in results} == {"complete"}
    assert run.screen.results == results


def test_the_next_is_asked_only_when_there_is_room(tmp_path):
    """A sampler has to know as much as can be known before it is asked."""
    asked, told = [], []

    def source():
        for job in jobs(4):
            asked.append(len(told))
            yield job

    runner(tmp_path, train(1), 2).run(source(), told.append)
    assert asked == [0, 0, 2, 2]


def test_every_report_of_a_rung_is_answered_once(tmp_path):
    """The scripted executor fails where one is not, or twice, or where another is."""
    said = []
    run = runner(tmp_path, train(3), 2)
    ran(run, jobs(3, rungs=[1, 3]), judge=lambda job, epoch, metrics: said.append((job.key, epoch, metrics["val_accuracy"])))
    assert sorted(said) == [(key, epoch, (epoch - 1) / 10) for key in "012" for epoch in (1, 3)]
    assert run.executor.unanswered == set()


def test_stopped_trials_end_where_they_were_judged(tmp_path):
    results = ran(runner(tmp_path, train(5)), jobs(3, rungs=[2, 4]), judge=lambda job, epoch, _: job.key == "1" and epoch == 2)
    assert [(r.state, r.curve, r.score) for r in results] == [
        ("complete", [0.0, 0.1, 0.2, 0.3, 0.4], 0.9),
        ("stopped", [0.0, 0.1], 0.1),
        ("complete", [0.0, 0.1, 0.2, 0.3, 0.4], 0.9),
    ]


def test_what_a_job_is_given(tmp_path):
    run = runner(tmp_path, train(1))
    ran(run, [Job("x/y", "confirm", RECIPE, 5, {"load": "weights", "part": "test"})])
    (order,) = run.executor.jobs
    assert order == {
        "recipe": dict(RECIPE.tree),
        "seed": 5,
        "objective": "val_accuracy",
        "direction": "maximize",
        "latency": False,
        "log": str(tmp_path / "trials" / "x/y" / "log.txt"),
        "load": "weights",
        "part": "test",
    }


def test_a_timed_objective_is_timed_in_every_trial(tmp_path):
    from autoopt.study.objective import Objective

    run = runner(tmp_path, train(1), objective=Objective("latency_ms", "minimize"))
    ran(run, jobs(1))
    assert run.executor.jobs[0]["latency"]
    assert "direction" not in run.executor.jobs[0]  # while it trains, its schedule follows the validation loss


def test_a_trial_that_starts_again_starts_its_curve_anew(tmp_path):
    def play(job):
        yield {"val_accuracy": 0.1}
        yield {"val_accuracy": 0.2}
        yield AGAIN
        yield {"val_accuracy": 0.3}
        return outcome(val_accuracy=0.9)

    (result,) = ran(runner(tmp_path, play), jobs(1))
    assert (result.curve, result.score) == ([0.3], 0.9)


def test_an_outcome_without_the_objective_is_a_failure_that_names_what_is_logged(tmp_path):
    def play(job):
        yield {"val_acc": 0.5}
        return outcome(val_acc=0.5, train_loss=1.0)

    (result,) = ran(runner(tmp_path, play), jobs(1))
    assert (result.state, result.reason, result.score) == ("failed", "error", None)
    assert result.detail == "nothing logged val_accuracy; logged: train_loss, val_acc"
    assert result.last == {"val_acc": 0.5}


def test_failures_keep_reason_detail_and_curve(tmp_path):
    def play(job):
        yield {"val_accuracy": 0.5}
        if job["seed"] == 1:
            raise Fails("nonfinite", "train_loss is nan")
        return outcome(val_accuracy=0.9)

    results = ran(runner(tmp_path, play), jobs(3))
    assert [r.state for r in results] == ["complete", "failed", "complete"]
    assert (results[1].reason, results[1].detail, results[1].curve) == ("nonfinite", "train_loss is nan", [0.5])


def test_the_part_decides_which_metric_is_the_score(tmp_path):
    def play(job):
        yield {}
        return outcome(val_accuracy=0.1, test_accuracy=0.2)

    assert [r.score for r in ran(runner(tmp_path, play), [*jobs(1), *jobs(1, part="test")])] == [0.1, 0.2]


def test_seconds_are_counted_from_the_start_of_the_job(tmp_path):
    results = ran(runner(tmp_path, train(3)), jobs(2))
    assert results[0].seconds == results[1].seconds > 0


class TestSignals:
    def test_the_first_lets_the_running_ones_end_and_asks_no_more(self, tmp_path):
        run = runner(tmp_path, train(4), 2, on_turn=lambda turn: os.kill(os.getpid(), signal.SIGTERM) if turn == 2 else None)
        results = []
        with (
            run.signals(),
            pytest.raises(Interrupted, match="interrupted by SIGTERM; the same command resumes, `autoopt finish s`") as caught,
        ):
            run.run(jobs(9), results.append)
        assert [(r.job.key, r.state) for r in results] == [("0", "complete"), ("1", "complete")]
        assert len(run.executor.jobs) == 2
        assert caught.value.exit_code == 143
        assert run.screen.said == ["Stopping: running trials end first; once more ends them at once. The same command resumes."]

    def test_the_second_ends_at_once(self, tmp_path):
        run = runner(tmp_path, train(9), on_turn=lambda turn: os.kill(os.getpid(), signal.SIGINT) if turn in (2, 4) else None)
        results = []
        with run.signals(), pytest.raises(Interrupted, match="interrupted by SIGINT") as caught:
            run.run(jobs(9), results.append)
        assert results == []
        assert run.executor.turns == 4
        assert caught.value.exit_code == 130

    def test_one_between_the_stages_counts(self, tmp_path):
        run = runner(tmp_path, train(1))
        with run.signals():
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(Interrupted, match="SIGINT"):
                run.run(jobs(3), lambda result: None)
        assert run.executor.jobs == []

    def test_the_handlers_are_put_back(self, tmp_path):
        before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
        with runner(tmp_path, train(1)).signals():
            assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] != before
        assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_mirror_is_told_everything_once(tmp_path):
    class Told:
        def __init__(self):
            self.heard = []

        def begin(self, job):
            self.heard.append(("begin", job.key))

        def epoch(self, job, epoch, metrics):
            self.heard.append((epoch, job.key))

        def end(self, result):
            self.heard.append((result.state, result.job.key))

    run = runner(tmp_path, train(2))
    run.mirror = Told()
    ran(run, jobs(2))
    assert run.mirror.heard == [(what, key) for key in "01" for what in ("begin", 1, 2, "complete")]
    assert run.objective is ACCURACY


def test_where_time_is_judged_one_runs_at_a_time(tmp_path):
    run = runner(tmp_path, train(2), 3, Objective("latency_ms", "minimize"))
    ran(run, jobs(4))
    assert run.executor.most == 1


def test_what_runs_beside_the_study_takes_other_numbers(tmp_path):
    """The end of an earlier process would be taken for that of a later trial."""
    run = runner(tmp_path, train(1))
    ran(run, jobs(2))
    before = {*range(1, 3)}
    assert next(replace(run, mirror=Nobody()).tickets) not in before and next(run.tickets) == 4


def test_outside_of_the_main_thread_there_are_no_signals(tmp_path):
    before, entered = signal.getsignal(signal.SIGINT), []

    def enter():
        with runner(tmp_path, train(1)).signals():
            entered.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [before]
