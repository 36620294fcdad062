"""What `autoopt doctor` checks of the installation: the packages, the devices and the plugins."""

import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distributions, metadata, requires, version
from importlib.resources import files
from typing import NamedTuple

import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from autoopt.catalogue import GROUP, catalogue, extra_with, installation
from autoopt.errors import BadInput, nearest, one_line, summary
from autoopt.executor.resources import Limits, Machine, room, visible_gpus
from autoopt.slots import PLUGGABLE
from autoopt.technique import find


class Checked(NamedTuple):
    """The result of a check: `ok`, `note` (worth knowing, but no fault) or `broken`, with the remedy in its text."""

    state: str
    text: str


def environment() -> Iterator[Checked]:
    """Python and the packages that autoopt requires, against the required and the tested versions."""
    python, needed = platform.python_version(), metadata("autoopt")["Requires-Python"]
    about = f"autoopt {version('autoopt')}, Python {python}, {platform.platform()}"
    fits = SpecifierSet(needed).contains(python, prereleases=True)
    yield Checked("ok", about) if fits else Checked("broken", f"{about}: autoopt needs Python {needed}")
    tested = versions_tested()
    needs = {needed.name: needed for needed in map(Requirement, requires("autoopt") or ()) if needed.name != "autoopt"}
    checks = [check for needed in needs.values() if (check := check_package(needed, tested)) is not None]
    yield from (check for check in checks if check.state != "ok")
    yield Checked("ok", f"{sum(check.state == 'ok' for check in checks)} packages are of the tested versions")


def versions_tested() -> dict[str, str]:
    """The versions of the packages with which autoopt is tested, by name."""
    lines = files("autoopt").joinpath("constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(name): tested for name, _, tested in (line.partition("==") for line in lines) if tested}


def check_package(needed: Requirement, tested: dict[str, str]) -> Checked | None:
    """A package against its required and its tested version; nothing for an extra that is not installed."""
    name, required = needed.name, needed.marker is None
    fix = f"pip install '{needed.name}{needed.specifier}'"
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Checked("broken", f"{name} is not installed: {fix}") if required else None
    if not needed.specifier.contains(installed, prereleases=True):
        return Checked("broken" if required else "note", f"{name} {installed}: autoopt needs {needed.specifier}: {fix}")
    expected = tested.get(canonicalize_name(name), installed)
    if installed.partition("+")[0] != expected.partition("+")[0]:
        return Checked("note", f"{name} {installed}: autoopt is tested with {expected}")
    return Checked("ok", f"{name} {installed}")


def devices_here() -> Iterator[Checked]:
    """The processors and the GPUs that trials may use; a GPU is tried out."""
    machine, built = Machine.here(), version("torch")
    trials = room(Limits(), Machine(machine.cores)).workers
    yield Checked("ok", f"{machine.cores:g} processors: {trials} {'trial' if trials == 1 else 'trials'} at a time on the CPU")
    for number, gpu in enumerate(machine.gpus):
        yield check_gpu(number, gpu)
    if not machine.gpus and visible_gpus("", None):
        hidden = "torch was built without CUDA: install another build of it" if built.endswith("+cpu") else "CUDA_VISIBLE_DEVICES hides it"
        yield Checked("note", f"this machine has an NVIDIA GPU, but {hidden}")
    if torch.backends.mps.is_available():
        yield Checked("ok", "Apple's GPU (mps)")


def check_gpu(number: int, gpu: str) -> Checked:
    try:
        torch.ones(1, device=f"cuda:{number}").add(1).item()
        return Checked("ok", f"GPU {gpu}: {torch.cuda.get_device_name(number)}")
    except Exception as error:
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        return Checked(
            "broken",
            f"GPU {gpu}: {problem} (torch {torch.__version__}): check the driver with nvidia-smi, or hide it: CUDA_VISIBLE_DEVICES=",
        )


def plugins() -> Iterator[Checked]:
    """Every entry point of a slot or a plug-point, loaded; and what other distributions register in vain."""
    loaded, lacking = 0, dict[str, list[str]]()
    for slot, name in sorted(catalogue()):
        try:
            find(slot, name).load()
            loaded += 1
        except BadInput as error:
            if remedy := missing_extra(slot, name, error):
                lacking.setdefault(remedy, []).append(f"{slot}/{name}")
            else:
                yield Checked("broken", one_line(error))
        except Exception as error:
            owner = catalogue()[slot, name][0][1]
            yield Checked("broken", f"{slot}/{name} cannot be loaded: {summary(error)} (from {owner}): upgrade or uninstall it")
    yield from (Checked("note", f"{', '.join(names)}: an extra is not installed: {remedy}") for remedy, names in lacking.items())
    yield from registered_in_vain(distributions())
    yield Checked("ok", f"{loaded} plugins are loaded; `autoopt plugins check` runs their contract")


def missing_extra(slot: str, name: str, error: BadInput) -> str:
    """The command that installs the extra that a plugin lacks; empty where it lacks none."""
    missing = getattr(error.__cause__, "name", None) if isinstance(error.__cause__, ImportError) else None
    owner = catalogue()[slot, name][0][1].split()[0]
    extra = extra_with(owner, missing) if missing else None
    return installation(owner, extra) if extra else ""


def registered_in_vain(installed: Iterable[Distribution]) -> Iterator[Checked]:
    """The distributions whose plugins autoopt cannot see: of a malformed distribution, or in a group that is no slot."""
    for each in installed:
        try:
            if GROUP not in (each.read_text("entry_points.txt") or ""):
                continue
            owner, groups = f"{each.metadata['Name']} {each.version}", sorted({point.group for point in each.entry_points})
        except Exception as error:
            folder = getattr(each, "_path", "a distribution")
            yield Checked("broken", f"{folder} is malformed ({summary(error)}), so its plugins are not seen: install it again")
            continue
        for group in groups:
            slot = group.removeprefix(GROUP)
            if slot != group and slot not in PLUGGABLE:
                yield Checked("broken", f"{owner}: its plugins in the group {group} are not seen: no such slot. {nearest(slot, PLUGGABLE)}")
