"""The command line of the commands that take a config: a file, overrides, and Hydra's own flags."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import hydra

from autoopt import grammar
from autoopt.commands.completion import complete_value
from autoopt.config import ABOUT, Tree, allow, compose, default_values, hydra_for_us, prepared, preset_contents, presets, split_up
from autoopt.config.instances import is_file, unread
from autoopt.config.yaml_file import written
from autoopt.errors import EXIT_CODES, BadInput
from autoopt.prose import print_prose
from autoopt.slots import PLUG_POINTS, PLUGGABLE, SLOTS, Slot
from autoopt.technique import available

GRAMMAR = """  SLOT=NAME                    pin it                      optimizer=adamw
  SLOT=A,B                     a choice among them         optimizer=adamw,sgd
  SLOT=A,B (augmentation, …)   each on or off              augmentation=translate,mixup
  'SLOT=[A,B]'                 both, always                'augmentation=[translate,mixup]'
  SLOT=none                    no technique                augmentation=none
  SLOT=all, SLOT=recommended   all of them; a preset       optimizer=all
  SLOT=module:object           your own                    loss=proj.losses:Focal
  SLOT.NAME.ARG=VALUE          pin a value                 optimizer.adamw.lr=0.003
  SLOT.NAME.ARG=interval(a,b)  narrow or widen a range     'optimizer.adamw.lr=interval(1e-4,1e-2)'
  SLOT.NAME.ARG=a,b            a choice of values          model.mlp.width=64,128"""

INFOS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
"""What Hydra's --info shows."""


@dataclass
class Asked:
    """A parsed command line."""

    overrides: list[str] = field(default_factory=list)
    file: str | None = None
    flags: list[str] = field(default_factory=list)
    recipe: list[str] = field(default_factory=list)

    def tree(self) -> Tree:
        """The checked tree, and a line on what a file that is given as the model says of its training."""
        tree = compose(self.overrides, self.file, self.recipe)
        for file in (word.removeprefix("model=") for word in self.overrides if word.startswith("model=") and is_file(word)):
            said = {word.partition("=")[0] for word in self.overrides}
            if missing := [word for word in unread(file) if word.partition("=")[0] not in said]:
                print_prose(f"{file}: only its model is read, not what it says of the training; give it as {' '.join(missing)}", sys.stderr)
        return tree


def read_options(arguments: Sequence[str], command: str, settle: Callable[[Asked], None] = lambda asked: None) -> Asked | None:
    """Parse the arguments of a command; None if a flag such as `--help` has been answered already.

    Args:
        settle: a command's own changes to the parsed arguments.

    Raises:
        BadInput: an option is unknown, or a value cannot be used.
    """
    if any(a in ("-h", "--help") for a in arguments):
        print_prose(help_text(command))
        return None
    if "--info" in arguments or "-i" in arguments:
        info(arguments)
        return None
    asked = Asked()
    words = iter(arguments)
    for word in words:
        if word in ("--cfg", "-c"):
            asked.flags.append(f"--cfg {next(words, 'job')}")
        elif word.startswith("-"):
            asked.flags.append(word)
        elif "=" not in word and asked.file is None and not asked.overrides and (word.endswith((".yaml", ".yml")) or os.path.exists(word)):
            asked.file = word
        elif word.startswith("trust="):
            allow(*word.removeprefix("trust=").split(","))
        else:
            asked.overrides.append(word)
    known = ("--cfg job", "--cfg all", *(("--strict",) if command == "search" else ()))
    if unknown := [f for f in asked.flags if f not in known]:
        raise BadInput(f"{unknown[0]}: no such option; autoopt {command} --help lists them")
    settle(asked)
    if any(f.startswith("--cfg") for f in asked.flags):
        print(written(asked.tree()), end="")
        return None
    return asked


@hydra_for_us()
def info(arguments: Sequence[str]) -> None:
    """Print how Hydra composes the config, with the overrides translated for Hydra.

    Raises:
        BadInput: with a line for every override that cannot be translated, or with another option.
    """
    words = [a for a in arguments if (a.startswith("-") or "=" not in a) and a not in ("--info", "-i")]
    if len(words) > 1 or not {*words} <= {*INFOS}:
        raise BadInput(f"--info {' '.join(words)}: expected one of {', '.join(INFOS)}")
    overrides = split_up([], [a for a in arguments if "=" in a])
    lines = prepared(overrides)
    if overrides.problems:
        raise BadInput(*overrides.problems)
    to_hydra([*lines, *(a for a in arguments if "=" not in a)])


@hydra_for_us()
def complete_line(flags: Sequence[str], line: str) -> None:
    """Answer Hydra's completion script: how a line, without its command, can be completed."""
    *before, last = line.split(" ")
    if (known := complete_value(last, before)) is not None:
        print(*known)
    elif not last.startswith("-"):
        lines = prepared(split_up([], [word for word in before if "=" in word]))
        os.environ["COMP_LINE"] = " ".join(["autoopt", *(override for override in lines if "." not in override.partition("=")[0]), last])
        to_hydra(flags)


def to_hydra(arguments: Sequence[str]) -> None:
    sys.argv = ["autoopt", *arguments]
    hydra.main(version_base="1.3", config_path="pkg://autoopt.conf", config_name="search")(lambda cfg: None)()


def help_text(command: str) -> str:
    """The slots and the plug-points with their techniques, the settings with their defaults, the presets, and the grammar."""
    recipe = " [recipe=FILE|STUDY|STUDY/TRIAL]" if command == "train" else ""
    strict = " [--strict]" if command == "search" else ""
    about_strict = "--strict: exit with 3 if a technique failed and was left out.\n" if strict else ""
    defaults = default_values()
    settings = [entry(key, with_default(about, defaults.get(key))) for key, about in ABOUT.items()]
    kept = [entry(f"{group}={name}", contents) for group in (*PLUGGABLE, "study") for name, contents in preset_contents(group)]
    codes = [entry(code, meaning) for code, meaning in EXIT_CODES.items()]
    lines = (
        f"Usage: autoopt {command} [FILE.yaml]{recipe} [key=value …] [trust=module:object,…] [--cfg job]{strict}",
        f"\nSlots and their techniques (autoopt plugins show SLOT/NAME describes a technique):\n{rows(SLOTS)}",
        f"\nSyntax:\n{GRAMMAR}",
        f"\nStrategy and executor: one of each; their arguments are settings, as in strategy.bayes.startup=20:\n{rows(PLUG_POINTS)}",
        "\nSettings, with their defaults:",
        *settings,
        "\nPresets:",
        *kept,
        "\nExit codes:",
        *codes,
        f"\n{about_strict}--cfg job prints the composed config, which is a valid FILE. --info and --shell-completion are Hydra's.",
        "A file runs none of your code by itself: trust= names the import paths in it that may be imported.",
    )
    return "\n".join(lines)


def with_default(about: str, default: Any) -> str:
    return about if default is None else f"{about} [{grammar.spell_node(default)}]"


def entry(key: str, about: str) -> str:
    """A key and what it is."""
    return f"  {key:<23}  {about}"


def rows(slots: Mapping[str, Slot]) -> str:
    """Each slot with its purpose, its techniques and its presets."""
    return "\n".join(f"{entry(n, slot.about)}\n{entry('', ' '.join([*available(n), *presets(n)]))}" for n, slot in slots.items())
