"""The `autoopt` command with its supervisor's processor time taken apart, for costs.py: FILE, then the command's words.

Calls into the journal, the strategy, the mirror, the screen and the executor are timed, each without what it calls of the
others; what is left is the loop around them.
"""

import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage

from autoopt.cli import main
from autoopt.executor.local import Local
from autoopt.plugins.strategy.tpe import Tpe
from autoopt.records.journal import Journal
from autoopt.space import Space
from autoopt.study import mirror, search
from autoopt.terminal import Progress

SECONDS: dict[str, float] = defaultdict(float)
WHERE = ["loop"]
LAST = [time.thread_time()]


def switch() -> None:
    """Book the time since the last switch."""
    now = time.thread_time()
    SECONDS[WHERE[-1]] += now - LAST[0]
    LAST[0] = now


def time_calls(owner: Any, *names: str, to: str) -> None:
    for name in names:
        setattr(owner, name, timed(getattr(owner, name), to))


def timed(function: Any, to: str) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        switch()
        WHERE.append(to)
        try:
            return function(*arguments, **options)
        finally:
            switch()
            WHERE.pop()

    return call


def only_the_search(function: Any) -> Any:
    """Book to the stage of the search alone."""

    def call(*arguments: Any, **options: Any) -> Any:
        switch()
        SECONDS.clear()
        try:
            return function(*arguments, **options)
        finally:
            switch()
            Path(sys.argv[1]).write_text(json.dumps(SECONDS))

    return call


if __name__ == "__main__":
    time_calls(JournalStorage, *(n for n in vars(JournalStorage) if n[0] != "_"), to="journal")
    time_calls(Journal, "trials", "records", "begin", "end", to="journal")
    time_calls(Tpe, "propose", "stop", to="strategy")
    time_calls(Space, "walk", to="making a recipe")
    time_calls(mirror.Mirror, "begin", "epoch", "end", to="mirror (spool)")
    time_calls(Progress, "stage", "running", "result", to="screen")
    time_calls(Local, "submit", "reply", "_turn", to="executor")
    search.explore = only_the_search(search.explore)  # type: ignore[attr-defined]
    sys.exit(main(sys.argv[2:]))
