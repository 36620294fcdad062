"""Commands as processes of their own that are forked, and their trials from them, so that imports of seconds are done once for all."""

import multiprocessing
import os
import resource
import runpy
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["warm"])


def start(arguments: list[str], folder: Path, largest: int = resource.RLIM_INFINITY) -> BaseProcess:
    """Start a command in a folder, where it prints to out.txt.

    Args:
        largest: the size that no file of it may exceed.
    """
    return run(enter, arguments, folder, largest)


def run(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a function of a module as a process."""
    process = context.Process(target=function, args=arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where the server, which the first process starts, finds `warm`
        process.start()
    return process


def enter(arguments: list[str], folder: Path, largest: int) -> None:
    """Be the command."""
    from autoopt import cli

    settle(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    sys.exit(cli.main(arguments))


def enter_script(path: Path) -> None:
    """Be a script, which imports what lies beside it."""
    settle(path.parent)
    sys.argv = [str(path)]
    sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name="__main__")


def settle(folder: Path) -> None:
    """Be in a folder, print to out.txt there, and fork the trials from this process."""
    from autoopt.plugins.executor import local

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests in the background of a shell ignore
    os.chdir(folder)
    out = os.open("out.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    local.is_live = lambda tree: True


def end(process: BaseProcess, folder: Path, code: int = 0, seconds: float = 280) -> str:
    """Wait for the end of a command in a folder, check its exit code, and return what it printed."""
    process.join(seconds)
    said = (folder / "out.txt").read_text()
    assert process.exitcode == code, said
    return said
