"""How long `autoopt --help` and `autoopt plugins` take, against a bare `import hydra, optuna`; and what they import.

`python tests/benchmarks/startup.py [RUNS]`
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from machine import await_quiet

AUTOOPT = str(Path(sys.executable).with_name("autoopt"))
IMPORTS = "import hydra, optuna"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    f"python -c '{IMPORTS}'": [sys.executable, "-c", IMPORTS],
    "autoopt --help": [AUTOOPT, "--help"],
    "autoopt plugins": [AUTOOPT, "plugins"],
    "autoopt plan --help": [AUTOOPT, "plan", "--help"],
}
HEAVY = ("torch", "lightning", "mlflow", "optuna", "hydra", "pandas", "sklearn")
LOOK = "import sys; from autoopt.cli import main; main({}); print(*[m for m in {} if m in sys.modules], file=sys.stderr)"


def timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def imported(arguments: list[str]) -> str:
    """Those of HEAVY that a command imports."""
    done = subprocess.run([sys.executable, "-c", LOOK.format(arguments, HEAVY)], capture_output=True, text=True, check=True)
    return done.stderr.strip() or "none"


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    await_quiet()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, command in COMMANDS.items():
            times[name].append(timed(command))
    base = median(times[f"python -c '{IMPORTS}'"][1:])
    print(f"{runs} runs each, in turn, after one to warm the disk; load at the end {os.getloadavg()[0]:.1f}")
    for name, (_, *found) in times.items():
        print(f"  {name:<34} median {median(found):.3f} s (min {min(found):.3f}), {median(found) / base:.2f} of the imports")
    for name, (program, *arguments) in COMMANDS.items():
        if program == AUTOOPT:
            print(f"  {name} imports of {', '.join(HEAVY)}: {imported(arguments)}")


if __name__ == "__main__":
    main()
