import os
import signal
import threading
from dataclasses import replace

import pytest
from scripted import ACCURACY, AGAIN, Fails, outcome, runner, space

from autoopt.config import compose
from autoopt.goal import Goal, Objective
from autoopt.orders import Measure, Outcome, Problem, Train, TryOut
from autoopt.process.endings import NOTICES
from autoopt.records.stages import PREFLIGHT, SEARCH, TEST
from autoopt.space import Space
from autoopt.store import Reached
from autoopt.study.interrupts import Interrupted
from autoopt.study.jobs import Job
from autoopt.study.runner import NoListener

RECIPE = space().baseline()


def jobs(count, stage=SEARCH, **fields):
    return [Job(Train(key=str(n), recipe=RECIPE, seed=n, **fields), stage) for n in range(count)]


def train(epochs):
    def play(order):
        for epoch in range(epochs):
            if (yield {"val_accuracy": epoch / 10}):
                return outcome(stopped=True, val_accuracy=epoch / 10)
        return outcome(val_accuracy=0.9)

    return play


def curve(result):
    return [metrics["val_accuracy"] for metrics in result.epochs.values()]


def ran(run, some, *, width=None, stop=lambda *_: False):
    results = []
    run.run(some, results.append, stop, width)
    return results


@pytest.mark.parametrize(("workers", "width", "most"), [(1, None, 1), (3, None, 3), (9, None, 7), (4, 1, 1), (1, 3, 3)])
def test_so_many_run_at_once(tmp_path, workers, width, most):
    run = runner(tmp_path, train(2), workers)
    results = ran(run, jobs(7), width=width)
    assert run.executor.most == most
    assert sorted(r.job.key for r in results) == list("0123456")
    assert {r.state for r in results} == {"complete"}
    assert run.screen.results == results


def test_the_recipe_of_each_trial_is_a_file(tmp_path):
    """`autoopt train recipe=…/trials/7/recipe.yaml` trains it; what the preflight tries is no trial."""
    run = runner(tmp_path, train(1))
    ran(run, [*jobs(2), Job(TryOut(key="preflight/x", recipe=RECIPE), PREFLIGHT)])
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("recipe.yaml"))
    assert files == ["trials/0/recipe.yaml", "trials/1/recipe.yaml"]
    assert Space.of(compose([], str(tmp_path / files[1]))).baseline() == RECIPE


def test_a_worker_that_comes_meanwhile_is_used(tmp_path):
    def come(turn):
        run.executor.workers = 1 if turn < 3 else 4

    run = runner(tmp_path, train(2), 1, on_turn=come)
    assert len(ran(run, jobs(9))) == 9 and run.executor.most == 4


def test_the_screen_is_told_how_many_run(tmp_path):
    run = runner(tmp_path, train(1), 2)
    ran(run, jobs(3))
    assert run.screen.counts == [1, 2, 1, 0, 1, 0]


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
    values = lambda epochs: [metrics["val_accuracy"] for metrics in epochs.values()]  # noqa: E731
    ran(run, jobs(3, rungs=(1, 3)), stop=lambda job, epoch, epochs: said.append((job.key, epoch, values(epochs))))
    assert sorted(said) == [(key, epoch, [at / 10 for at in range(epoch)]) for key in "012" for epoch in (1, 3)]
    assert run.executor.unanswered == set()


def test_where_nobody_judges_no_trial_is_stopped(tmp_path):
    (result,) = runner(tmp_path, train(3)).collect(jobs(1, rungs=(1, 2)))
    assert (result.state, result.score) == ("complete", 0.9)


def test_stopped_trials_end_where_they_were_judged(tmp_path):
    results = ran(runner(tmp_path, train(5)), jobs(3, rungs=(2, 4)), stop=lambda job, epoch, _: job.key == "1" and epoch == 2)
    assert [(r.state, curve(r), r.score) for r in results] == [
        ("complete", [0.0, 0.1, 0.2, 0.3, 0.4], 0.9),
        ("stopped", [0.0, 0.1], 0.1),
        ("complete", [0.0, 0.1, 0.2, 0.3, 0.4], 0.9),
    ]


def test_an_order_is_told_what_the_study_optimises(tmp_path):
    run = runner(tmp_path, train(1))
    order = Measure(key="x/y", recipe=RECIPE, seed=5, weights="x", part="test")
    ran(run, [Job(order, TEST)])
    assert run.executor.orders == [replace(order, objective="val_accuracy", direction="maximize")]


def test_before_the_goal_is_known_an_order_is_as_it_was_made(tmp_path):
    run = runner(tmp_path, train(1), objective=None)
    (job,) = jobs(1, PREFLIGHT)
    (result,) = run.collect([job])
    assert run.executor.orders == [job.order] and result.score is None


def test_a_timed_objective_is_timed_in_every_trial(tmp_path):
    run = runner(tmp_path, train(1), objective=Objective("latency_ms", "minimize"))
    ran(run, jobs(1))
    (order,) = run.executor.orders
    assert order.latency and order.objective == "latency_ms"
    assert order.direction is None, "while it trains, its schedule follows the validation loss"


def test_a_trial_that_starts_again_starts_its_curve_anew(tmp_path):
    def play(order):
        yield {"val_accuracy": 0.1}
        yield {"val_accuracy": 0.2}
        yield AGAIN
        yield {"val_accuracy": 0.3}
        return outcome(val_accuracy=0.9)

    (result,) = ran(runner(tmp_path, play), jobs(1))
    assert (curve(result), result.score) == ([0.3], 0.9)


def test_an_outcome_without_the_objective_is_a_failure_that_names_what_is_logged(tmp_path):
    def play(order):
        yield {"val_acc": 0.5}
        return outcome(val_acc=0.5, train_loss=1.0)

    (result,) = ran(runner(tmp_path, play), jobs(1))
    assert (result.state, result.problem.reason, result.score) == ("failed", "error", None)
    assert result.problem.detail == "val_accuracy was not logged; logged: train_loss, val_acc"
    assert result.last == {"val_acc": 0.5}


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"metrics": {"val_accuracy": "0.9"}}, "metrics={'val_accuracy': '0.9'}"),
        ({"metrics": None}, "metrics=None"),
        ({"epochs": "3"}, "epochs='3'"),
        ({"resamples": [0.1, None]}, "resamples=[0.1, None]"),
        ({"surprise": 1}, "surprise=1"),
        ({"notes": "none"}, "notes='none'"),
    ],
)
def test_an_outcome_that_is_spoilt_is_a_failure_of_its_trial(tmp_path, spoilt, said):
    class Spoilt(Outcome):
        def json(self):
            return {**super().json(), **spoilt}

    def play(order):
        yield {"val_accuracy": 0.5}
        return Spoilt({"val_accuracy": 0.9}, seconds=1)

    (result,) = ran(runner(tmp_path, play), jobs(1))
    assert (result.state, result.problem) == ("failed", Problem("error", f"the trial's outcome has {said}"))


def test_failures_keep_reason_detail_and_curve(tmp_path):
    def play(order):
        yield {"val_accuracy": 0.5}
        if order.seed == 1:
            raise Fails("nonfinite", "train_loss is nan")
        return outcome(val_accuracy=0.9)

    results = ran(runner(tmp_path, play), jobs(3))
    assert [r.state for r in results] == ["complete", "failed", "complete"]
    assert (results[1].problem.reason, results[1].problem.detail, curve(results[1])) == ("nonfinite", "train_loss is nan", [0.5])


class TestTheRecordOfAResult:
    def ended(self, tmp_path, end):
        def play(order):
            yield {"val_accuracy": 0.5}
            yield {"val_accuracy": 0.6}
            if isinstance(end, Fails):
                raise end
            return end

        (result,) = ran(runner(tmp_path, play), jobs(1))
        return result.record()

    def test_has_what_was_measured(self, tmp_path):
        record = self.ended(tmp_path, Outcome({"val_accuracy": 0.9}, epochs=7, resamples=[0.8, 0.9], units=40))
        assert (record.key, record.stage, record.recipe, record.state) == ("0", "search", dict(RECIPE.tree), "complete")
        assert (record.score, record.metrics, record.epochs) == (0.9, {"val_accuracy": 0.9}, 7)
        assert (record.resamples, record.units) == ([0.8, 0.9], 40)
        assert record.curve("val_accuracy") == {1: 0.5, 2: 0.6}
        assert (record.reason, record.detail, record.technique) == (None, "", "")
        assert record.continues == ""

    def test_names_the_trial_that_it_continues(self, tmp_path):
        (result,) = ran(runner(tmp_path, train(2)), jobs(1, continues="7"))
        assert result.record().continues == "7"

    def test_has_the_reason_of_a_failure_and_what_was_reached(self, tmp_path):
        record = self.ended(tmp_path, Fails("plugin", "boom", "optimizer", "sgd"))
        assert (record.state, record.reason, record.technique) == ("failed", "plugin", "optimizer/sgd")
        assert record.detail == "optimizer/sgd: boom"
        assert (record.score, record.metrics, record.epochs) == (None, {"val_accuracy": 0.6}, 2)
        assert self.ended(tmp_path, Fails("nonfinite", "nan")).technique == ""

    def test_of_a_failure_before_the_first_epoch_has_no_metrics(self, tmp_path):
        def play(order):
            raise Fails("nonfinite", "nan")
            yield

        (result,) = ran(runner(tmp_path, play), jobs(1))
        assert (result.record().metrics, result.record().epochs, result.record().curves) == ({}, 0, {})


def test_the_part_decides_which_metric_is_the_score(tmp_path):
    def play(order):
        yield {}
        return outcome(val_accuracy=0.1, test_accuracy=0.2)

    assert [r.score for r in ran(runner(tmp_path, play), [*jobs(1), Job(Measure(key="t", recipe=RECIPE, weights="0"), TEST)])] == [0.1, 0.2]


def test_what_was_trained_in_an_earlier_session_counts(tmp_path):
    def play(order):
        yield {"val_accuracy": 0.1}
        return replace(outcome(val_accuracy=0.9), seconds=1234.5)

    assert ran(runner(tmp_path, play), jobs(1))[0].seconds == 1234.5


def test_seconds_are_counted_from_the_start_of_the_job(tmp_path):
    results = ran(runner(tmp_path, train(3)), jobs(2))
    assert results[0].seconds == results[1].seconds > 0


class TestSignals:
    def test_the_first_lets_the_running_ones_end_and_asks_no_more(self, tmp_path):
        run = runner(tmp_path, train(4), 2, on_turn=lambda turn: os.kill(os.getpid(), signal.SIGTERM) if turn == 2 else None)
        results = []
        with (
            run.interrupts.counted(),
            pytest.raises(Interrupted, match="interrupted by SIGTERM; `autoopt finish s`") as caught,
        ):
            run.run(jobs(9), results.append)
        assert [(r.job.key, r.state) for r in results] == [("0", "complete"), ("1", "complete")]
        assert len(run.executor.orders) == 2
        assert caught.value.exit_code == 143
        assert run.screen.lines == [
            "Stopping: the running trials finish first; a second signal ends them at once. The same command resumes."
        ]

    def test_try_outs_are_not_waited_for(self, tmp_path):
        run = runner(tmp_path, train(4), 2, on_turn=lambda turn: os.kill(os.getpid(), signal.SIGINT) if turn == 2 else None)
        results = []
        with run.interrupts.counted(), pytest.raises(Interrupted, match="interrupted by SIGINT"):
            run.run(jobs(9, PREFLIGHT), results.append)
        assert results == [] and run.executor.turns == 2
        assert run.screen.lines == ["Stopping; a second signal waits for nothing."]

    @pytest.mark.parametrize("number", NOTICES)
    def test_by_which_a_cluster_announces_the_end_let_the_running_ones_end(self, tmp_path, number):
        run = runner(tmp_path, train(4), on_turn=lambda turn: os.kill(os.getpid(), number) if turn == 2 else None)
        results = []
        with run.interrupts.counted(), pytest.raises(Interrupted, match=f"interrupted by {number.name}") as caught:
            run.run(jobs(9), results.append)
        assert [r.job.key for r in results] == ["0"] and caught.value.exit_code == 128 + number

    def test_the_second_ends_at_once(self, tmp_path):
        run = runner(tmp_path, train(9), on_turn=lambda turn: os.kill(os.getpid(), signal.SIGINT) if turn in (2, 4) else None)
        results = []
        with run.interrupts.counted(), pytest.raises(Interrupted, match="interrupted by SIGINT") as caught:
            run.run(jobs(9), results.append)
        assert results == []
        assert run.executor.turns == 4
        assert caught.value.exit_code == 130

    def test_while_nothing_runs_the_first_ends_at_once(self, tmp_path):
        run = runner(tmp_path, train(1))
        ran(run, jobs(2))
        with run.interrupts.counted(), pytest.raises(Interrupted, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGINT)
        assert run.screen.lines[-1] == "Stopping; a second signal waits for nothing."
        with pytest.raises(Interrupted, match="SIGINT"):
            run.run(jobs(3), lambda result: None)
        assert len(run.executor.orders) == 2, "one that was not heard ends it before the next"

    def test_one_that_comes_while_a_job_is_chosen_begins_it_no_more(self, tmp_path):
        run = runner(tmp_path, train(4), 2)
        results = []

        def chosen():
            first, second = jobs(2)
            yield first
            os.kill(os.getpid(), signal.SIGINT)
            yield second

        with run.interrupts.counted(), pytest.raises(Interrupted):
            run.run(chosen(), results.append)
        assert [r.job.key for r in results] == ["0"] and len(run.executor.orders) == 1

    def test_a_training_ends_with_the_first(self, tmp_path):
        run = runner(tmp_path, train(9), on_turn=lambda turn: os.kill(os.getpid(), signal.SIGINT) if turn == 2 else None)
        run.interrupts.patient = False
        with run.interrupts.counted(), pytest.raises(Interrupted):
            run.run(jobs(1), lambda result: None)
        assert run.executor.turns == 2

    def test_the_handlers_are_put_back(self, tmp_path):
        before = [signal.getsignal(s) for s in (signal.SIGINT, *NOTICES)]
        with runner(tmp_path, train(1)).interrupts.counted():
            assert [signal.getsignal(s) for s in (signal.SIGINT, *NOTICES)] != before
        assert [signal.getsignal(s) for s in (signal.SIGINT, *NOTICES)] == before


class Told:
    """A listener that remembers what it was told."""

    def __init__(self):
        self.heard = []

    def begin(self, job):
        self.heard.append(("begin", job.key))

    def epoch(self, job, epoch, metrics):
        self.heard.append((epoch, job.key))

    def end(self, result):
        self.heard.append((result.state, result.job.key))


def test_the_listener_is_told_everything_once(tmp_path):
    told = Told()
    run = replace(runner(tmp_path, train(2)), listener=told)
    ran(run, jobs(2))
    assert told.heard == [(what, key) for key in "01" for what in ("begin", 1, 2, "complete")]


def test_without_tracking_nothing_is_missing_at_the_end():
    assert NoListener().close() == 0


def test_the_listener_is_told_of_an_end_once_it_is_written_down(tmp_path):
    """MLflow would know trials that a search, cut in that moment, runs again."""
    told, written = Told(), []
    run = replace(runner(tmp_path, train(1)), listener=told)
    run.run(jobs(2), lambda result: written.append([what for what, _ in told.heard]))
    assert written == [["begin", 1], ["begin", 1, "complete", "begin", 1]]


def test_the_listener_hears_only_the_end_of_a_measurement_and_nothing_of_a_try_out(tmp_path):
    told = Told()
    run = replace(runner(tmp_path, train(1)), listener=told)
    ran(run, [*jobs(1, PREFLIGHT), Job(Measure(key="t", recipe=RECIPE, weights="0"), TEST)])
    assert told.heard == [("complete", "t")]


class TestFaultsOfTheMachine:
    def play(self, faults, reason="lost"):
        """A trial that the machine ends so many times before it trains."""

        def play(order):
            yield {"val_accuracy": 0.1}
            self.begun.append(order.key)
            if self.begun.count(order.key) <= faults:
                raise Fails(reason, "gone")
            return outcome(val_accuracy=0.9)

        self.begun = []
        return play

    @pytest.mark.parametrize("reason", ["lost", "preempted", "disk"])
    def test_they_are_retried_and_never_told(self, tmp_path, reason):
        run = runner(tmp_path, self.play(3, reason))
        (result,) = ran(run, jobs(1))
        assert (result.state, result.score, curve(result)) == ("complete", 0.9, [0.1])
        assert run.screen.lines == [f"  trial 0 is tried again: {reason}: gone"] * 3
        assert all(order == run.executor.orders[0] for order in run.executor.orders), "the same order: key, seed and recipe"

    def test_as_often_as_the_setting_says(self, tmp_path):
        (result,) = ran(replace(runner(tmp_path, self.play(1)), retries=0), jobs(1))
        assert (result.state, len(self.begun)) == ("failed", 1)

    def test_a_trial_that_comes_further_each_time_is_retried_for_ever_and_leaves_no_checkpoint(self, tmp_path):
        run = runner(tmp_path, lambda order: play(order))

        def play(order):
            yield {"val_accuracy": 0.1}
            self.begun.append(order.key)
            if len(self.begun) <= 20:
                with run.executor.store.writing_checkpoint(order.key, Reached(1, len(self.begun), 0)):
                    pass
                raise Fails("preempted", "told to end by SIGTERM")
            return outcome(val_accuracy=0.9)

        self.begun = []
        (result,) = ran(run, jobs(1))
        assert (result.state, len(self.begun)) == ("complete", 21)
        assert run.screen.lines[-2:] == [
            "  trial 0 is tried again: preempted: told to end by SIGTERM",
            "  trial 0 goes on from its checkpoint after 20 epochs",
        ]
        assert run.executor.store.checkpoints("0") == []

    def test_not_for_ever(self, tmp_path):
        (result,) = ran(runner(tmp_path, self.play(99)), jobs(1))
        assert (result.state, result.problem.reason) == ("failed", "lost")
        assert len(self.begun) == 3 + 1

    @pytest.mark.parametrize("reason", ["error", "nonfinite", "plugin", "timeout", "oom_device", "oom_host", "user"])
    def test_what_the_recipe_or_the_user_did_is_not_retried(self, tmp_path, reason):
        (result,) = ran(runner(tmp_path, self.play(1, reason)), jobs(1))
        assert (result.problem.reason, self.begun) == (reason, ["0"])

    def test_while_it_is_retried_no_other_takes_its_place(self, tmp_path):
        run = runner(tmp_path, self.play(1), 2)
        assert {r.state for r in ran(run, jobs(5))} == {"complete"}
        assert run.executor.most == 2

    def test_after_a_signal_nothing_is_retried(self, tmp_path):
        run = runner(tmp_path, self.play(1), on_turn=lambda turn: os.kill(os.getpid(), signal.SIGINT) if turn == 1 else None)
        results = []
        with run.interrupts.counted(), pytest.raises(Interrupted):
            run.run(jobs(1), results.append)
        assert results == [] and self.begun == ["0"], "it has no result, so the next session runs it again"


def test_where_time_is_judged_one_runs_at_a_time(tmp_path):
    run = runner(tmp_path, train(2), 3, Objective("latency_ms", "minimize"))
    ran(run, jobs(4))
    assert run.executor.most == 1 == run.workers and replace(run, goal=Goal((ACCURACY,))).workers == 3


def test_a_runner_for_another_goal_takes_other_numbers(tmp_path):
    """The end of an earlier process would be taken for that of a later trial."""
    run = runner(tmp_path, train(1))
    ran(run, jobs(2))
    assert next(replace(run, goal=Goal((ACCURACY,))).tickets) == 3 and next(run.tickets) == 4


def test_outside_of_the_main_thread_there_are_no_signals(tmp_path):
    before, entered = signal.getsignal(signal.SIGINT), []

    def enter():
        with runner(tmp_path, train(1)).interrupts.counted():
            entered.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [before]
