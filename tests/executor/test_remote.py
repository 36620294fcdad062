"""Trials on workers elsewhere, with a worker in this process, and one that is only played, as the way to them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

import pytest

from autoopt.config import compose
from autoopt.errors import BadInput, NotConcluded
from autoopt.executor import TemplateError
from autoopt.executor.files import FolderChanges, TrialFile, present, read_files, read_folders, write_files, written_folders
from autoopt.executor.local import Local
from autoopt.executor.mailbox import Box, Pulse
from autoopt.executor.remote import Gone, Link, Remote
from autoopt.executor.worker import Message, Worker, scratch_folder
from autoopt.orders import Graph, Measure, Problem, Train
from autoopt.process.log import HEAD, TAIL, Log
from autoopt.space import Space
from autoopt.store import Store
from autoopt.testing.executor import collect_events

NOTHING = ("initializer=keep", "regularizer=none", "augmentation=none", "loss=cross_entropy", "schedule=constant", "optimizer=nesterov")
TREE = compose(["data=digits", "data.digits.train=200", "model=linear", "study.epochs=3", *NOTHING])
RECIPE = Space.of(TREE).baseline()
FACTS = {"examples": "e", "sources": {}, "told": []}


def order(key="0", **more):
    return Train(key=key, recipe=RECIPE, objective="val_accuracy", direction="maximize", **more)


# ------------------------------------------------------------------------------------------------------------------------ a real worker


class Near(Link):
    """A worker in this process."""

    def __init__(self):
        self.worker, self.told = Worker({"tree": TREE}, None, 1), []

    def tell(self, message):
        self.told.append(message)

    def hear(self, busy):
        told, self.told = self.told, []
        return self.worker.exchange(told, 0.2) if told or busy else []

    def end(self):
        self.worker.close()


class Nearby(Remote):
    workers = 1

    def hire(self):
        return Near()

    def wait(self, links, timeout):
        pass


one_worker = pytest.mark.xdist_group("the worker of test_remote")  # in one process, since it takes seconds to warm up


@pytest.fixture(scope="module")
def nearby(tmp_path_factory):
    here = Path.cwd()
    executor = Nearby(Store(tmp_path_factory.mktemp("study")))
    yield executor
    executor.close()
    os.chdir(here)


@one_worker
@pytest.mark.slow
def test_an_order_carries_no_data(nearby):
    assert nearby.facts
    nearby.submit(0, order())
    (message,) = nearby._hands[0].link.told
    assert len(json.dumps(message.content)) < 2000 and message.files == []  # the examples alone are 50 KB
    collect_events(nearby, {0})


@one_worker
@pytest.mark.slow
def test_weights_and_log_come_back_and_go_where_they_are_read(nearby):
    nearby.submit(0, order(keep=True))
    events = collect_events(nearby, {0})[0]
    assert [event.kind for event in events] == ["started", *["report"] * 3, "finished"]
    assert nearby.store.has_weights("0") and nearby.store.log("0").exists()
    nearby.submit(1, Measure(key="0-test", recipe=RECIPE, weights="0", part="validation", objective="val_accuracy", direction="maximize"))
    end = collect_events(nearby, {1})[1][-1]
    assert end.data["metrics"]["val_accuracy"] == events[-1].data["metrics"]["val_accuracy"]
    scratch = nearby._hands[0].link.worker.store.root
    assert scratch != nearby.store.root and not list(scratch.rglob(".*.safetensors"))


@one_worker
@pytest.mark.slow
def test_a_preempted_worker_ends_its_trial_for_that_reason(nearby):
    endless = RECIPE.replace(study={"epochs": 10**6})
    nearby.submit(2, Train(key="2", recipe=endless, objective="val_accuracy", direction="maximize"))
    events = []
    while not events or events[-1].kind == "started":
        events += nearby.events()
    assert events[-1].kind == "report"
    end = preempted(nearby)
    assert end.data["reason"] == "preempted"


def preempted(nearby):
    """The end of the trial when its worker is preempted."""
    hand = nearby._hands[0]
    for message in hand.link.worker.preempt():
        nearby._take(hand, message)
    (end,) = [event for event in nearby._news if event.kind == "failed"]
    nearby._news.clear()
    return end


@one_worker
@pytest.mark.slow
def test_a_preempted_trial_that_waits_at_a_rung_still_writes_its_checkpoint(nearby):
    endless = RECIPE.replace(study={"epochs": 10**6})
    nearby.submit(3, Train(key="3", recipe=endless, objective="val_accuracy", direction="maximize", rungs=tuple(range(10**4))))
    events = []
    while not events or events[-1].kind == "started":
        events += nearby.events()
    end = preempted(nearby)
    assert (end.data["reason"], "a checkpoint is kept after" in end.data["detail"]) == ("preempted", True), end
    assert nearby.store.checkpoints("3")


@pytest.mark.slow
def test_what_cannot_be_prepared_comes_with_the_log_of_the_worker(tmp_path):
    class Broken(Near):
        def __init__(self):
            self.worker, self.told = Worker({"tree": {}}, None, 1), []

    executor = Nearby(Store(tmp_path))
    executor.hire = Broken
    with pytest.raises(TemplateError, match=r"trials cannot be prepared: KeyError.* \(log: .*template.log\)") as caught:
        _ = executor.facts
    assert str(tmp_path / "template.log") in str(caught.value)
    assert "KeyError" in (tmp_path / "template.log").read_text()


@pytest.mark.slow
def test_a_worker_whose_template_is_killed_again_and_again_is_gone(tmp_path, monkeypatch):
    def never_warm(self):
        raise NotConcluded(f"the template process died 3 times (log: {self.store.root}/template.log); the same command tries again")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Local, "facts", property(never_warm))
    worker = Worker({"tree": TREE}, None, 1)
    try:
        (told,) = worker.exchange([], 0.1)
    finally:
        worker.close()
    assert told.content == {"kind": "gone", "detail": "the template process died 3 times"}


# ---------------------------------------------------------------------------------------------------------------------- a played worker


class Played(Link):
    """Says what it is made to say."""

    def __init__(self, *says):
        self.says, self.told, self.ended = list(says), [], False

    def tell(self, message):
        self.told.append(message)

    def hear(self, busy):
        said, self.says = self.says, []
        for each in said:
            if isinstance(each, Exception):
                raise each
        return said

    def end(self):
        self.ended = True


def warm(**facts):
    return Message({"kind": "warm", "facts": {**FACTS, **facts}, "host": "there"})


def event(number, kind, **data):
    return Message({"kind": "event", "number": number, "event": kind, "data": data})


def gone():
    return Gone(Problem("lost", "its node died"))


class Stage(Remote):
    """Hires the workers of a script, and then silent ones."""

    def __init__(self, folder, *cast, workers=1, **options):
        super().__init__(Store(folder), **options)
        self.workers, self.cast, self.hired = workers, list(cast), []

    def hire(self):
        self.hired.append(self.cast.pop(0) if self.cast else Played())
        return self.hired[-1]

    def wait(self, links, timeout):
        pass


def test_a_trial_whose_worker_is_gone_fails_or_goes_to_the_next(tmp_path):
    first, second = Played(warm()), Played(warm())
    stage = Stage(tmp_path, first, second)
    assert stage.facts == FACTS
    stage.submit(7, order())
    first.says = [gone()]
    assert list(stage.events()) == []  # it had not begun
    assert list(stage.events()) == []
    assert [message.content["do"] for message in second.told] == ["submit"] and first.ended
    second.says = [event(7, "started", pid=1)]
    assert [each.kind for each in stage.events()] == ["started"]
    second.says = [gone()]
    (end,) = stage.events()
    assert (end.number, end.kind, end.data["reason"]) == (7, "failed", "lost")
    assert stage.running == set()


def test_a_trial_is_lost_with_the_third_worker_that_does_not_begin_it(tmp_path):
    stage = Stage(tmp_path, *[Played(warm()) for _ in range(3)])
    assert stage.facts
    stage.submit(0, order())
    ends = []
    for _ in range(6):
        for link in [link for link in stage.hired if link.told]:
            link.says = [gone()]
        ends += stage.events()
    assert [each.data["reason"] for each in ends] == ["lost"]


def test_workers_that_never_become_warm_are_an_error(tmp_path):
    with pytest.raises(TemplateError, match="3 workers ended before they were ready; the last: lost: its node died"):
        _ = Stage(tmp_path, *[Played(gone()) for _ in range(3)]).facts


def test_a_place_where_no_worker_starts_gives_up_none_that_works(tmp_path):
    good = Played(warm())
    stage = Stage(tmp_path, good, *[Played(gone()) for _ in range(20)], workers=2)
    clock = count(step=100)
    stage.now = lambda: float(next(clock))  # the pauses are over at once
    assert stage.facts
    stage.submit(0, order())
    while stage.cast:
        list(stage.events())
    good.says = [event(0, "started", pid=1), event(0, "finished")]
    assert [each.kind for each in stage.events()] == ["started", "finished"]


@pytest.mark.parametrize("kind", ["gone", "broken"])
def test_a_worker_that_cannot_prepare_trials_any_more_is_replaced(tmp_path, kind):
    first, second = Played(warm()), Played(warm())
    stage = Stage(tmp_path, first, second)
    assert stage.facts
    stage.submit(0, order())
    first.says = [event(0, "started", pid=1), Message({"kind": kind, "detail": "the template process died 3 times"})]
    started, end = stage.events()
    assert (started.kind, end.data) == ("started", Problem("lost", "the template process died 3 times").json()) and first.ended
    stage.submit(1, order("1"))
    list(stage.events())
    assert [message.content["do"] for message in second.told] == ["submit"]


def test_a_worker_whose_machine_kills_it_ends_no_search(tmp_path):
    dies = Message({"kind": "gone", "detail": "the template process died 3 times"})
    assert Stage(tmp_path, Played(dies), Played(dies), Played(warm())).facts == FACTS
    with pytest.raises(TemplateError, match="3 workers ended before they were ready; the last: lost: the template process died 3 times"):
        _ = Stage(tmp_path, *[Played(dies) for _ in range(3)]).facts


@pytest.mark.parametrize(("name", "what"), [("examples", "data"), ("sources", "code")])
def test_a_worker_with_other_data_or_code_is_refused(tmp_path, name, what):
    stage = Stage(tmp_path, Played(warm()), Played(warm(**{name: "other"})), workers=2)
    with pytest.raises(BadInput, match=f"the worker on there has other {what} than the first worker; all workers need the same"):
        stage._turn(0.1)


def test_bad_input_of_a_worker_is_bad_input_here(tmp_path):
    stage = Stage(tmp_path, Played(Message({"kind": "bad_input", "problems": ["no file 'x.csv'", "no column 'y'"]})))
    with pytest.raises(BadInput, match=r"no file 'x.csv'\nno column 'y'"):
        _ = stage.facts
    with pytest.raises(BadInput):
        list(stage.events())
    assert stage.hired[0].ended


def test_a_trial_is_killed_where_it_is(tmp_path):
    link = Played(warm())
    stage = Stage(tmp_path, link)
    assert stage.facts
    stage.submit(0, order("0"))
    stage.submit(1, order("1"))
    with pytest.raises(ValueError, match="trial 1 is running already"):
        stage.submit(1, order("1"))
    with pytest.raises(ValueError, match="unknown reason to fail: 'boredom'"):
        stage.kill(0, "boredom")
    stage.kill(1)
    assert [(each.number, each.data["reason"]) for each in stage.events()] == [(1, "user")]
    stage.kill(0, "preempted")
    stage.reply(0, stop=True)
    assert [message.content for message in link.told[1:]] == [
        {"do": "kill", "number": 0, "reason": "preempted"},
        {"do": "reply", "number": 0, "stop": True},
    ]
    stage.close()
    assert link.ended
    with pytest.raises(TemplateError, match="closed"):
        list(stage.events())


def test_an_idle_worker_takes_the_next_trial_and_one_for_a_single_trial_is_replaced(tmp_path):
    stage = Stage(tmp_path, Played(warm()), Played(warm()), workers=2, once=True)
    assert stage.facts and len(stage.hired) == 1
    for number in range(3):
        stage.submit(number, order(str(number)))
    list(stage.events())
    assert [len(link.told) for link in stage.hired] == [1, 1]
    stage.hired[1].says = [event(1, "started", pid=1), event(1, "finished")]
    assert [each.kind for each in stage.events()] == ["started", "finished"]
    list(stage.events())
    assert stage.hired[1].ended and len(stage.hired) == 3


def test_a_worker_that_leaves_takes_no_trial_until_it_is_warm_again(tmp_path):
    link = Played(warm(), Message({"kind": "leaving"}))
    stage = Stage(tmp_path, link)
    assert stage.facts
    stage.submit(0, order())
    list(stage.events())
    assert link.told == []
    link.says = [warm()]
    list(stage.events())
    assert [message.content["do"] for message in link.told] == ["submit"]


@pytest.mark.parametrize("path", ["../outside", "/outside", "trials/../../outside"])
def test_a_file_that_lies_outside_or_cannot_be_written_ends_its_trial_alone(tmp_path, path):
    link = Played(warm())
    stage = Stage(tmp_path / "study", link)
    assert stage.facts
    stage.submit(0, order())
    link.says = [Message({"kind": "files"}, [TrialFile(path, b"x")]), event(0, "finished")]
    (end,) = stage.events()
    assert end.data == Problem("error", f"its worker sent the file {path!r}, which lies outside of the study's folder").json()
    assert not (tmp_path / "outside").exists()


def test_a_worker_that_cannot_be_reached_is_replaced(tmp_path):
    class Unreachable(Played):
        def tell(self, message):
            raise Gone(Problem("disk", "no space left"))

    first, second = Unreachable(warm()), Played(warm())
    stage = Stage(tmp_path, first, second)
    assert stage.facts
    stage.submit(0, order())
    assert first.ended
    list(stage.events())
    assert [message.content["do"] for message in second.told] == ["submit"]
    second.says = [event(0, "started", pid=1)]
    list(stage.events())
    second.tell = first.tell
    stage.reply(0, stop=False)
    (end,) = stage.events()
    assert (end.kind, end.data["reason"]) == ("failed", "disk")


def test_workers_that_cannot_be_started_are_an_error(tmp_path):
    stage = Stage(tmp_path)

    def hire():
        raise Gone(Problem("disk", "its folder cannot be written"))

    stage.hire = hire
    with pytest.raises(TemplateError, match="3 workers ended before they were ready; the last: disk: its folder cannot be written"):
        _ = stage.facts


# -------------------------------------------------------------------------------------------------------------------------------- files


def test_which_folders_an_order_reads_and_writes():
    measure = Measure(key="3-test", recipe=RECIPE, weights="3")
    assert (read_folders(measure), written_folders(measure)) == (["trials/3-test", "trials/3"], ["trials/3-test"])
    graph = Graph(key="export", recipe=RECIPE, folder="best")
    continued = order("4", continues="3")
    assert read_folders(continued) == written_folders(continued) == ["trials/4", "trials/3"]  # its checkpoints are deleted there
    assert read_folders(graph) == written_folders(graph) == ["trials/export", "best"]


def test_what_a_log_grows_by_while_it_is_read_comes_once(tmp_path, monkeypatch):
    log = tmp_path / "there" / "trials" / "0" / "log.txt"
    log.parent.mkdir(parents=True)
    changes = FolderChanges(tmp_path / "there", ["trials/0"])
    read = FolderChanges._read

    def grow(*args):
        with log.open("a") as file:
            file.write("more\n")
        return read(*args)

    log.write_text("one\n")
    monkeypatch.setattr(FolderChanges, "_read", grow)
    write_files(changes.take(), tmp_path / "here")
    monkeypatch.setattr(FolderChanges, "_read", read)
    write_files(changes.take(), tmp_path / "here")
    assert (tmp_path / "here" / "trials" / "0" / "log.txt").read_text() == "one\nmore\n"


def test_a_log_of_an_earlier_attempt_is_not_carried_again(tmp_path):
    log = tmp_path / "trials" / "0" / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("before\n")
    changes = FolderChanges(tmp_path, ["trials/0"])
    with log.open("a") as file:
        file.write("after\n")
    assert [file.data for file in changes.take()] == [b"after\n"]
    log.unlink()
    changes.take()
    log.write_text("new\n")
    assert [file.data for file in changes.take()] == [b"new\n"]


def test_a_log_whose_middle_is_left_out_is_carried(tmp_path):
    """By a few bytes, by more than its tail, and past its head at once."""
    there, here = (tmp_path / side / "trials" / "0" / "log.txt" for side in ("there", "here"))
    there.parent.mkdir(parents=True)
    changes, log = FolderChanges(tmp_path / "there", ["trials/0"]), Log(there)
    try:
        for lines in (10, 400_000, 10, 3_000, 500_000, 10, 140_000, 10):
            for number in range(0, lines, 1000):
                os.write(log.sink, b"".join(b"%09d\n" % each for each in range(number, min(number + 1000, lines))))
                log.take()
            write_files(changes.take(), tmp_path / "here")
            assert here.read_bytes()[:HEAD] == there.read_bytes()[:HEAD]
            assert here.read_bytes()[-TAIL:] == there.read_bytes()[-TAIL:] and here.stat().st_size < HEAD + 2 * TAIL + 100
        assert there.stat().st_size < HEAD + 2 * TAIL + 100
    finally:
        log.end()
        os.close(log.sink)


def test_what_a_killed_worker_left_is_deleted_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = os.uname().nodename
    names = [f"autoopt-{host}-{child.pid}-x", f"autoopt-{host}-{os.getpid()}-x", f"autoopt-elsewhere-{child.pid}-x", "autoopt-y"]
    for name in names:
        (tmp_path / name / "trials").mkdir(parents=True)
    with scratch_folder() as mine:
        assert {path.name for path in tmp_path.iterdir()} == {*names[1:], Path(mine).name}


def test_changes_are_carried_until_both_sides_are_alike(tmp_path):
    """New, changed and deleted files, those of subfolders, and a log that grows; not what is being written."""
    there, here = tmp_path / "there", tmp_path / "here"
    trial = there / "trials" / "0"
    (trial / "resume" / "1").mkdir(parents=True)
    (trial / "checkpoints").mkdir()
    (trial / "checkpoints" / "best.ckpt").write_bytes(b"x")
    changes = FolderChanges(there, ["trials/0"])
    (trial / "log.txt").write_text("one\n")
    (trial / "resume" / "1" / "state").write_bytes(b"1" * 1000)
    (trial / ".partial").write_bytes(b"x")
    (trial / "resume" / ".2").mkdir()
    (trial / "resume" / ".2" / "state").write_bytes(b"x")
    write_files(changes.take(), here)
    assert changes.take() == []
    (trial / "log.txt").write_text("one\ntwo\n")
    (trial / "resume" / "1" / "state").unlink()
    (trial / "model").write_bytes(b"2")
    log = TrialFile("trials/0/log.txt", b"two\n", more=True)
    files = changes.take()
    assert log in files and TrialFile("trials/0/resume/1/state", None) in files
    write_files(files, here)
    assert not (here / "trials/0/resume/1").exists()
    assert present(here, ["trials/0"]).keys() == {"trials/0/log.txt", "trials/0/model"}
    assert (here / "trials/0/log.txt").read_text() == "one\ntwo\n"
    assert read_files(here, ["trials/0"]) == [TrialFile("trials/0/model", b"2")]


# ---------------------------------------------------------------------------------------------------------------------------- mailboxes


def test_messages_arrive_once_and_in_their_order(tmp_path):
    box, reader = Box(tmp_path / "box"), Box(tmp_path / "box")
    sent = [
        Message({"n": n}, [TrialFile("a/b", bytes([n])), TrialFile("log.txt", b"", more=True), TrialFile("c", None)]) for n in range(20)
    ]
    for message in sent[:15]:
        box.put(message)
    (tmp_path / "box" / ".00000000000000000001").mkdir()  # being written
    taken = reader.take()
    for message in sent[15:]:
        box.put(message)
    assert taken + reader.take() == sent
    assert reader.take() == []


def test_a_message_that_is_deleted_only_in_part_comes_once_and_blocks_none(tmp_path, monkeypatch):
    box = Box(tmp_path)
    box.put(Message({"n": 0}, [TrialFile("a", b"x")]))
    monkeypatch.setattr(shutil, "rmtree", lambda path, **_: (Path(path) / "message.json").unlink())
    assert [message.content["n"] for message in box.take()] == [0]
    box.put(Message({"n": 1}))
    assert [message.content["n"] for message in box.take()] == [1]


def test_a_folder_that_cannot_be_used_for_a_while_makes_for_silence(tmp_path):
    box, pulse = Box(tmp_path / "box"), Pulse(tmp_path / "box" / "beat")
    (tmp_path / "box").rename(tmp_path / "away")
    pulse.beat()
    assert box.take() == [] and not pulse.heard
    (tmp_path / "away").rename(tmp_path / "box")
    box.put(Message({"n": 0}))
    assert [message.content["n"] for message in box.take()] == [0]


def test_a_message_that_is_not_whole_yet_and_those_after_it_come_later(tmp_path):
    box = Box(tmp_path)
    for n in range(3):
        box.put(Message({"n": n}, [TrialFile("a", b"x")]))
    second = sorted(tmp_path.iterdir())[1] / "0"
    second.rename(tmp_path / "aside")
    assert [message.content["n"] for message in box.take()] == [0]
    (tmp_path / "aside").rename(second)
    assert [message.content["n"] for message in box.take()] == [1, 2]


def test_silence_is_told_by_ones_own_clock(tmp_path, monkeypatch):
    from autoopt.executor import mailbox

    now = [0.0]
    monkeypatch.setattr(mailbox.time, "monotonic", lambda: now[0])
    mine, theirs = Pulse(tmp_path / "beat"), Pulse(tmp_path / "beat")
    now[0] = 10.0
    assert theirs.silence() == 10.0
    mine.beat()
    assert theirs.silence() == 0.0
    now[0] = 100.0
    assert theirs.silence() == 90.0
    mine.beat()
    assert theirs.silence() == 0.0
