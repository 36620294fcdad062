"""`autoopt plugins`"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoopt import grammar
from autoopt.catalogue import extra_with, installation
from autoopt.commands.check import run_check
from autoopt.commands.scaffold import scaffold
from autoopt.commands.techniques import single_technique, slot_of
from autoopt.commands.words import json_text
from autoopt.domain import Choice, Range
from autoopt.errors import BadInput
from autoopt.prose import print_prose
from autoopt.signature import missing_package
from autoopt.slots import PLUGGABLE
from autoopt.technique import REQUIRED, Param, Technique, available, of_slot, readable, sayable

HELP = """Usage: autoopt plugins [SLOT] [--markdown | --json]
       autoopt plugins show SLOT/NAME
       autoopt plugins check [DISTRIBUTION | SLOT | SLOT/NAME | [SLOT=]module:object …]
       autoopt plugins new SLOT/NAME [DIR]

Lists the installed techniques from their metadata, without importing them.
show describes a technique. check runs the contract tests of autoopt.testing,
by default on all techniques. new writes a distribution of your own with a
working technique, by default into autoopt-NAME/. SLOT is a slot of a recipe,
or strategy or executor."""


def run(arguments: Sequence[str]) -> int:
    if "-h" in arguments or "--help" in arguments:
        print_prose(HELP)
        return 0
    flags = [a for a in arguments if a.startswith("-")]
    if unknown := [f for f in flags if f not in ("--markdown", "--json")]:
        raise BadInput(f"{unknown[0]}: no such option. Known: --markdown, --json.")
    words = [a for a in arguments if not a.startswith("-")]
    if words[:1] == ["show"]:
        print_prose(technique_card(single_technique(words[1:])))
        return 0
    if words[:1] == ["check"]:
        return run_check(words[1:])
    if words[:1] == ["new"]:
        return new(words[1:])
    if len(words) > 1:
        raise BadInput(f"plugins: unexpected argument '{words[1]}'; see autoopt plugins --help")
    slots = [slot_of(words[0])] if words else list(PLUGGABLE)
    if "--json" in flags or "--markdown" in flags:
        print(as_json(slots) if "--json" in flags else as_markdown(slots))
    else:
        print_prose(as_text(slots))
    return 0


def as_text(slots: Sequence[str]) -> str:
    lines = []
    for slot in slots:
        lines.append(f"{slot}: {PLUGGABLE[slot].about}")
        widest = max(map(len, available(slot)), default=0)
        for entry in readable(of_slot(slot)):
            if isinstance(entry, Technique):
                lines.append(f"  {entry.name:<{widest}}  {summary(entry)}{lacking(entry)}")
            else:
                lines.append(f"  broken: {entry}")
    return "\n".join(lines)


def lacking(technique: Technique) -> str:
    """The package that a technique needs and that is not installed, with the command that installs it; empty where nothing is missing."""
    missing = missing_package(technique.path.partition(":")[0], guarded=True)
    if missing is None:
        return ""
    owner = technique.owner.split()[0] if technique.owner else ""
    extra = extra_with(owner, missing) if owner else None
    return f" [cannot be used: needs {missing}: {installation(owner, extra) if extra else f'pip install {missing}'}]"


def summary(technique: Technique) -> str:
    return technique.doc.splitlines()[0] if technique.doc else ""


def source(technique: Technique) -> str:
    """Where the technique comes from: the last paragraph of its docstring that is not `Raises:`."""
    paragraphs = [" ".join(p.split()) for p in technique.doc.split("\n\n")]
    body = [p for p in paragraphs[1:] if not p.startswith("Raises:")]
    return body[-1].removeprefix("Source: ") if body else ""


def searched(technique: Technique) -> list[str]:
    """Each searched argument with its domain, in words."""
    return [f"`{p.name}` {in_words(p.domain)}" for p in technique.params.values() if p.domain is not None]


def in_words(domain: Range | Choice) -> str:
    if isinstance(domain, Choice):
        return " / ".join(map(grammar.spell, domain.options))
    return f"{domain.low:g} to {domain.high:g}" + (", log" if domain.log else "")


def as_markdown(slots: Sequence[str]) -> str:
    """The catalogue of the documentation."""
    lines = []
    for slot in slots:
        lines += [f"\n**{slot}**: {PLUGGABLE[slot].about}\n", "| name | what it does | source | searches |", "|---|---|---|---|"]
        for entry in readable(of_slot(slot)):
            if isinstance(entry, Technique):
                cells = (entry.name, summary(entry), source(entry), "; ".join(searched(entry)) or "–")
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines).strip()


def as_json(slots: Sequence[str]) -> str:
    return json_text([as_dict(entry) for slot in slots for entry in readable(of_slot(slot)) if isinstance(entry, Technique)])


def as_dict(technique: Technique) -> dict[str, Any]:
    params = {
        p.name: {
            "type": p.scalar.__name__ if p.scalar else None,
            "searched": grammar.spell(p.domain) if p.domain is not None else None,
            **({"bounds": str(p.bounds)} if p.bounds else {}),
            **({"step": p.domain.step} if isinstance(p.domain, Range) and p.domain.step else {}),
            **({"required": True} if p.default is REQUIRED else {"default": p.default if sayable(p.default) else str(p.default)}),
        }
        for p in technique.params.values()
    }
    lacks = missing_package(technique.path.partition(":")[0], guarded=True)
    origin = {"from": technique.owner or None, "path": technique.path, "lacks": lacks}
    about = {"about": summary(technique), "source": source(technique), **origin}
    acts = {"asks": technique.asks, **asdict(technique.acts)}
    return {"slot": technique.slot, "name": technique.name, **about, **acts, "params": params}


def technique_card(technique: Technique) -> str:
    """The docstring of a technique, the names that it asks for, and its arguments."""
    lines = [f"{technique.slot}/{technique.name}   {technique.owner or technique.path}", "", technique.doc.rstrip(), ""]
    lines.append(f"asks for   {', '.join(technique.asks) or 'nothing'}")
    if technique.acts.fills:
        lines.append(f"fills      {technique.acts.fills}")
    if technique.acts.last:
        lines.append("acts       last, and only one such technique is used")
    elif technique.acts.order != "early":
        lines.append(f"acts       {technique.acts.order} among those of its slot")
    if technique.acts.sparse:
        lines.append("zeros      are stored in fewer bytes; not used with a technique that stores every weight")
    if technique.acts.dense:
        lines.append("zeros      are stored like any weight; not used with a technique that leaves them")
    if technique.acts.closure:
        lines.append("acts       by its closure, more than once a step")
    if technique.acts.gpu:
        lines.append("trains on  NVIDIA GPUs, where there are any")
    for p in technique.params.values():
        default = "required" if p.default is REQUIRED else f"default {grammar.spell(p.default)}"
        kind = p.scalar.__name__ if p.scalar else "any"
        lines.append(f"  {p.name:<18} {kind:<6} {default:<16} {in_meaning(p)}")
    return "\n".join(lines)


def in_meaning(param: Param) -> str:
    """What a search chooses from, if it does, and the numbers that the argument can mean, if it says so."""
    chosen = grammar.spell(param.domain) if param.domain is not None else "a setting"
    return f"{chosen}; {param.bounds}" if param.bounds else chosen


def new(words: Sequence[str]) -> int:
    """Write a distribution with one technique, and print the next command.

    Raises:
        BadInput: the name or the folder cannot be used.
    """
    slot, _, name = words[0].partition("/") if words else ("", "", "")
    if not name or len(words) > 2:
        raise BadInput("plugins new: name a slot and a technique, and optionally a folder: autoopt plugins new optimizer/mine [DIR]")
    folder = Path(words[1] if words[1:] else f"autoopt-{name.replace('_', '-')}")
    for path in scaffold(slot_of(slot), name, folder):
        print(path)
    print(f"\nnext: pip install -e {folder} && autoopt plugins check {slot}/{name}")
    return 0
