import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from processes import alive

from autoopt.errors import BadInput, NotConcluded
from autoopt.executor import Executor, TemplateError
from autoopt.orders import Problem
from autoopt.process import system
from autoopt.process.endings import NOTICES
from autoopt.process.log import HEAD, TAIL
from autoopt.store import Store

HERE = Path(__file__).parent


def gone(*pids, seconds=60):
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(alive, pids))


def until(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_trial_reports_and_finishes(bench):
    b = bench({"name": "digits"})
    assert b.local.facts["examples"] == 3 and b.local.facts["trials_here"] and not system.trials_here
    end = b.run("train", epochs=2)
    assert b.kinds(0) == ["started", "report", "report", "finished"]
    assert b.events[2].data == {"epoch": 1, "metrics": {"loss": 0.5}}
    assert end.data["world"] == "digits"
    assert not b.local.running


def test_a_stop_is_obeyed(bench):
    b = bench()
    b.submit(0, "train", epochs=100)
    b.finish(stop=lambda event: event.data["epoch"] == 4)
    assert b.events[-1].data == {"stopped": 4}


def test_a_trial_waits_for_an_answer_at_rungs_alone(bench):
    b = bench()
    b.submit(0, "train", epochs=9, limits={"rungs": (3, 6)})
    b.finish(stop=lambda event: event.data["epoch"] == 6)
    assert b.kinds(0) == ["started", *["report"] * 7, "finished"]
    assert b.events[-1].data == {"stopped": 6}
    b.local.reply = None  # to be called by nobody
    assert b.run("train", number=1, epochs=9, limits={"rungs": ()}).kind == "finished"


def test_two_run_at_once_and_a_third_waits(bench):
    b = bench(workers=2)
    for number in range(3):
        b.submit(number, "hang")
    b.pump(lambda: len(b.events) == 4)
    assert {event.number for event in b.events} == {0, 1}
    b.local.kill(0)
    b.pump(lambda: "report" in b.kinds(2))
    assert b.kinds(0) == ["started", "report", "failed"]


@pytest.mark.parametrize(
    ("do", "values", "reason", "detail"),
    [
        ("fail", {"error": "ValueError", "text": "bad\nsecond"}, "error", "ValueError: bad"),
        ("fail", {"error": "SystemExit", "text": "3"}, "error", "SystemExit: 3"),
        ("fail", {"error": "MemoryError", "text": ""}, "oom_host", "MemoryError"),
        ("diverge", {}, "nonfinite", "the loss is nan"),
        ("quit", {"code": 0}, "lost", "exited with code 0 before it had a result"),
        ("quit", {"code": 3}, "lost", "exited with code 3 before it had a result"),
        ("kill_self", {"signal": 9}, "lost", "killed by signal 9 (SIGKILL), perhaps for lack of memory"),
        ("kill_self", {"signal": 15}, "preempted", "killed by signal 15 (SIGTERM)"),
        ("kill_self", {"signal": 10}, "preempted", "killed by signal 10 (SIGUSR1)"),
        ("kill_self", {"signal": 2}, "user", "KeyboardInterrupt"),
        ("segfault", {}, "lost", "killed by signal 11 (SIGSEGV)"),
        ("garbage", {}, "error", "sent a line that is not a message"),
        ("flood", {}, "error", "a line of more than"),
        ("nothing", {}, "error", "sent a line that is not a message"),
        ("hang_up", {}, "lost", "its connection closed before it had a result"),
        ("missing", {}, "error", "KeyError: 'missing'"),
        ("hang", {"limits": {"time_limit": 0.3}}, "timeout", "0.3 s, its time limit (executor.trial_time"),
        ("fill_disk", {}, "disk", "OSError: [Errno 28] No space left on device"),
    ],
)
def test_every_end_has_a_reason_and_the_next_trial_runs(bench, do, values, reason, detail):
    b = bench()
    end = b.run(do, **values)
    assert (end.kind, end.data["reason"]) == ("failed", reason)
    assert detail in end.data["detail"]
    assert "\n" not in end.data["detail"]
    assert gone(b.events[0].data["pid"])
    assert b.run("train", number=1).kind == "finished"


def test_a_trial_that_ends_by_itself_before_it_is_ended_exits_with_143(bench, tmp_path):
    end = bench().run("preempt", file=str(tmp_path / "code"))
    assert end.data == Problem("preempted", "told to end by SIGTERM").json()
    assert (tmp_path / "code").read_text() == "143"


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "finished"},
        {"kind": "finished", "data": None},
        {"kind": "finished", "data": [1]},
        {"kind": "ended", "data": {}},
        {"kind": ["finished"], "data": {}},
        {"kind": "started", "data": {"pid": 1}},
        {"kind": "report", "data": {"epoch": "1", "metrics": {}}},
        {"kind": "report", "data": {"epoch": 1, "metrics": []}},
        {"kind": "report", "data": {"epoch": 1, "metrics": {"loss": "low"}}},
        {"kind": "failed", "data": {"reason": "error", "detail": "x"}},
        {"kind": "failed", "data": Problem("boredom", "x").json()},
        {"kind": "failed", "data": Problem("error", ["x"]).json()},
    ],
)
def test_a_message_of_a_trial_that_says_nothing_sound_ends_it_alone(bench, content):
    end = bench().run("message", content=content)
    assert (end.kind, end.data["reason"]) == ("failed", "error") and "sent a line that is not a message" in end.data["detail"]


def test_a_log_that_cannot_be_written_is_no_fault_of_the_recipe(bench, tmp_path):
    class Lost(Store):
        def log(self, key):
            if key == "1":
                raise OSError(28, "No space left on device")
            return Path("/nowhere/at/all") if key == "0" else super().log(key)

    b = bench(store=Lost(tmp_path))
    end = b.run("train")
    assert end.data == Problem("disk", "the log /nowhere/at/all cannot be written: No such file or directory").json()
    end = b.run("train", number=1)
    assert end.data == Problem("disk", "its log cannot be written: [Errno 28] No space left on device").json()
    assert b.run("train", number=2).kind == "finished"


def test_a_technique_that_failed_is_named(bench):
    problem = Problem("plugin", "no such machine", "optimizer", "absent", unavailable=True)
    assert bench().run("blame").data == problem.json()


def test_a_trial_that_cannot_be_forked_is_no_fault_of_the_recipe(bench):
    b = bench({"processes": 0})
    end = b.run("train")
    assert end.data["reason"] == "system" and "no process could be started for it" in end.data["detail"]


def test_the_limit_of_an_order_goes_before_that_of_the_executor(bench):
    b = bench(trial_time=0.2)
    assert b.run("nap", seconds=0.6, limits={"time_limit": 100.0}).kind == "finished"
    assert "0.2 s, its time limit" in b.run("nap", number=1, seconds=0.6).data["detail"]


def test_prepare_is_told_where_the_store_is(bench, tmp_path):
    b = bench({"name": "digits"})
    assert b.local.facts["setup"] == {"name": "digits", "store": str(tmp_path)}
    assert isinstance(b.local, Executor) and b.local.store is b.store


def test_the_log_says_where_it_failed_or_hung(bench):
    b = bench(trial_time=0.3)
    b.run("fail", number=0, error="ValueError", text="bad")
    assert "in fail" in b.log(0)
    b.run("segfault", number=1)
    assert "Segmentation fault" in b.log(1)
    b.run("deaf", number=2)
    assert "in hang" in b.log(2)


@pytest.mark.slow
def test_a_log_keeps_its_head_and_its_tail_whoever_writes_it(bench):
    b = bench()
    b.run("shout", lines=10)
    assert b.log().split("\n")[:-1] == [f"{who} {number}" for who in ("python", "native", "child") for number in range(10)]
    assert b.run("shout", number=1, lines=200_000, crash=True).data["reason"] == "lost"
    head, mark, tail = re.split(r"\n\[(\d+) bytes left out\]\n", b.log(1))
    assert head.startswith("python 0\npython 1\n") and "child 199999\n" in tail and "Segmentation fault" in tail
    assert (len(head), len(tail)) == (HEAD, TAIL)
    printed = sum(len(f"{who} {number}\n") for who in ("python", "native", "child") for number in range(200_000))
    assert printed < len(head) + int(mark) + len(tail) < printed + 10_000, "the stacks too"


def short(log: Path) -> bool:
    """Whether a log, perhaps of a process that was killed, has its head and its tail, and no more."""
    content = log.read_bytes()
    mark = re.match(rb"\n\[(\d+) bytes left out\]\n", content[HEAD:])
    return mark is not None and TAIL <= len(content) - HEAD - len(mark[0]) <= 3 * TAIL


@pytest.mark.slow
def test_a_log_that_grows_for_ever_fills_no_disk(bench):
    b = bench()
    b.submit(0, "shout", lines=10**9)
    b.submit(1, "train", epochs=300)
    b.pump(lambda: "finished" in b.kinds(1))
    b.pump(lambda: short(b.store.log("0")))
    b.local.kill(0)
    b.finish()
    assert HEAD + TAIL < len(b.log(0)) < HEAD + TAIL + 100
    b.submit(2, "shout", lines=10**9)
    b.pump(lambda: "started" in b.kinds(2) and b.store.log("2").stat().st_size > HEAD + TAIL)
    b.local.close()
    assert re.search(r"\[\d+ bytes left out\]", b.log(2)), "the trials that end with the search, too"


@pytest.mark.slow
@pytest.mark.parametrize("who", ["the template", "the guard", "the supervisor"])
def test_the_head_and_the_tail_of_a_log_are_there_whoever_is_killed(tmp_path, who):
    script = f"""
        import sys
        sys.path.insert(0, {str(HERE)!r})
        from conftest import Bench
        from autoopt.store import Store
        b = Bench(Store({str(tmp_path)!r}), workers=1)
        print(b.local._template.pid, b.local.facts["pid"], flush=True)
        b.submit(0, "shout", lines=10**9)
        b.submit(1, "train")
        b.pump(lambda: False, seconds=1000)
    """
    supervisor = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    try:
        guard, template = map(int, supervisor.stdout.readline().split())
        log = Store(tmp_path).log("0")
        until(lambda: log.exists() and log.stat().st_size > HEAD and short(log))
        os.kill({"the template": template, "the guard": guard, "the supervisor": supervisor.pid}[who], signal.SIGKILL)
        assert gone(template)
    finally:
        supervisor.kill()
        supervisor.communicate()
    assert gone(guard) and short(log) and log.read_bytes().startswith(b"python 0\npython 1\n")


@pytest.mark.slow
@pytest.mark.parametrize("fork", [False, True])
def test_the_log_of_a_template_keeps_its_head_and_its_tail(bench, fork):
    b = bench({"fail": "shouts"}, fork=fork)
    log = b.store.root / "template.log"
    b.pump(lambda: log.stat().st_size > HEAD and short(log))
    os.kill(b.local._template.pid, signal.SIGKILL)
    b.local.close()
    assert log.read_bytes().startswith(b"line 0\nline 1\n") and short(log) and log.stat().st_size < HEAD + TAIL + 100


def test_a_trial_is_killed_with_the_given_reason(bench):
    b = bench()
    b.submit(0, "leave_behind", hang=True)
    b.pump(lambda: "report" in b.kinds(0))
    b.local.kill(0, "preempted")
    b.local.reply(0, stop=False)
    b.finish()
    assert b.events[-1].data["reason"] == "preempted"
    assert gone(b.events[0].data["pid"], b.events[1].data["metrics"]["left"])
    b.local.reply(0, stop=True)
    b.local.kill(0)
    with pytest.raises(ValueError, match="unknown reason to fail: 'boredom'"):
        b.local.kill(0, "boredom")


@pytest.mark.parametrize("warm", [False, True], ids=["before the template is warm", "before it has started"])
def test_a_trial_is_killed_before_it_starts(bench, warm):
    b = bench()
    if warm:
        assert b.local.facts
    b.submit(0, "hang")
    b.local.kill(0)
    assert 0 in b.local.running
    b.finish()
    assert [(event.kind, event.data.get("reason")) for event in b.events] == [("failed", "user")]
    assert b.run("train", number=1).kind == "finished"


@pytest.mark.parametrize("session", [False, True])
def test_what_a_finished_trial_leaves_behind_is_ended(bench, session):
    end = bench().run("leave_behind", session=session)
    assert gone(end.data["left"])


@pytest.mark.slow
def test_what_a_trial_leaves_behind_in_sessions_of_their_own_ends_with_it_alone(bench):
    """Also a process whose parent has ended: it is the running trial's."""
    b = bench(workers=2)
    for number in 0, 1:
        b.submit(number, "leave_behind", hang=True, session=True, twice=True)
    b.pump(lambda: all("report" in b.kinds(number) for number in (0, 1)))
    left = {event.number: event.data["metrics"]["left"] for event in b.events if event.kind == "report"}
    b.local.kill(0)
    b.pump(lambda: "failed" in b.kinds(0))
    assert gone(left[0]) and alive(left[1])
    b.local.kill(1)
    b.finish()
    assert gone(left[1])


def test_a_big_order_arrives(bench):
    assert bench().run("echo", blob="x" * 3_000_000).data == {"size": 3_000_000}


def test_a_number_runs_once_at_a_time_and_an_order_is_json(bench):
    b = bench()
    b.submit(0, "hang")
    with pytest.raises(ValueError, match="trial 0 is running already"):
        b.submit(0, "hang")
    with pytest.raises(TypeError, match="not JSON serializable"):
        b.submit(1, "hang", live=object())


def test_gpus_and_threads_are_handed_out(bench):
    b = bench(workers=9, gpus=["0", "1", "2"], gpus_per_trial=2, cpus_per_trial=3)
    assert b.local.workers == 1
    assert b.run("tell").data == {"CUDA_VISIBLE_DEVICES": "0,1", "OMP_NUM_THREADS": "3", "session": True}


def test_a_shared_gpu_goes_where_most_is_free(bench):
    b = bench(workers=4, gpus=["0", "1"], gpus_per_trial=0.5)
    for number in range(4):
        b.submit(number, "tell")
    b.finish()
    seen = [event.data["CUDA_VISIBLE_DEVICES"] for event in b.events if event.kind == "finished"]
    assert sorted(seen) == ["0", "0", "1", "1"]


def test_bad_input_of_prepare_is_bad_input_here(bench):
    b = bench({"fail": "bad"})
    with pytest.raises(BadInput, match=r"no file 'x.csv'\nno column 'y'"):
        _ = b.local.facts
    with pytest.raises(BadInput):
        list(b.local.events())


@pytest.mark.parametrize(("fail", "problem"), [("crash", "RuntimeError: boom "), ("die", "the template process exited with code 7")])
def test_a_template_that_does_not_come_up_is_an_error(bench, fail, problem):
    b = bench({"fail": fail})
    with pytest.raises(TemplateError, match=problem) as caught:
        _ = b.local.facts
    assert str(b.store.root / "template.log") in str(caught.value)


@pytest.mark.slow
def test_a_template_that_is_killed_while_it_warms_up_is_warmed_up_again(bench):
    assert bench({"fail": "killed", "times": 2}).local.facts["examples"] == 3


@pytest.mark.slow
def test_a_template_that_is_always_killed_is_no_bad_input(bench):
    b = bench({"fail": "killed", "times": 9})
    with pytest.raises(NotConcluded, match=r"died 3 times; the last time it was killed by signal 9 .*; the same command tries again"):
        _ = b.local.facts


@pytest.mark.slow
def test_trials_of_a_dead_template_begin_again_under_their_number(bench):
    b = bench()
    template = b.local.facts["pid"]
    for number in 0, 1:
        b.submit(number, "train", epochs=2000, limits={"rungs": tuple(range(2000))})  # so that neither ends before the other reports
    b.pump(lambda: all("report" in b.kinds(number) for number in (0, 1)))
    os.kill(template, signal.SIGKILL)
    b.finish()
    assert b.local.facts["pid"] != template
    for number in 0, 1:
        assert b.kinds(number).count("started") == 2
        assert b.kinds(number)[-1] == "finished"


@pytest.mark.slow
def test_a_trial_is_lost_when_its_template_dies_under_it_again_and_again(bench):
    b = bench()
    b.submit(0, "hang")
    pids = []

    def kill_template(event):
        if event.kind == "report":
            pids.append(b.local.facts["pid"])
            os.kill(pids[-1], signal.SIGKILL)

    b.finish(on=kill_template)
    assert len(set(pids)) == 3
    assert b.events[-1].data["reason"] == "lost"
    assert "died 3 times; the last was killed by signal 9" in b.events[-1].data["detail"]


@pytest.mark.slow
@pytest.mark.parametrize("notice", NOTICES)
@pytest.mark.parametrize("everywhere", [False, True], ids=["the template alone", "every process of the job"])
def test_a_notice_leaves_the_trials_time_for_a_checkpoint_and_the_next_template_goes_on(bench, notice, everywhere):
    b = bench()
    for number, seconds in enumerate((0.3, 0.6)):
        b.submit(number, "heed", seconds=seconds)
    b.submit(2, "train")  # waits
    b.pump(lambda: len(b.events) == 4)
    template = b.local.facts["pid"]
    trials = [event.data["pid"] for event in b.events if event.kind == "started"]
    for pid in [b.local._template.pid, template, *trials] if everywhere else [template]:
        os.kill(pid, notice)
    b.finish()
    ends = {event.number: event for event in b.events if event.kind in ("finished", "failed")}
    assert [ends[number].data for number in (0, 1)] == [Problem("preempted", "a checkpoint is kept").json()] * 2
    assert ends[2].kind == "finished" and b.local.facts["pid"] != template


@pytest.mark.slow
def test_a_fork_of_this_process_has_its_live_objects(bench, capfd):
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        b = bench({"function": lambda: 42}, fork=True)
        assert b.run("call").data == {"answer": 42}
        assert b.run("kill_self", number=1, signal=15).data["reason"] == "preempted"
        os.kill(b.local.facts["pid"], signal.SIGKILL)
        assert b.run("call", number=2).data == {"answer": 42}
        assert b.run("fail", number=3, error="ValueError", text="bad").data["reason"] == "error"
        assert "in fail" in b.log(3)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_close_ends_everything(bench):
    b = bench()
    b.submit(0, "leave_behind", hang=True)
    b.pump(lambda: "report" in b.kinds(0))
    b.local.close()
    b.local.close()
    assert gone(b.local._template.pid, b.events[0].data["pid"], b.events[1].data["metrics"]["left"])
    with pytest.raises(ChildProcessError):  # reaped
        os.waitpid(b.local._template.pid, os.WNOHANG)
    with pytest.raises(TemplateError, match="closed"):
        list(b.local.events())


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in one moment with its template"])
@pytest.mark.parametrize("fork", [False, True])
def test_nothing_outlives_a_killed_supervisor(tmp_path, fork, together):
    script = f"""
        import sys
        sys.path.insert(0, {str(HERE)!r})
        from conftest import Bench
        from autoopt.store import Store
        b = Bench(Store({str(tmp_path)!r}), fork={fork})
        for number in 0, 1:
            b.submit(number, "leave_behind", hang=True, session=bool(number))
        b.pump(lambda: len(b.events) == 4)
        pids = [e.data["pid"] if e.kind == "started" else e.data["metrics"]["left"] for e in b.events]
        print(b.local.facts["pid"], *pids, flush=True)
        b.local.reply = lambda *_: None
        b.pump(lambda: False, seconds=1000)
    """
    supervisor = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in supervisor.stdout.readline().split()]
    assert len(pids) == 5
    assert all(map(alive, pids))
    assert len({os.getsid(pid) for pid in [supervisor.pid, *pids]}) == 5
    for pid in [pids[0]] if together else []:
        os.kill(pid, signal.SIGKILL)
    supervisor.kill()
    supervisor.communicate()
    assert gone(*pids)


def test_the_supervisor_needs_no_torch():
    code = "import autoopt.executor.local, sys; assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_waiting_costs_no_cpu(bench):
    b = bench()
    assert b.local.facts
    before = time.process_time()
    end = time.monotonic() + 0.5
    b.pump(lambda: time.monotonic() > end)
    assert time.process_time() - before < 0.05


def test_a_trial_starts_at_once(bench):
    b = bench()
    assert b.local.facts
    waits = []
    for number in range(20):
        start = time.monotonic()
        end = b.run("train", number=number, epochs=0)
        waits.append(end.data["time"] - start)
    assert sorted(waits)[10] < 0.05
