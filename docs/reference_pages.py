"""Writes the reference pages from the code whenever the documentation is built (a hook of mkdocs)."""

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from autoopt import grammar
from autoopt.cli import COMMANDS, CONFIGURED, main
from autoopt.commands.plugins import as_markdown
from autoopt.config import ABOUT, default_values, presets
from autoopt.errors import EXIT_CODES
from autoopt.orders import BLAME
from autoopt.slots import BESIDE, PLUGGABLE, TABLE, Slot


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that are written by hand."""
    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def pages() -> dict[str, str]:
    """The text of each generated page."""
    return {
        "commands": "\n\n".join(commands()),
        "settings": "\n\n".join(setting_tables()),
        "slots": "\n\n".join(slot_tables()),
        "techniques": "\n\n".join(techniques()),
        "exit-codes": "\n\n".join(exit_codes()),
    }


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def commands() -> Iterator[str]:
    """Each command with its help; those that take a config have one help between them."""
    yield "# Commands"
    yield table(["command", "what it does"], [(f"[`autoopt {name}`](#autoopt-{name})", about) for name, about in COMMANDS.items()])
    for name, about in COMMANDS.items():
        yield f"## autoopt {name}\n\n{about[0].upper()}{about[1:]}."
        if name in CONFIGURED[1:]:
            yield f"It takes the arguments of [`autoopt {CONFIGURED[0]}`](#autoopt-{CONFIGURED[0]})."
        else:
            yield f"```text\n{help_of(name)}\n```"


def help_of(name: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main([name, "--help"])
    return printed.getvalue().strip()


def setting_tables() -> Iterator[str]:
    """The settings beside the slots, by their first word."""
    defaults = default_values()
    yield "# Settings"
    yield "What stands beside the slots: `key=value` on the command line, or the same keys in a YAML file. `null` is no value."
    for head in dict.fromkeys(key.partition(".")[0] if "." in key else "" for key in ABOUT):
        keys = [key for key in ABOUT if (key.partition(".")[0] if "." in key else "") == head]
        yield f"## {head or 'Study'}" if head != "study" else "## Budget (study)"
        yield table(["setting", "default", "what it is for"], [(f"`{k}`", default_of(k, defaults), ABOUT[k]) for k in keys])
    yield f"Presets, as in `study=quick`: {', '.join(f'`{name}`' for name in presets('study'))}."


def default_of(key: str, defaults: Mapping[str, object]) -> str:
    return f"`{grammar.spell(defaults[key])}`" if key in defaults else "–"


def slot_tables() -> Iterator[str]:
    """What each slot is for, offers and takes back."""
    yield "# Slots"
    yield "A technique is a function that asks by name for what its slot offers. Slots act in this order."
    yield slot_table(TABLE)
    yield "Beside them stand two plug-points, which belong to no recipe and may change from run to run of a study."
    yield slot_table(BESIDE)


def slot_table(slots: Iterable[Slot]) -> str:
    rows = [(f"[{s.name}](techniques.md#{s.name})", s.about, filled_by(s), in_code(s.offers), in_code(s.returns)) for s in slots]
    return table(["slot", "what it is", "filled by", "offers", "returns"], rows)


def filled_by(slot: Slot) -> str:
    return "some, each on or off" if slot.many else "one, the same in all trials" if slot.fixed else "one"


def in_code(names: Iterable[str | None]) -> str:
    return ", ".join(f"`{name}`" if name else "nothing (it works in place)" for name in names) or "–"


def techniques() -> Iterator[str]:
    """The catalogue: what each technique does, its source, and what a search chooses."""
    yield "# Techniques"
    yield "`autoopt plugins show SLOT/NAME` describes a technique with all its arguments."
    for name, slot in PLUGGABLE.items():
        listed = as_markdown([name]).partition("\n\n")[2]
        named = f"Presets: {', '.join(f'`{preset}`' for preset in presets(name))}." if presets(name) else ""
        yield f"## {name}\n\n{slot.about[0].upper()}{slot.about[1:]}. {named}\n\n{listed}"


def exit_codes() -> Iterator[str]:
    """What a command returns to the shell, and the reasons for which a trial ends."""
    yield "# Exit codes"
    yield table(["code", "meaning"], EXIT_CODES.items())
    yield "A trial that fails ends no search. Its reason stands in `autoopt show` and in MLflow's tag `autoopt.reason`."
    told = {"recipe": "the recipe: the strategy learns from it", "machine": "the machine: the trial is run again", "user": "nobody"}
    yield table(["reason", "who is to blame"], [(f"`{reason}`", told[blame]) for reason, blame in BLAME.items()])
