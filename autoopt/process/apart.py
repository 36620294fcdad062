"""A call in a process of its own, which leaves this one as it was."""

from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

from autoopt.process.endings import classify
from autoopt.process.system import flush, use_threads


def apart(call: Callable[[], Any]) -> Any:
    """What a function returns in a forked child: nothing that it changes, begins to use or reads up is changed here.

    Raises:
        RuntimeError: it raised, it returned what cannot be sent, or its process ended; the text says which.
    """

    def run() -> None:
        use_threads(1)  # those of the parent are not here
        try:
            sends.send((call(), ""))
        except Exception as error:
            sends.send((None, classify(error).detail))

    fork = get_context("fork")
    receives, sends = fork.Pipe(duplex=False)
    child = fork.Process(target=run)
    flush()
    child.start()
    sends.close()
    try:
        result, failed = receives.recv()
    except EOFError:
        result, failed = None, "its process ended"
    child.join()
    receives.close()
    if failed:
        raise RuntimeError(failed)
    return result
