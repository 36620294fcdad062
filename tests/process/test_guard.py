"""The guard of a template: how it ends its child."""

import signal
import subprocess
import sys

STUBBORN = """
import os, signal, subprocess, time
from autoopt.process.guard import fork_guarded
fork_guarded(os.getppid())
subprocess.run("sleep 1 >/dev/null &", shell=True)  # an orphan, which the guard adopts
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_child_that_ignores_sigterm_is_killed_although_an_orphan_ends_meanwhile():
    guard = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True)
    assert guard.stdout.readline() == "ready\n"
    guard.terminate()
    try:
        assert guard.wait(20) == -signal.SIGKILL
    finally:
        guard.kill()
