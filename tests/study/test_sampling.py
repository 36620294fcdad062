from dataclasses import replace
from itertools import islice

import pytest
from scripted import ACCURACY, Fails, Killed, closed, learn, outcome, rows, searched, space, studied

from autoopt.errors import BadInput, NotConcluded
from autoopt.goal import Goal
from autoopt.orders import Train
from autoopt.records.journal import stored_records
from autoopt.records.stages import SEARCH
from autoopt.strategy import Strategy
from autoopt.study.compress import compress_goal
from autoopt.study.explore import explore, sampling_for
from autoopt.study.sampling import Sampling, history

TRIALS = 25


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """A whole search by one worker: the lines of its journal, and its trials."""
    path = tmp_path_factory.mktemp("uncut") / "s"
    trials = searched(path)
    return (path / "journal.log").read_bytes().splitlines(keepends=True), trials


def cut(path, lines, count):
    """A study's folder whose journal ends after so many lines."""
    path.mkdir()
    (path / "journal.log").write_bytes(b"".join(lines[:count]))


@pytest.mark.slow
def test_it_searches(uncut):
    _, trials = uncut
    assert [number for number, *_ in trials] == list(range(TRIALS))
    assert {state for _, _, state, _ in trials} == {"COMPLETE", "PRUNED"}
    assert len({row[3]["seed"] for row in trials}) == TRIALS


@pytest.mark.slow
def test_the_baseline_is_first(uncut):
    whole = space("study.trials=25", "study.epochs=3")
    assert uncut[1][0][1] == whole.without_compression().defaults()
    assert uncut[1][0][3]["recipe"] == dict(whole.baseline().tree)


def test_the_baseline_is_not_stopped_though_others_are_ahead_at_its_rung(tmp_path):
    def play(order):
        for epoch in range(3):
            if order.key == "0" and not epoch:
                for _ in range(2):  # the others come to the rung before it
                    yield {"lr": 0.1}
            if (yield {"val_accuracy": 0.1 if order.key == "0" else 0.9}):
                return outcome(stopped=True, val_accuracy=0.0)
        return outcome(val_accuracy=0.1)

    trials = searched(tmp_path / "s", play, "study.epochs=10", trials=3, workers=3)
    assert [row[2] for row in trials] == ["COMPLETE"] * 3


@pytest.mark.slow
def test_the_same_seed_gives_the_same_search(tmp_path, uncut):
    assert searched(tmp_path / "s") == uncut[1]
    assert searched(tmp_path / "b", seed=1) != uncut[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raising", "IndexError: list index out of range"),
        ("outside", r"ValueError: optimizer\.adamw\.lr=5\.0: expected tag\(log, "),
        ("stopping", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_strategy_that_fails_is_named_and_the_search_goes_on_from_its_trials(tmp_path, name, said):
    with pytest.raises(BadInput, match=rf"^strategy={name} failed: {said}"):
        searched(tmp_path / "s", learn, f"strategy=faulty:{name}", trials=4)
    before = rows(tmp_path / "s")[:2]
    assert len(before) == 2 and searched(tmp_path / "s", learn, "strategy=random", trials=4)[:2] == before
    assert {row[2] for row in rows(tmp_path / "s")} <= {"COMPLETE", "PRUNED"} and len(rows(tmp_path / "s")) == 4


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.002, 0.01, 0.03, 0.05, 0.2, 0.31, 0.44, 0.53, 0.62, 0.71, 0.83, 0.97, 0.998])
def test_cut_anywhere_equals_uncut(tmp_path, uncut, share):
    """The journal ends after any of its lines: before and after a trial begins, its record, its end."""
    lines, trials = uncut
    cut(tmp_path / "s", lines, int(share * len(lines)))
    assert searched(tmp_path / "s") == trials


@pytest.mark.parametrize("line", range(6))
def test_cut_within_one_trial_equals_uncut(tmp_path, uncut, line):
    lines, trials = uncut
    begin = [i for i, text in enumerate(lines) if text.startswith(b'{"op_code":4')][21]
    cut(tmp_path / "s", lines, begin + line)
    assert searched(tmp_path / "s") == trials


@pytest.mark.parametrize("line", range(6))
def test_a_trial_with_a_record_is_not_run_again(tmp_path, uncut, line):
    """The journal ends after the line in which a trial begins, with its record, with one of its epochs, or with its end."""
    lines, trials = uncut
    begin = [i for i, text in enumerate(lines) if text.startswith(b'{"op_code":4')][-1]
    cut(tmp_path / "s", lines, begin + 1 + line)
    kept = stored_records(tmp_path / "s" / "journal.log", "s")[0]["search"]
    ran = []

    def play(order):
        ran.append(order.key)
        yield {"val_accuracy": 0.99}
        return outcome(val_accuracy=0.99)

    resumed = searched(tmp_path / "s", play)
    assert ran == ([] if line else ["24"])
    assert [row[3]["key"] for row in resumed if row[2] == "RUNNING"] == []
    assert stored_records(tmp_path / "s" / "journal.log", "s")[0]["search"][: len(kept)] == kept, "a record never changes"
    assert resumed == trials or not line


@pytest.mark.parametrize("turn", [1, 2, 30, 45])
def test_a_supervisor_that_dies_while_a_trial_trains(tmp_path, uncut, turn):
    def die(now):
        if now == turn:
            raise Killed

    with pytest.raises(Killed):
        searched(tmp_path / "s", on_turn=die)
    assert [state for *_, state, _ in rows(tmp_path / "s")][-1] == "RUNNING"
    assert searched(tmp_path / "s") == uncut[1]


def test_with_more_workers_none_is_lost_or_doubled(tmp_path):
    path = tmp_path / "s"
    for turn in (5, 9, 7):

        def die(now, turn=turn):
            if now == turn:
                raise Killed

        with pytest.raises(Killed):
            searched(path, workers=3, on_turn=die)
    running = [number for number, _, state, _ in rows(path) if state == "RUNNING"]
    before = {row[0]: row for row in rows(path) if row[2] != "RUNNING"}
    assert len(running) == 3
    trials = searched(path, workers=3)
    assert [row[0] for row in trials] == list(range(TRIALS))
    assert {row[2] for row in trials} <= {"COMPLETE", "PRUNED"}
    assert [row for row in trials if row[0] in before] == list(before.values()), "what was finished is not run again"


@pytest.mark.slow
def test_the_total_is_exact_and_grows(tmp_path, uncut):
    path = tmp_path / "s"
    for total in (1, 1, 7, 7, TRIALS):
        trials = searched(path, trials=total)
        assert len(trials) == total
    assert trials == uncut[1]
    size = (path / "journal.log").stat().st_size
    searched(path, trials=3)
    assert (path / "journal.log").stat().st_size == size, "a smaller budget takes nothing away and asks nothing"


def failing(reason):
    """Half of the trials fail."""

    def play(order):
        if order.seed % 2 and order.key != "0":
            raise Fails(reason, "killed by SIGKILL")
        return (yield from learn(order))

    return play


@pytest.mark.slow
@pytest.mark.parametrize("reason", ["nonfinite", "lost"])
def test_failures_count_and_the_search_goes_on(tmp_path, reason):
    trials = searched(tmp_path / "s", failing(reason))
    failed = [row for row in trials if row[2] == "FAIL"]
    assert len(trials) == TRIALS
    assert 5 < len(failed) < 20
    assert {row[3]["reason"] for row in failed} == {reason}


class Watching(Strategy):
    """Remembers the histories that it was shown, proposes nothing but defaults, and stops nothing."""

    def __init__(self):
        self.histories = []

    def propose(self, history, number, seed):
        self.histories.append(list(history))
        return {}


def watched(tmp_path, play, trials=8, workers=1):
    """What a strategy was shown before the last trial."""
    study = studied(tmp_path / "s", play, f"study.trials={trials}", "study.epochs=3", workers=workers)
    strategy = Watching()
    order = lambda key, seed, proposal: Train(key=key, recipe=proposal.recipe, seed=seed, rungs=(2,))  # noqa: E731
    sampling = Sampling(SEARCH, study.journal, study.goal, study.budget, study.space.without_compression(), strategy, order, trials, 0)
    study.runner.run(sampling.jobs(), sampling.tell, sampling.stop)
    closed(study)
    return {trial.number: trial for trial in strategy.histories[-1]}, rows(tmp_path / "s")


@pytest.mark.parametrize("reason", ["nonfinite", "oom_device", "timeout", "plugin"])
def test_what_failed_by_its_own_values_teaches(tmp_path, reason):
    history, trials = watched(tmp_path, failing(reason))
    failed = {row[0] for row in trials[:-1] if row[2] == "FAIL"}
    assert failed and {number for number, trial in history.items() if trial.state == "failed"} == failed
    assert all(trial.values and not trial.scores for number, trial in history.items() if number in failed)


@pytest.mark.parametrize("reason", ["lost", "preempted", "disk", "user"])
def test_what_the_machine_or_the_user_ended_does_not_teach(tmp_path, reason):
    history, trials = watched(tmp_path, failing(reason))
    failed = {row[0] for row in trials[:-1] if row[2] == "FAIL"}
    assert failed and not failed & history.keys()


def test_a_strategy_sees_what_runs_with_what_it_has_reached(tmp_path):
    history, _ = watched(tmp_path, learn, trials=4, workers=2)
    assert {trial.state for trial in history.values()} == {"complete", "running"}
    assert all(trial.scores == () for trial in history.values() if trial.state == "running")
    assert all(list(trial.curve) == [1, 2, 3] and len(trial.scores) == 1 for trial in history.values() if trial.state == "complete")


class Judging(Watching):
    """Ends trial 1 at the first rung."""

    def stop(self, history, number, epoch):
        self.judged.append((number, epoch, {trial.number: dict(trial.curve) for trial in history}[number]))
        return number == 1

    def __init__(self):
        super().__init__()
        self.judged = []


def test_a_strategy_judges_a_running_trial_by_its_value_at_the_rung_and_sees_it_as_stopped(tmp_path):
    def play(order):
        yield {"lr": 0.1} if order.key == "2" else {"val_accuracy": 0.25}
        if (yield {"lr": 0.1} if order.key == "2" else {"val_accuracy": 0.5}):
            return outcome(stopped=True, val_accuracy=0.5)
        return outcome(val_accuracy=0.75)

    study, strategy = studied(tmp_path / "s", play), Judging()
    order = lambda key, seed, proposal: Train(key=key, recipe=proposal.recipe, seed=seed, rungs=(2,))  # noqa: E731
    sampling = Sampling(SEARCH, study.journal, study.goal, study.budget, study.space.without_compression(), strategy, order, 4, 0)
    study.runner.run(sampling.jobs(), sampling.tell, sampling.stop)
    closed(study)
    assert strategy.judged == [(number, 2, {1: 0.25, 2: 0.5}) for number in (0, 1, 3)], "trial 2 has no value to judge by"
    assert [(trial.state, trial.scores, trial.curve) for trial in sampling.observations()[:3]] == [
        ("complete", (0.75,), {1: 0.25, 2: 0.5}),
        ("stopped", (), {1: 0.25, 2: 0.5}),
        ("complete", (0.75,), {}),
    ]


def test_where_the_best_epoch_counts_a_running_trial_is_judged_by_the_best_of_all_its_epochs(tmp_path):
    def play(order):
        yield {"val_accuracy": 0.75}
        if (yield {"val_accuracy": 0.5}):
            return outcome(stopped=True, val_accuracy=0.75)
        return outcome(val_accuracy=0.75)

    study, strategy = studied(tmp_path / "s", play, goal=Goal((ACCURACY,), best_epoch=True)), Judging()
    order = lambda key, seed, proposal: Train(key=key, recipe=proposal.recipe, seed=seed, rungs=(2,))  # noqa: E731
    sampling = Sampling(SEARCH, study.journal, study.goal, study.budget, study.space.without_compression(), strategy, order, 3, 0)
    study.runner.run(sampling.jobs(), sampling.tell, sampling.stop)
    closed(study)
    assert strategy.judged == [(number, 2, {1: 0.75, 2: 0.75}) for number in range(3)], "as those that have ended"
    assert all(trial.curve == {1: 0.75, 2: 0.75} for trial in sampling.observations())


def test_a_trial_that_lacks_an_objective_has_failed_for_the_strategy(tmp_path):
    def play(order):
        yield {"val_accuracy": 0.5}
        return outcome(val_accuracy=0.5, latency_ms=1.0, **({} if order.key == "1" else {"size_mb": 1.0}))

    study = studied(tmp_path / "s", play)
    goal = compress_goal(study.goal)
    order = lambda key, seed, proposal: Train(key=key, recipe=proposal.recipe, seed=seed)  # noqa: E731
    sampling = Sampling(SEARCH, study.journal, goal, study.budget, study.space.without_compression(), Watching(), order, 2, 0)
    study.runner.run(sampling.jobs(), sampling.tell)
    closed(study)
    assert [(trial.state, trial.scores) for trial in sampling.observations()] == [("complete", (0.5, 1.0, 1.0)), ("failed", ())]


def play_baseline(*ends):
    """The baseline ends in these ways, one a run; the others learn."""
    left = list(ends)

    def play(order):
        if order.key == "0" and left and (end := left.pop(0)):
            raise end
        return (yield from learn(order))

    return play


class TestABaselineThatFails:
    @pytest.mark.parametrize("workers", [1, 3])
    def test_by_its_own_fault_it_ends_the_study_for_good(self, tmp_path, workers):
        message = "^the baseline failed, so there is nothing to compare with .nonfinite: nan.; begin another study with name=$"
        path = tmp_path / "s"
        with pytest.raises(NotConcluded, match=message) as caught:
            searched(path, play_baseline(Fails("nonfinite", "nan")), workers=workers)
        assert caught.value.exit_code == 4
        assert [(number, state) for number, _, state, _ in rows(path)] == [(0, "FAIL"), *((n, "RUNNING") for n in range(1, workers))]
        before = (path / "journal.log").read_bytes()
        with pytest.raises(NotConcluded, match=message):
            searched(path)
        assert (path / "journal.log").read_bytes() == before, "nothing is asked or run again"

    @pytest.mark.parametrize("reason", ["lost", "preempted", "disk", "oom_host", "timeout", "user"])
    def test_what_another_run_may_cure_is_run_again_by_the_same_command(self, tmp_path, reason, uncut):
        message = f"^the baseline failed, so there is nothing to compare with .{reason}: gone.; the same command runs it again$"
        with pytest.raises(NotConcluded, match=message):
            searched(tmp_path / "s", play_baseline(*[Fails(reason, "gone")] * 4))
        assert [(number, state) for number, _, state, _ in rows(tmp_path / "s")] == [(0, "RUNNING")]
        assert searched(tmp_path / "s") == uncut[1]

    def test_a_fault_of_the_machine_is_retried_at_once(self, tmp_path, uncut):
        assert searched(tmp_path / "s", play_baseline(Fails("lost", "gone"), Fails("lost", "gone"))) == uncut[1]


class TestTime:
    """A turn of the scripted executor is a second on its clock."""

    def test_after_its_end_nothing_is_asked_but_the_baseline(self, tmp_path):
        trials = searched(tmp_path / "s", time=9, spent=9)
        assert [row[0] for row in trials] == [0]
        assert searched(tmp_path / "s", time=9, spent=9) == trials

    def test_after_its_end_the_interrupted_baseline_runs_again_and_no_other(self, tmp_path):
        path = tmp_path / "s"

        def die(turn):
            if turn == 2:
                raise Killed

        with pytest.raises(Killed):
            searched(path, workers=3, on_turn=die)
        assert [row[2] for row in rows(path)] == ["RUNNING"] * 3
        trials = searched(path, workers=3, time=9, spent=9)
        assert [row[2] for row in trials] == ["COMPLETE", "RUNNING", "RUNNING"]
        trials = searched(path, workers=3)
        assert len(trials) == TRIALS
        assert "RUNNING" not in {row[2] for row in trials}, "a longer search takes the others up again"

    def test_it_ends_running_trials_which_a_longer_time_runs_again(self, tmp_path):
        trials = searched(tmp_path / "s", time=10, workers=2)
        assert 3 <= len(trials) <= 9
        assert [row[2] for row in trials][-1] == "RUNNING", "it has no result"
        assert "RUNNING" not in {row[2] for row in searched(tmp_path / "s", time=1000, workers=2)}


def test_a_baseline_of_its_own_is_trial_0_and_no_point_of_the_space(tmp_path):
    own = space("model=linear", "optimizer=momentum", "schedule=constant", "regularizer=none").baseline()
    trials = searched(tmp_path / "s", trials=12, baseline=own)
    assert trials[0][1] == {}
    assert trials[0][3]["recipe"] == dict(own.tree)
    assert {row[2] for row in trials} <= {"COMPLETE", "PRUNED"}
    assert len(trials) == 12
    assert all(row[1] for row in trials[1:])
    assert searched(tmp_path / "b", trials=1, baseline=own)[0][1:] == trials[0][1:]
    assert searched(tmp_path / "b", trials=12, baseline=own) == trials


def test_ten_random_ones_come_first(uncut):
    """Then TPE: the good optimizer is drawn more often."""
    _, trials = uncut
    late = [row[1]["optimizer"] for row in trials[15:]]
    assert late.count("adamw") > len(late) / 2


def test_weights_are_kept_for_compressions_alone(tmp_path):
    for name, more in {"plain": (), "compressed": ("compression=half",)}.items():
        study = studied(tmp_path / name, learn, "study.trials=2", "study.epochs=3", *more)
        explore(study)
        closed(study)
        assert all(order.keep == bool(more) for order in study.runner.executor.orders)
        assert not any(order.recipe.tree["compression"] for order in study.runner.executor.orders)


def test_the_screen_is_told_what_is_to_do_and_what_was_done_before(tmp_path):
    searched(tmp_path / "s", trials=2)
    study = studied(tmp_path / "s", learn, "study.trials=4", "study.epochs=3")
    explore(study)
    closed(study)
    assert (study.runner.screen.stages, study.runner.screen.before) == ([("search", 4, 2)], ["0", "1"])


def test_stopping_may_be_switched_off(tmp_path):
    trials = searched(tmp_path / "s", learn, "study.stopping=false")
    assert {row[3]["state"] for row in trials} == {"complete"}
    assert {row[3]["epochs"] for row in trials} == {1}, "as the scripted outcome says"
    assert {len(row[3]["curves"]["epoch"]) for row in trials} == {3}


class TestNothingTwice:
    """Where a stage tries no values twice."""

    SMALL = ("optimizer=adamw", "optimizer.adamw.lr=0.1,0.2", "optimizer.adamw.weight_decay=0.0", "optimizer.adamw.beta1=0.9")
    SMALL = (*SMALL, "schedule=constant", "regularizer=none", "model=linear", "batches.size=32,64", "device.cpu.precision=32-true")
    SMALL = (*SMALL, "loss.cross_entropy.label_smoothing=0.0", "loss.cross_entropy.class_weight=none")

    def sampled(self, tmp_path, strategy, total=9, play=learn):
        study = studied(tmp_path / "s", play, *self.SMALL)
        order = lambda key, seed, proposal: Train(key=key, recipe=proposal.recipe, seed=seed)  # noqa: E731
        sampling = Sampling(SEARCH, study.journal, study.goal, study.budget, study.space.without_compression(), strategy, order, total, 0)
        study.runner.run(sampling.jobs(), sampling.tell, sampling.stop)
        closed(study)
        return sampling, rows(tmp_path / "s")

    def test_random_proposals_take_over_and_the_stage_ends_where_all_was_tried(self, tmp_path):
        sampling, trials = self.sampled(tmp_path, strategy := Watching())
        assert len(strategy.histories) == 4, "it is asked first for each trial, and once more in vain"
        assert len(trials) == len({tuple(row[1].items()) for row in trials}) == 4
        assert sampling.exhausted == "the last 1000 proposals had been tried before"
        assert len(self.sampled(tmp_path, Watching())[1]) == 4, "nor does a later session try anything"

    def test_up_to_the_total_it_is_not_exhausted(self, tmp_path):
        sampling, trials = self.sampled(tmp_path, Watching(), total=3)
        assert (len(trials), sampling.exhausted) == (3, "")

    def test_what_the_machine_ended_may_be_tried_again(self, tmp_path):
        def play(order):
            if order.key in "1":
                raise Fails("lost", "gone")
            return (yield from learn(order))

        _, trials = self.sampled(tmp_path, Watching(), play=play)
        assert len(trials) == 5
        assert len({tuple(row[1].items()) for row in trials}) == 4


def test_a_trial_whose_values_are_no_longer_in_the_space_is_not_run_again(tmp_path):
    def die(turn):
        if turn == 11:
            raise Killed

    with pytest.raises(Killed):
        searched(tmp_path / "s", trials=4, on_turn=die)
    running = [row for row in rows(tmp_path / "s") if row[2] == "RUNNING"]
    assert len(running) == 1 and running[0][1]["optimizer"]
    other = "sgd" if running[0][1]["optimizer"] == "adamw" else "adamw"
    study = studied(tmp_path / "s", learn, f"optimizer={other},momentum", "study.trials=6", "study.epochs=3")
    explore(study)
    assert running[0][0] not in history(study.journal, SEARCH, study.goal), "in later sessions it does not run for ever"
    closed(study)
    trials = {row[0]: row for row in rows(tmp_path / "s")}
    assert trials[running[0][0]][2] == "FAIL" and "key" not in trials[running[0][0]][3]
    assert len(trials) == 6


def test_a_malformed_value_of_a_strategy_is_told(tmp_path):
    class Wild(Strategy):
        def propose(self, history, number, seed):
            return {"optimizer": "nonsense"}

    study = studied(tmp_path / "s", learn)
    order = lambda key, seed, proposal: Train(key=key, recipe=proposal.recipe, seed=seed)  # noqa: E731
    sampling = Sampling(SEARCH, study.journal, study.goal, study.budget, study.space.without_compression(), Wild(), order, 2, 0)
    with pytest.raises(ValueError, match=r"optimizer=nonsense: expected choice\(adamw, sgd\)"):
        study.runner.run(sampling.jobs(), sampling.tell)
    closed(study)


class Promoting(Watching):
    """Stops trials 1 and 2 at the rung, and continues trial 1 as trial 3."""

    def propose(self, history, number, seed):
        super().propose(history, number, seed)
        return {"batches.size": [32, 64, 128][number % 3]} if number < 3 else {"optimizer.adamw.lr": 0.001 * number}

    def stop(self, history, number, epoch):
        return number in (1, 2)

    def promote(self, history, kept):
        return 1 if any(trial.number == 2 for trial in history) and any(trial.number == 1 for trial in history) else None


def promoted(folder, strategy, turns=None, **said):
    """The orders of a search that continues a stopped trial, and its sampling."""

    def play(order):
        yield {"val_accuracy": 0.25}
        if (yield {"val_accuracy": 0.5}) and not order.continues:
            return outcome(stopped=True, val_accuracy=0.5)
        return outcome(val_accuracy=0.75)

    study = studied(folder, play)

    def order(key, seed, proposal):
        return Train(key=key, recipe=proposal.recipe, seed=seed, rungs=(2,), continues=str(proposal.continues or ""))

    sampling = Sampling(SEARCH, study.journal, study.goal, study.budget, study.space.without_compression(), strategy, order, 5, 0, **said)
    return study, sampling


def test_a_stopped_trial_goes_on_as_a_new_one_that_takes_its_place_in_the_history(tmp_path):
    strategy = Promoting()
    study, sampling = promoted(tmp_path / "s", strategy, kept=lambda key: key == "1")
    study.runner.run(sampling.jobs(), sampling.tell, sampling.stop)
    closed(study)
    orders = {order.key: order for order in study.runner.executor.orders}
    assert {key: order.continues for key, order in orders.items()} == {"0": "", "1": "", "2": "", "3": "1", "4": ""}
    assert (orders["3"].recipe, orders["3"].seed) == (orders["1"].recipe, orders["1"].seed)
    assert [trial.number for trial in strategy.histories[-1]] == [0, 2, 3]
    again, reopened = promoted(tmp_path / "s", Promoting(), kept=lambda key: True)
    assert [trial.number for trial in reopened.observations()] == [0, 2, 3, 4]
    closed(again)


def test_a_continued_trial_that_died_with_its_session_is_continued_again(tmp_path):
    study, sampling = promoted(tmp_path / "s", Promoting(), kept=lambda key: True)
    jobs = sampling.jobs()
    study.runner.run(islice(jobs, 3), sampling.tell, sampling.stop)
    began = next(jobs)
    assert (began.key, began.order.continues) == ("3", "1")
    closed(study)
    again, sampling = promoted(tmp_path / "s", Promoting(), kept=lambda key: True)
    resumed = next(sampling.jobs())
    assert resumed.order == began.order
    closed(again)


class PromotingTwice(Promoting):
    """Stops trials 1 and 2 at the first rung and trial 3 at the second, and continues 1 as 3, and 3 as 4, as far as they are kept."""

    def stop(self, history, number, epoch):
        return (number, epoch) in {(1, 2), (2, 2), (3, 3)}

    def promote(self, history, kept):
        return next((number for number in (3, 1) if number in kept and len(history) > 2), None)


def continued_twice(folder, count, kept=lambda key: True):
    """The continued trial and the seed of each order, in a search whose supervisor dies after so many results and one more begun."""

    def play(order):
        for epoch in range(1, 5):
            if (yield {"val_accuracy": epoch / 10}):
                return outcome(stopped=True, val_accuracy=epoch / 10)
        return outcome(val_accuracy=0.5)

    study = studied(folder, play)

    def order(key, seed, proposal):
        return Train(key=key, recipe=proposal.recipe, seed=seed, rungs=(2, 3), continues=str(proposal.continues or ""))

    space = study.space.without_compression()
    sampling = Sampling(SEARCH, study.journal, study.goal, study.budget, space, PromotingTwice(), order, 7, 0, kept=kept)
    jobs = sampling.jobs()
    study.runner.run(islice(jobs, count), sampling.tell, sampling.stop)
    begun = [*study.runner.executor.orders, *(job.order for job in islice(jobs, 1))]
    seen = [trial.number for trial in sampling.observations()]
    closed(study)
    return {order.key: (order.continues, order.seed) for order in begun}, seen


def test_a_trial_is_continued_at_each_rung_with_its_first_seed(tmp_path):
    orders, seen = continued_twice(tmp_path / "s", 7)
    assert {key: continues for key, (continues, _) in orders.items()} == dict.fromkeys("01256", "") | {"3": "1", "4": "3"}
    assert orders["4"][1] == orders["3"][1] == orders["1"][1] and len({seed for _, seed in orders.values()}) == 5
    assert seen == [0, 2, 4, 5, 6]


@pytest.mark.parametrize("count", range(7))
def test_a_search_that_continues_trials_goes_on_after_a_cut_as_if_there_was_none(tmp_path, count):
    uncut = continued_twice(tmp_path / "uncut", 7)
    before, _ = continued_twice(tmp_path / "s", count)
    rest, seen = continued_twice(tmp_path / "s", 7)
    assert (before | rest, seen) == uncut


def test_without_checkpoints_for_new_trials_a_continued_one_goes_on_as_it_began(tmp_path):
    before, _ = continued_twice(tmp_path / "s", 4)
    resumed, _ = continued_twice(tmp_path / "s", 1, kept=None)
    assert resumed["4"] == before["4"] == ("3", before["1"][1])


def test_a_trial_is_not_continued_again_after_the_machine_ended_its_continuation(tmp_path):
    study, sampling = promoted(tmp_path / "s", PromotingTwice(), kept=lambda key: key == "1")
    play = study.runner.executor.play

    def losing(order):
        if order.continues:
            raise Fails("lost")
        return (yield from play(order))

    study.runner.executor.play = losing
    study.runner.run(sampling.jobs(), sampling.tell, sampling.stop)
    closed(study)
    assert {order.key for order in study.runner.executor.orders if order.continues} == {"3"}


def test_nothing_is_continued_without_a_checkpoint(tmp_path):
    for name, said in {"a": {}, "b": {"kept": lambda key: False}}.items():
        study, sampling = promoted(tmp_path / name, Promoting(), **said)
        study.runner.run(sampling.jobs(), sampling.tell, sampling.stop)
        closed(study)
        assert not any(order.continues for order in study.runner.executor.orders)


PROMOTES = ("strategy=random", "strategy.random.promote=true")
IN_VAIN = "executor.keep=rung has no effect: "


@pytest.mark.parametrize(
    ("keeps", "overrides", "said"),
    [
        (True, ("strategy=bayes",), IN_VAIN + "this strategy continues no trial; strategy=random strategy.random.promote=true does"),
        (True, ("strategy=random",), IN_VAIN + "this strategy continues no trial; strategy=random strategy.random.promote=true does"),
        (True, (*PROMOTES, "study.compare=optimizer"), IN_VAIN + "options that take turns continue no trial (study.compare)"),
        (True, (*PROMOTES, "study.stopping=false"), IN_VAIN + "no trial is stopped: the strategy has no rungs, or study.stopping=false"),
        (True, (*PROMOTES, "executor.checkpoint=null"), IN_VAIN + "without executor.checkpoint none is kept"),
        (False, PROMOTES, "promote=true has no effect: give executor.keep=rung, too"),
        (True, PROMOTES, None),
        (False, ("strategy=random",), None),
    ],
)
def test_what_keeps_stopped_trials_from_going_on_is_said(tmp_path, keeps, overrides, said):
    study = studied(tmp_path / "s", learn, *overrides)
    sampling = sampling_for(replace(study, runner=replace(study.runner, keeps_rungs=keeps)))
    closed(study)
    assert [line for line in study.runner.screen.lines if "no effect" in line] == ([said] if said else [])
    assert (sampling.kept is not None) == (keeps and said is None)
