from math import log
from random import Random

import pytest
from scripted import ACCURACY, LOSS, baseline, closed, record, space, studied

from autoopt.analysis.importance import importance_of
from autoopt.distributions import distribution
from autoopt.goal import Goal
from autoopt.records.stages import SEARCH

WIDE = space("optimizer=adamw,sgd", "schedule=constant,cosine")


def drawn(recipes, random):
    values, distributions = {}, {}

    def pick(domain):
        values[domain.path], distributions[domain.path] = domain.sample(random), distribution(domain)
        return values[domain.path]

    return recipes.walk(pick), values, distributions


def trials(path, count, objective=ACCURACY, worst_stop_at=None, epochs=9, recipes=WIDE, noise=0.01, peak=None):
    """Random trials whose rate of adamw decides; those below `worst_stop_at` are stopped at the third epoch.

    Args:
        peak: the epoch after which the values tell nothing more.
    """
    study, random = studied(path / "s", None, objective=objective), Random(1)
    for number in range(count):
        recipe, values, distributions = drawn(recipes, random)
        score = -abs(log(values.get("optimizer.adamw.lr", 1e-5) / 0.003)) - noise * random.random()
        value = objective.sign * score
        stopped = worst_stop_at is not None and score < worst_stop_at
        curve = {"epoch": list(range(1, 4 if stopped else epochs + 1)), objective.name: [value] * (3 if stopped else epochs)}
        if peak is not None:
            curve[objective.name][peak:] = [objective.sign * (-50 - random.random()) for _ in curve[objective.name][peak:]]
        study.journal.begin(SEARCH, study.goal, values if number else {}, distributions if number else {})
        ended = record(
            str(number),
            None if stopped else value,
            "stopped" if stopped else "complete",
            recipe=recipe if number else baseline(),
            curves=curve,
        )
        study.journal.end(SEARCH, study.goal, number, ended)
    found = study.journal.trials(SEARCH)
    closed(study)
    return found


@pytest.mark.parametrize("objective", [ACCURACY, LOSS], ids=["maximize", "minimize"])
def test_what_decides_is_the_most_important(tmp_path, objective):
    found = importance_of(trials(tmp_path, 60, objective), Goal((objective,)))
    assert next(iter(found.shares)) == "optimizer.adamw.lr"
    assert found.shares["optimizer.adamw.lr"] > 0.4 > 0.3 > found.shares["optimizer.sgd.lr"]
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-2)
    assert (found.epoch, found.trials) == (9, 59), "the baseline is no point of the space"


def test_where_the_best_epoch_counts_what_followed_it_tells_nothing(tmp_path):
    found = trials(tmp_path, 60, peak=4)
    assert importance_of(found, Goal((ACCURACY,), best_epoch=True)).shares["optimizer.adamw.lr"] > 0.4
    assert importance_of(found, Goal((ACCURACY,))).shares["optimizer.adamw.lr"] < 0.4


def test_stopped_trials_count_at_the_rung_that_most_reached(tmp_path):
    found = importance_of(trials(tmp_path, 60, worst_stop_at=-2.0), Goal((ACCURACY,)))
    assert (found.epoch, found.trials) == (3, 59)
    assert next(iter(found.shares)) == "optimizer.adamw.lr"


def test_too_few_trials_tell_nothing(tmp_path):
    assert importance_of(trials(tmp_path, 10), Goal((ACCURACY,))) is None
    assert importance_of([], Goal((ACCURACY,))) is None


def test_a_choice_that_goes_with_some_optimizers_alone_counts_once(tmp_path):
    own = space("optimizer=keep,adamw,sgd", "schedule=keep,constant,cosine")
    found = importance_of(trials(tmp_path, 40, recipes=own), Goal((ACCURACY,)))
    assert "schedule" in found.shares and not any("(" in key for key in found.shares)


def test_equal_trials_tell_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("test_importance.log", lambda _: 0.0)
    assert importance_of(trials(tmp_path, 40, noise=0.0), Goal((ACCURACY,))) is None
