from dataclasses import replace
from math import inf

import pytest

from autoopt.records.stages import ABLATION, COMPRESS, CONFIRM, FINAL, SEARCH, TEST
from autoopt.study.budget import Budget


class Clock:
    time = 0.0

    def __call__(self):
        return self.time


def budget(limit=100.0, at=0.0, **fields):
    clock = Clock()
    clock.time = at
    return Budget(limit, clock, 0.0, **{"spent": 0.0, "compressing": False, "asking": True, **fields})


def test_without_a_limit_no_stage_ends():
    assert all(budget(inf, at=1e9).left(stage) == inf for stage in (SEARCH, COMPRESS, CONFIRM, FINAL, TEST))


@pytest.mark.parametrize(("compressing", "ends"), [(False, (82.5, 82.5, 100)), (True, (62.5, 82.5, 100))])
def test_confirm_and_compress_have_shares_of_their_own(compressing, ends):
    time = budget(compressing=compressing)
    assert [time.left(stage) for stage in (SEARCH, COMPRESS, FINAL)] == pytest.approx(ends)
    assert time.left(CONFIRM) == time.left(TEST) == time.left(FINAL)


def test_the_ablation_has_a_share_of_its_own():
    time = budget(ablating=True)
    assert [time.left(stage) for stage in (SEARCH, COMPRESS, FINAL, ABLATION)] == pytest.approx([72.5, 72.5, 90, 100])
    late = budget(ablating=True, at=5.0, spent=500.0)
    assert [late.left(stage) for stage in (FINAL, ABLATION)] == pytest.approx([12.5, 22.5]), "what earlier sessions used does not count"
    assert budget(asking=False, ablating=True, spent=500.0).left(ABLATION) == inf


def test_what_this_and_earlier_sessions_used_is_gone():
    time = budget(at=10.0, spent=30.0)
    assert time.elapsed == 40.0
    assert time.left(SEARCH) == pytest.approx(42.5)
    assert not budget(at=52.0, spent=30.0).over(SEARCH) and budget(at=52.5, spent=30.0).over(SEARCH)


def test_a_session_counts_from_its_start_on_the_clock():
    assert replace(budget(at=17.0), start=12.0).elapsed == 5.0


def test_confirm_has_its_share_though_earlier_sessions_used_all():
    time = budget(at=5.0, spent=500.0)
    assert time.over(SEARCH)
    assert time.left(FINAL) == pytest.approx(12.5)


def test_who_asks_no_more_has_all_the_time_to_conclude():
    time = budget(at=5.0, spent=500.0, asking=False)
    assert time.over(SEARCH) and time.over(COMPRESS)
    assert time.left(CONFIRM) == time.left(FINAL) == inf


def test_the_whole_time_counts_from_the_session():
    assert not budget(at=99.0, spent=500.0).ended and budget(at=100.0, spent=500.0).ended
    assert not budget(inf, at=1e9).ended
