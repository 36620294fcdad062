"""The guard of a template: how it ends its child."""

import signal
import subprocess
import sys

STUBBORN = """
import os, signal, subprocess, time
from autoopt.process.guard import fork_guarded
fork_guarded(os.getppid())
subprocess.run("sleep 1 >/dev/null &", shell=True)  # an orphan, which the guard adopts
signal.signal(signal.SIGHUP, signal.SIG_IGN)
for number in signal.SIGTERM, signal.SIGUSR1:
    signal.signal(number, lambda number, _: print(number, flush=True))
print("ready", flush=True)
time.sleep(60)
"""


def test_notices_are_passed_on_and_a_child_that_does_not_end_is_killed_although_an_orphan_ends_meanwhile():
    guard = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True)
    assert guard.stdout.readline() == "ready\n"
    try:
        for number in signal.SIGTERM, signal.SIGUSR1:
            guard.send_signal(number)
            assert guard.stdout.readline() == f"{number.value}\n"
        guard.send_signal(signal.SIGHUP)
        assert guard.wait(20) == -signal.SIGKILL
    finally:
        guard.kill()
