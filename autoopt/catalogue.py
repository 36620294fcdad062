"""The installed techniques: names and distributions, from package metadata. Nothing is imported."""

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distribution, distributions, requires
from urllib.parse import unquote, urlsplit

from autoopt.slots import PLUGGABLE

GROUP = "autoopt."


@cache
def catalogue() -> Mapping[tuple[str, str], list[tuple[EntryPoint, str]]]:
    """By slot and name, the entry points of the technique, each with its distribution."""
    entries: dict[tuple[str, str], list[tuple[EntryPoint, str]]] = {}
    here = ("", os.getcwd())  # nothing is installed by lying in the working directory
    for installed in unique(distributions(path=[path for path in sys.path if path not in here])):
        owner = f"{installed.metadata['Name']} {installed.version}"  # the file is parsed each time
        for point in installed.entry_points:
            slot = point.group.removeprefix(GROUP)
            if slot != point.group and slot in PLUGGABLE:
                entries.setdefault((slot, point.name), []).append((point, owner))
    return entries


def unique(installed: Iterable[Distribution]) -> Iterator[Distribution]:
    """The distributions with techniques; of several with one name the first on the path, which Python imports."""
    seen: set[str] = set()
    for each in installed:
        try:
            if GROUP not in (each.read_text("entry_points.txt") or ""):
                continue
            name = each.metadata["Name"].lower().replace("_", "-")
            _ = each.entry_points
        except Exception:  # a malformed distribution is skipped
            continue
        if name not in seen:
            seen.add(name)
            yield each


def available(slot: str) -> list[str]:
    """The names that are installed for a slot, sorted."""
    return sorted(name for s, name in catalogue() if s == slot)


def extra_with(owner: str, module: str) -> str | None:
    """The extra of a distribution, the owner, that requires a package of this name."""
    wanted = module.split(".")[0].replace("_", "-").lower()
    for requirement in requires(owner) or ():
        if requirement.lower().replace("_", "-").startswith(wanted) and "extra ==" in requirement:
            return requirement.split("extra ==")[1].strip(" '\")")
    return None


def installation(owner: str, extra: str) -> str:
    """The command that installs an extra of a distribution as that was installed: from its folder where it came from one."""
    origin = json.loads(distribution(owner).read_text("direct_url.json") or "{}")  # PEP 610
    folder = unquote(urlsplit(origin["url"]).path) if "dir_info" in origin else ""
    editable = "-e " if folder and origin["dir_info"].get("editable") else ""
    return f"pip install {editable}{shlex.quote(f'{folder or owner}[{extra}]')}"
