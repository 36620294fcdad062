"""The command `autoopt`: runs a sub-command, and turns an error into a line and an exit code."""

import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from autoopt.errors import EXIT_CODES, LONGEST, BadInput, causes, check_place, machine_fault, nearest, printable
from autoopt.prose import print_prose

COMMANDS = {
    "search": "find a better recipe; run again to resume",
    "plan": "show the space, the techniques that are left out and why, and the cost; runs no trial",
    "train": "train one recipe, measure it on the test split and export it",
    "finish": "begin no new trials; confirm the best so far and conclude",
    "export": "write a trained model as safetensors, ONNX and an MLflow model, or register it",
    "list": "list the studies here, with state, trials and gain",
    "show": "show a study's verdict, or one of its trials",
    "report": "write the figures and the verdict of a study as one HTML file",
    "reproduce": "train a trial again: the same to the last bit, or the differences that explain it",
    "plugins": "list, describe and check the installed techniques",
    "schema": "print the JSON Schema of config files, by which editors complete and check them",
    "ui": "serve the MLflow pages of the runs",
    "doctor": "check the packages, the devices, the plugins, the studies and the MLflow store",
}
CONFIGURED = ("search", "plan", "train")
USER_CODE = (*CONFIGURED, "finish", "export", "reproduce", "plugins")
"""The commands that may import modules of the working directory."""
ELSEWHERE = {"predict": 'In Python: autoopt.load("autoopt-runs/NAME/best").predict(examples); for a server: autoopt export --help. '}
"""What is done in another way than by a command of this name."""
EXAMPLES = """  autoopt search data=digits model=cnn                      the recommended techniques of every slot
  autoopt search data=digits optimizer=adamw,sgd            one of these
  autoopt search data=digits optimizer.adamw.lr=0.003       pin a value
  autoopt search data=csv data.csv.path=t.csv data.csv.target=price
  autoopt search data=digits model=proj.models:LitNet       your own model
  autoopt search my_search.yaml study.time=8h               a file; the command line overrides it"""
BUG = "This is a bug in autoopt: please report it with the lines above and the command."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code (`errors.EXIT_CODES`)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    if argv is None:  # the process is ours
        open_standard_files()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # its encoding may lack a dash, or a letter of a name
    try:
        check_place()
        code = dispatch(arguments)
        sys.stdout.flush()  # here, not at the exit, where a closed pipe would be told as a fault
        return code
    except BrokenPipeError:
        return 141
    except (Exception, KeyboardInterrupt) as error:
        return told(error, debug)
    finally:
        if argv is None:  # the process ends, and all has been said
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for stream in (sys.stdout, sys.stderr):
                finish(stream)


def open_standard_files() -> None:
    """Open what the caller has closed of 0, 1 and 2 on nothing: else the next file gets its number, and what libraries print there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


def finish(stream: TextIO) -> None:
    """Write what waits in the buffer of an output; if it takes no more, let that go nowhere, as the exit would tell of it as a fault."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def dispatch(arguments: list[str]) -> int:
    """Run the command that the arguments name, and return its exit code.

    Raises:
        BadInput: there is no such command, or its arguments cannot be used.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print_prose(overview())
        return 0
    if arguments[0] == "--version":
        print(f"autoopt {importlib.import_module('importlib.metadata').version('autoopt')}")
        return 0
    if "-sc" in arguments or "--shell-completion" in arguments:
        return completion([a for a in arguments if a not in COMMANDS])
    name, *rest = arguments
    if name not in COMMANDS:
        raise BadInput(f"No command named '{name}'. {ELSEWHERE.get(name, '')}{nearest(name, COMMANDS)}")
    if name in USER_CODE:
        look_here_last()
    return int(importlib.import_module(f"autoopt.commands.{name}").run(rest))


def look_here_last() -> None:
    """Let modules of the working directory be imported, after all that is installed: they replace no module of another's."""
    here = os.getcwd()
    sys.path[:] = [*(path for path in sys.path if path not in ("", here)), here]


def completion(flags: list[str]) -> int:
    """Complete the shell's line: with a command, or with the arguments of its command.

    Raises:
        BadInput: no action such as `install=bash` follows the flag.
    """
    if not any(flag.partition("=")[0] in ("install", "uninstall", "query") for flag in flags):
        raise BadInput('--shell-completion: expected install=bash (or zsh, fish), as in: eval "$(autoopt -sc install=bash)"')
    _, _, line = os.environ.get("COMP_LINE", "autoopt search ").partition(" ")
    name, ended, rest = line.lstrip().partition(" ")
    if not ended:
        print(*COMMANDS)
    elif name in CONFIGURED:
        look_here_last()
        importlib.import_module("autoopt.commands.options").complete_line(flags, rest)
    elif name in COMMANDS:
        print(*importlib.import_module("autoopt.commands.completion").complete_words(name, rest))
    return 0


def overview() -> str:
    rows = "\n".join(f"  {name:<9}  {about}" for name, about in COMMANDS.items())
    codes = "\n".join(f"  {code:<9}  {meaning}" for code, meaning in EXIT_CODES.items())
    return (
        "autoopt finds a better way to train a PyTorch model under a budget, and says honestly how much better it is.\n\n"
        f"Usage: autoopt COMMAND [arguments]; autoopt COMMAND --help describes a command.\n\n{rows}\n\n{EXAMPLES}\n\n"
        f"Exit codes:\n{codes}\n\n"
        "With every command, --debug shows where an error comes from. autoopt --version prints the version."
    )


def told(error: BaseException, debug: bool) -> int:
    """Tell what ended the command, and return its exit code; signals, stores and studies without a conclusion have codes of their own."""
    interrupt = next((cause for cause in causes(error) if isinstance(cause, KeyboardInterrupt)), None)  # which Hydra wraps
    if interrupt is not None:
        lines, code = [str(interrupt) or "interrupted by SIGINT"], getattr(interrupt, "exit_code", 130)
    elif isinstance(error, BadInput):
        lines, code = [*error.problems], 2
    elif isinstance(error, OSError) and (fault := machine_fault(error)) and fault[0] == "disk":
        lines, code = [f"{error.filename or 'the output'} cannot be written: {error.strerror}"], 75
    else:
        code = getattr(error, "exit_code", 1)
        lines = [BUG if code == 1 else str(error)]
    with suppress(OSError):  # it goes where the output goes, which may be full or closed
        if debug or code == 1:
            print(printable(traceback.format_exc()), file=sys.stderr)
        for line in lines:
            print_prose(f"autoopt: {printable(line, LONGEST)}", sys.stderr)
    return code
