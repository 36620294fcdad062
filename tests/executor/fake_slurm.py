"""Slurm, as far as submitit sees it, on this machine: run under the names sbatch, srun, sacct, scancel and scontrol.

The state is in $FAKE_SLURM: for each job a file with the process that runs it, and one with its state.
"""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

HOME = Path(os.environ["FAKE_SLURM"])


def sbatch(script):
    """Run each task of a script in the background."""
    text = Path(script).read_text()
    with (HOME / "scripts").open("a") as scripts:
        scripts.write(text)
    number = 100 + len(list(HOME.glob("*.job")))
    (HOME / f"{number}.job").touch()
    array = re.search(r"^#SBATCH --array=0-(\d+)", text, re.MULTILINE)
    for name in [f"{number}_{task}" for task in range(int(array[1]) + 1)] if array else [str(number)]:
        begin(name, script)
    print(f"Submitted batch job {number}")


def begin(name, script):
    (HOME / f"{name}.script").write_text(str(script))
    job, _, task = name.partition("_")
    variables = {
        "SLURM_JOB_ID": name.replace("_", "9"),
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NTASKS": "4",
        "SLURM_NODEID": "0",
    }
    variables |= {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": task} if task else {}
    (HOME / f"{name}.state").write_text("RUNNING")
    subprocess.Popen(
        [sys.executable, __file__, "--run", name, script],
        env=os.environ | variables,
        start_new_session=True,
        stdout=-3,
        stderr=-3,
        stdin=-3,
    )


def run(name, script):
    with (HOME / f"{name}.out").open("a") as out:
        process = subprocess.Popen(["bash", script], start_new_session=True, stdout=out, stderr=out)
    (HOME / f"{name}.pid").write_text(str(process.pid))
    code = process.wait()
    if (HOME / f"{name}.requeue").exists():
        (HOME / f"{name}.requeue").unlink()
        begin(name, script)
    elif (HOME / f"{name}.state").read_text() == "RUNNING":
        (HOME / f"{name}.state").write_text("FAILED" if code else "COMPLETED")


def srun(*arguments):
    words = list(arguments[next(i for i, word in enumerate(arguments) if "python" in word) :])
    os.execv(words[0], words)


def sacct(*_):
    print("JobID|State|NodeList")
    for path in HOME.glob("*.state"):
        print(f"{path.stem}|{path.read_text()}|here")


def scancel(*arguments):
    """Signal all processes of a job's steps, and not its script, as Slurm does without --batch."""
    named = [HOME / f"{word}.pid" for word in arguments if word[0].isdigit()]
    number = signal.Signals[f"SIG{arguments[-1].removeprefix('SIG')}"] if "--signal" in arguments else signal.SIGTERM
    for path in [path for path in named if path.exists()]:
        if "--signal" not in arguments:
            (HOME / f"{path.stem}.state").write_text("CANCELLED")
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(int(path.read_text())).children(recursive=True):
                process.send_signal(number)


def scontrol(_, name):
    (HOME / f"{name}.requeue").touch()


if sys.argv[1:2] == ["--run"]:
    run(*sys.argv[2:])
elif Path(sys.argv[0]).name in (tools := {f.__name__: f for f in (sbatch, srun, sacct, scancel, scontrol)}):
    tools[Path(sys.argv[0]).name](*sys.argv[1:])
