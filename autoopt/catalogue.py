"""The installed techniques: names and distributions, from package metadata. Nothing is imported."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions, requires

from autoopt.slots import PLUGGABLE

GROUP = "autoopt."


@cache
def catalogue() -> Mapping[tuple[str, str], list[tuple[EntryPoint, str]]]:
    """By slot and name, the entry points of the technique, each with its distribution."""
    entries: dict[tuple[str, str], list[tuple[EntryPoint, str]]] = {}
    for distribution in unique(distributions()):
        owner = f"{distribution.metadata['Name']} {distribution.version}"  # the file is parsed each time
        for point in distribution.entry_points:
            slot = point.group.removeprefix(GROUP)
            if slot != point.group and slot in PLUGGABLE:
                entries.setdefault((slot, point.name), []).append((point, owner))
    return entries


def unique(installed: Iterable[Distribution]) -> Iterator[Distribution]:
    """The distributions with techniques; of several with one name the first on the path, which Python imports."""
    seen: set[str] = set()
    for distribution in installed:
        try:
            if GROUP not in (distribution.read_text("entry_points.txt") or ""):
                continue
            name = distribution.metadata["Name"].lower().replace("_", "-")
            _ = distribution.entry_points
        except Exception:  # a malformed distribution is skipped
            continue
        if name not in seen:
            seen.add(name)
            yield distribution


def available(slot: str) -> list[str]:
    """The names that are installed for a slot, sorted."""
    return sorted(name for s, name in catalogue() if s == slot)


def extra_with(distribution: str, module: str) -> str | None:
    """The extra of a distribution that requires a package of this name."""
    wanted = module.split(".")[0].replace("_", "-").lower()
    for requirement in requires(distribution) or ():
        if requirement.lower().replace("_", "-").startswith(wanted) and "extra ==" in requirement:
            return requirement.split("extra ==")[1].strip(" '\")")
    return None
