"""The command: finds the sub-command, and turns what goes wrong into a line and an exit code."""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from autoopt.errors import BadInput, nearest

COMMANDS = {
    "search": "the main job: find a better recipe; run again to resume",
    "plan": "no trials: the space, what drops out and why, and what it will cost",
    "train": "train one recipe, measure it on the test split and export it",
    "finish": "stop asking: confirm and conclude with what there is",
    "export": "a trained model as safetensors and ONNX",
    "list": "the studies here, with state, trials and gain",
    "show": "one study's verdict, or one of its trials",
    "plugins": "the techniques that are installed; their cards; their checks",
    "ui": "the MLflow pages of the runs",
}
CONFIGURED = ("search", "plan", "train")
EXAMPLES = """  autoopt search data=digits model=cnn                      the recommended techniques of every slot
  autoopt search data=digits optimizer=adamw,sgd            one of these
  autoopt search data=digits optimizer.adamw.lr=0.003       pin a value
  autoopt search data=csv data.csv.path=t.csv data.csv.target=price
  autoopt search data=digits model=proj.models:LitNet       a model of one's own
  autoopt search my_search.yaml study.time=8h               a file, and the command line over it"""
BUG = "This is a bug of autoopt's: please report it with the lines above and the command."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done · 1 a bug · 2 bad input, nothing started · 3 done, but something is quarantined (under `--strict`) ·
        4 not concluded: what it depends on failed · 75 a store cannot be written · 130, 143 interrupted, resumable.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # one's own modules stand in the working directory
    try:
        return dispatch(arguments)
    except BadInput as error:
        if debug:
            traceback.print_exc()
        for problem in error.problems:
            print(f"autoopt: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return unexpected(error, debug)


def dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(f"autoopt {importlib.import_module('importlib.metadata').version('autoopt')}")
        return 0
    if "-sc" in arguments or "--shell-completion" in arguments:
        return completion([a for a in arguments if a not in COMMANDS])
    name, *rest = arguments
    if name not in COMMANDS:
        raise BadInput(f"No command named '{name}'. {nearest(name, COMMANDS)}")
    return int(importlib.import_module(f"autoopt.commands.{name}").run(rest))


def completion(flags: list[str]) -> int:
    """The shell asks how its line may go on: with a command, or as that command completes.

    Raises:
        BadInput: the flag does not say what to do, as in `-sc install=bash`.
    """
    if not any(flag.partition("=")[0] in ("install", "uninstall", "query") for flag in flags):
        raise BadInput('--shell-completion: expected install=bash (or zsh, fish), as in: eval "$(autoopt -sc install=bash)"')
    _, _, line = os.environ.get("COMP_LINE", "autoopt search ").partition(" ")
    name, ended, rest = line.lstrip().partition(" ")
    if not ended:
        print(*COMMANDS)
    elif name in CONFIGURED:
        importlib.import_module("autoopt.commands.options").complete_line(flags, rest)
    return 0


def overview() -> str:
    rows = "\n".join(f"  {name:<9} {about}" for name, about in COMMANDS.items())
    return (
        "autoopt finds a better way to train a PyTorch model under a budget, and says honestly how much better it is.\n\n"
        f"Usage: autoopt COMMAND [arguments]; autoopt COMMAND --help tells more.\n\n{rows}\n\n{EXAMPLES}\n\n"
        "Everywhere: --debug shows where an error comes from; --version."
    )


def unexpected(error: Exception, debug: bool) -> int:
    """What is neither bad input nor done; stores and signals have exit codes of their own."""
    code = getattr(error, "exit_code", 1)
    if debug or code == 1:
        traceback.print_exc()
    print(f"autoopt: {error}" if code != 1 else f"autoopt: {BUG}", file=sys.stderr)
    return code
