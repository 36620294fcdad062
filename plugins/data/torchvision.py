import difflib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from autoopt.arguments import VARIADIC, parameters_of
from autoopt.catalogue import installation
from autoopt.data.examples import Examples
from autoopt.data.images import DEEP, Images, all_of
from autoopt.data.splits import contiguous_parts
from autoopt.domain import Acts, Bounds, Unavailable
from autoopt.errors import BadInput, nearest, one_line, summary

try:
    from torchvision import datasets
except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch raises RuntimeError
    datasets, missing = None, summary(error)

WHERE = "data.torchvision"
SPLIT_NAMES = {"train": ("train", "trainval", "train-standard"), "validation": ("val", "valid"), "test": ("test",)}
"""What torchvision's data sets call their parts; the first name that a data set has counts."""
GREY = ("1", "L", *DEEP)
TAKEN = {"self", "root", "download", "loader", "transform", "target_transform", "transforms"}
"""Arguments of a data set that are not the user's to give."""


def torchvision(
    *, name: str, root: str, size: Annotated[int | None, Bounds(1)] = None, arguments: list | None = None
) -> Annotated[Examples, Acts(preset="images")]:
    """A data set of torchvision by the name of its class, from the folder `root`; nothing is ever downloaded.

    Its training, validation and test sets are the parts; a set that does not exist is split off the training part. Images are
    resized to `size` by `size` where that is given. `arguments` are further ones of the class: `[split:letters]` for EMNIST.
    torchvision unpickles the files of CIFAR10 and CIFAR100, after a check of their MD5 sums, and the cache of LSUN, without
    a check.

    Marcel & Rodriguez 2010, DOI 10.1145/1873951.1874254.

    Raises:
        Unavailable: torchvision, or a package that the data set needs, cannot be imported.
        BadInput: there is no such data set, its files are not there, or its targets are no classes.
    """
    if datasets is None:
        raise Unavailable(f"torchvision cannot be imported: {missing} ({installation('autoopt', 'torchvision')}, one that fits torch)")
    dataset, folder = find_dataset(name), Path(root).expanduser()
    if not folder.is_dir():
        raise BadInput(f"{WHERE}.root: there is no folder {root}; nothing is downloaded: put the files of {name} there")
    return examples_from(open_parts(dataset, folder, dict(map(argument, arguments or ()))), size)


def argument(text: str) -> tuple[str, Any]:
    """The name and the value of `name:value`; `10` is a number, `true` a truth value.

    Raises:
        BadInput: it is written otherwise.
    """
    name, colon, value = str(text).partition(":")
    if not (name and colon):
        raise BadInput(f"{WHERE}.arguments: expected name:value, got '{text}'")
    try:
        return name.strip(), json.loads(value)
    except (ValueError, RecursionError):  # a text without quotes
        return name.strip(), value


def find_dataset(name: str) -> Any:
    classes = {
        n: found for n in datasets.__all__ if isinstance(found := getattr(datasets, n), type) and found is not datasets.VisionDataset
    }
    if name in classes:
        return classes[name]
    known = {n.lower(): n for n in classes}
    close = [known[n] for n in difflib.get_close_matches(name.lower(), known, n=3)]
    hint = f"did you mean {' or '.join(close)}?" if close else "see the classes of torchvision.datasets"
    raise BadInput(f"{WHERE}.name={name}: torchvision has no such data set; {hint}")


def open_parts(dataset: Any, folder: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The data set of each part that exists."""
    accepted = argument_names(dataset)
    if unknown := next((key for key in arguments if key not in accepted - TAKEN), None):
        raise BadInput(f"{WHERE}.arguments: {dataset.__name__} has no argument '{unknown}' to set. {nearest(unknown, accepted - TAKEN)}")
    fixed = {"root": folder, "download": False, "loader": Path}  # a loader that leaves the file to `Images`
    given = {**{key: value for key, value in fixed.items() if key in accepted}, **arguments}
    found: dict[str, Any] = {}
    for part, choices in part_arguments(accepted - arguments.keys()).items():
        opened = (open_set(dataset, given, choice, part) for choice in choices)
        found[part] = next((one for one in opened if one is not None), None)
    if found["train"] is None:
        raise BadInput(f"{WHERE}.name={dataset.__name__}: it has no split for training; name one: '{WHERE}.arguments=[split:…]'")
    return {part: one for part, one in found.items() if one is not None}


def argument_names(dataset: type) -> set[str]:
    """The names of a constructor's arguments, and of those of the classes above it where it passes any on."""
    names: set[str] = set()
    for base in dataset.__mro__:
        parameters = parameters_of(vars(base).get("__init__", object.__init__)).values()
        names |= {p.name for p in parameters if p.kind not in VARIADIC}
        if "__init__" in vars(base) and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names


def part_arguments(accepted: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """For each part the arguments that may select it, by the names that a constructor accepts."""
    if "train" in accepted:
        return {"train": [{"train": True}], "test": [{"train": False}]}
    if "split" in accepted:
        return {part: [{"split": name} for name in names] for part, names in SPLIT_NAMES.items()}
    return {"train": [{}]}


def open_set(dataset: Any, given: Mapping[str, Any], choice: Mapping[str, Any], part: str) -> Any:
    """A data set with these arguments, or None where it has no split of the name in `choice`.

    Raises:
        Unavailable: it needs a package that cannot be imported.
        BadInput: an argument is wrong, or its files are not there.
    """
    name = dataset.__name__
    try:
        return dataset(**given, **choice)
    except ImportError as error:
        raise Unavailable(f"{name}: {without_offer(error)}") from error
    except (ValueError, TypeError) as error:
        if "split" in choice and "Unknown value" in str(error):
            return None
        raise BadInput(f"{WHERE}.arguments: {name}: {without_offer(error)}") from error
    except (RuntimeError, OSError) as error:
        seen = f"the {part} part of {name} cannot be read from {given.get('root')}: {without_offer(error)}"
        raise BadInput(f"{WHERE}.root: {seen}. Nothing is downloaded: the files have to be there") from error


def without_offer(error: Exception) -> str:
    """The message of an error, without torchvision's offer to download what is missing."""
    return one_line(error).partition(" You can use download=True")[0].rstrip(".")


@dataclass(frozen=True)
class Entry:
    """An example of a data set."""

    dataset: Any
    number: int

    def __str__(self) -> str:
        return f"example {self.number} of {type(self.dataset).__name__}"

    def item(self) -> tuple[Image.Image | Path, Any]:
        """The image, or its file, and the target.

        Raises:
            BadInput: it is something else.
        """
        item = self.dataset[self.number]
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Image.Image | Path):
            return item
        raise BadInput(expected_classes(self, *item) if isinstance(item, tuple) else expected_classes(self, item))

    def open(self) -> Image.Image:
        image, _ = self.item()
        return Image.open(image) if isinstance(image, Path) else image

    def look(self) -> tuple[str, tuple[int, int], int]:
        """The mode, the height and the width of the image, and its class.

        Raises:
            BadInput: the target is no class.
        """
        _, target = self.item()
        if not (isinstance(target, int | np.integer) or (isinstance(target, Tensor) and target.ndim == 0)):
            raise BadInput(expected_classes(self, *self.item()))
        with self.open() as image:
            return image.mode, (image.height, image.width), int(target)


def expected_classes(entry: Entry, *seen: Any) -> str:
    types = ", ".join(type(part).__name__ for part in seen)
    way = "other targets need a LightningDataModule, and a LightningModule with its own loss"
    return f"{WHERE}: {entry} is ({types}); expected an image and its class; {way}"


def examples_from(sets: Mapping[str, Any], size: int | None) -> Examples:
    """Data sets of images and classes as examples, one part after the other.

    Raises:
        BadInput: they hold something else, or images of several sizes that are not to be resized.
    """
    entries = {part: [Entry(dataset, number) for number in range(len(dataset))] for part, dataset in sets.items()}
    hidden = [part for part, some in entries.items() if part != "train" and some and some[0].item()[1] is None]
    entries = {part: some for part, some in entries.items() if some and part not in hidden}
    whole = [entry for some in entries.values() for entry in some]
    modes, sizes, labels = zip(*all_of(Entry.look, whole), strict=True)
    if size is None and (odd := next((other for other in sizes if other != sizes[0]), None)):
        said = " and ".join(f"{width} x {height}" for height, width in (sizes[0], odd))
        raise BadInput(f"{WHERE}: the images are of several sizes, {said}; say {WHERE}.size=64, to which they are resized")
    images = Images(whole, sizes[0] if size is None else (size, size), all(mode in GREY for mode in modes))
    splits = contiguous_parts({part: len(some) for part, some in entries.items()})
    notes = tuple(f"the {part} part has no targets and is not read" for part in hidden)
    return Examples(images, torch.tensor(labels), "classification", class_names(sets["train"], max(labels)), splits, notes=notes)


def class_names(dataset: Any, greatest: int) -> tuple[str, ...]:
    """The names of the classes where a data set has one for each; of several names, which ImageNet has, the first."""
    names = [name if isinstance(name, str) else name[0] for name in getattr(dataset, "classes", ())]
    return tuple(names) if len(names) > greatest and len({*names}) == len(names) else ()
