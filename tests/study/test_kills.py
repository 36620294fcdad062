"""A search that is killed at any step, or whose disk is full at any byte: the same command goes on, and ends as if nothing had happened.

The searches are processes of their own, by an executor that plays scripts. `AUTOOPT_TEST_ALL=1` takes all steps instead of a sample.
"""

import os
import resource
import signal
import traceback
from functools import wraps
from pathlib import Path

import pytest
from test_stages import Study

from autoopt.records.folder import Folder
from autoopt.records.journal import Journal
from autoopt.records.journal_file import JournalFile, StoreError
from autoopt.records.stages import STORED
from autoopt.records.stored import open_stored
from autoopt.study import publish, search
from autoopt.study.runner import Runner
from autoopt.study.sampling import Sampling

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200 if os.environ.get("AUTOOPT_TEST_ALL") else 300)]
CALLS = (
    (Folder, "settle"),
    (Journal, "begin"),
    (Journal, "end"),
    (Journal, "add"),
    (JournalFile, "append_logs"),
    (JournalFile, "sync"),
    (Path, "touch"),
    (Path, "replace"),
    (Runner, "_submit"),
    (Sampling, "tell"),
    (publish, "export"),
    (search, "publish"),
)
HALF = "in append_logs"
POINTS = [f"{when} {call}" for _, call in CALLS for when in ("before", "after")] + [HALF]
"""The named points at which a search is killed; each is passed many times."""
KILLS, OFFSETS = (200, 40) if os.environ.get("AUTOOPT_TEST_ALL") else (12, 6)
MORE = ("study.trials=4", "strategy=random", "study.compress=2", "compression=half")


class Passing:
    """Counts the points that a search passes, and kills it at one of them."""

    def __init__(self, steps: Path, at: int | None):
        self.steps, self.at, self.count = steps.open("a", buffering=1), at, 0

    def __call__(self, point: str) -> None:
        self.steps.write(f"{point}\n")
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1

    def watch(self) -> None:
        for owner, name in CALLS:
            setattr(owner, name, self.around(getattr(owner, name), name))
        write = os.write

        def in_halves(file, data):
            if not isinstance(data, bytes) or b"crc32" not in data:
                return write(file, data)
            half = write(file, data[: len(data) // 2])
            self(HALF)
            return half + write(file, data[half:])

        os.write = in_halves

    def around(self, call, name):
        @wraps(call)
        def passed(*arguments, **options):
            self(f"before {name}")
            result = call(*arguments, **options)
            self(f"after {name}")
            return result

        return passed


def run(folder: Path, at: int | None = None, largest: int = resource.RLIM_INFINITY) -> int:
    """Search in a process of its own, which is killed at a step; returns its exit code, or the negative number of its signal."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        if largest == resource.RLIM_INFINITY:
            Passing(folder / "steps", at).watch()
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
        Study(folder).search(*MORE)
        code = 0
    except StoreError as error:
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def result(folder: Path):
    """All that may not depend on when the search was cut."""
    study = open_stored("s", str(folder))
    records = {stage.name: [(r.key, r.recipe, r.seed, r.state, r.score) for r in study.records[stage.name]] for stage in STORED}
    verdict = study.verdict
    assert verdict is not None
    return records, verdict.gain, verdict.interval, verdict.winner.trial, verdict.counts, sorted(p.name for p in (folder / "s").iterdir())


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """The result of a search that was not cut, the points that it passed, and the size of its journal."""
    Study(tmp_path_factory.mktemp("first")).search(*MORE)  # what takes long the first time is done before the processes are forked
    folder = tmp_path_factory.mktemp("uncut")
    assert run(folder) == 0
    points = (folder / "steps").read_text().splitlines()
    return result(folder), points, (folder / "s" / "journal.log").stat().st_size


def sample(count: int, total: int) -> list[int]:
    return sorted({round(place * (total - 1) / max(1, count - 1)) for place in range(count)})


def test_a_search_that_is_killed_at_any_step_ends_as_if_it_was_not(uncut, tmp_path):
    whole, points, _ = uncut
    assert {*points} == {*POINTS}, "every named point is passed"
    steps = sample(KILLS, len(points))
    if len(POINTS) < KILLS:
        steps = [*(points.index(point) for point in POINTS), *sample(KILLS - len(POINTS), len(points))]
    for number, step in enumerate(steps):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert run(folder, step) == -signal.SIGKILL, points[step]
        assert run(folder) == 0, (step, points[step])
        found = result(folder)
        torn = {"journal.torn"} & {*found[-1]}
        assert (*found[:-1], [name for name in found[-1] if name not in torn]) == whole, (step, points[step])


def test_a_disk_that_is_full_at_any_byte_of_the_journal_loses_nothing(uncut, tmp_path):
    whole, _, size = uncut
    for offset in sample(OFFSETS, size):
        folder = tmp_path / str(offset)
        folder.mkdir()
        assert run(folder, largest=offset) in (0, StoreError.exit_code), offset
        assert run(folder) == 0, offset
        assert result(folder) == whole, offset
