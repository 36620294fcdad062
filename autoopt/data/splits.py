"""Splits of the examples into parts: at random, stratified by class, by a column, by group, by time, or in folds."""

from collections.abc import Container, Iterator, Mapping
from itertools import accumulate, pairwise
from math import ceil
from typing import Any

import numpy as np
import pandas
import torch
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold, StratifiedKFold, TimeSeriesSplit, train_test_split
from torch import Tensor

from autoopt.data.parts import PARTS
from autoopt.errors import BadInput, nearest

Parts = dict[str, Tensor]
SPLITTING = ("column", "group", "time")
"""Settings of `split` that name a column of the data."""
SHARE = 0.2
"""The default of `split.validation` and `split.test`; another one was asked for."""
PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The usual names of the parts, in lower case."""


class Splitter:
    """Cuts examples into parts as the node `split` says.

    Args:
        targets: of all examples.
        columns: by name, a value for each example, which the split may use.
        given: the parts that the source fixes; a part that is missing is cut from the training part.
        split: the node `split` of the config.

    Raises:
        BadInput: a setting of the split does not fit the data or another setting.
    """

    def __init__(
        self, targets: Tensor, classification: bool, columns: Mapping[str, np.ndarray], given: Parts | None, split: dict[str, Any]
    ) -> None:
        self.count, self.split = len(targets), split
        self.labels = targets.numpy() if split.get("stratify") and classification else None
        by = {name: column_of(columns, name, split[name]) for name in SPLITTING if split.get(name) is not None}
        self.groups, self.times = by.get("group"), by.get("time")
        if self.groups is not None and self.times is not None:
            raise BadInput(f"split.group={split['group']}, split.time={split['time']}: give one of the two")
        if self.times is not None and self.times.dtype.kind not in "iufM":
            no_number = pandas.to_numeric(pandas.Series(self.times), errors="coerce").isna()
            odd = next(iter(self.times[no_number]), self.times[0])
            raise BadInput(f"split.time={split['time']}: expected numbers or dates, got {odd!r}")
        self.given = given
        if "column" in by:
            if given is not None:
                raise BadInput(f"split.column={split['column']}: the data fixes its parts already; leave this setting out")
            self.given = named_parts(by["column"], split["column"])
        if unused := shares_asked(split, self.given or ()):
            part = unused[0]
            raise BadInput(f"split.{part}={split[part]}: the data fixes its {part} part already; leave this setting out")

    def parts(self) -> Iterator[Parts]:
        """The parts of each fold, or the parts once without cross-validation. All folds have the same test part.

        Raises:
            BadInput: there are too few examples for this split.
        """
        try:
            for parts in self.folds() if self.split.get("folds") else [self.once()]:
                yield {part: torch.as_tensor(np.sort(parts[part])) for part in PARTS}
        except ValueError as error:
            hint = " (split.stratify=false splits without regard to the classes)" if self.labels is not None else ""
            raise BadInput(f"data: {self.count} examples cannot be split: {error}{hint}") from error

    def notes(self, parts: Parts) -> tuple[str, ...]:
        """A note for each part that the data fix although the groups or the time that the split names speak against it."""
        notes = []
        for part in ("validation", "test"):
            train, here, fixed = parts["train"].numpy(), parts[part].numpy(), f"the data fixes the {part} part"
            if self.groups is not None and (shared := (groups := {*self.groups[here]}) & {*self.groups[train]}):
                seen = f"{len(shared)} of its {len(groups)} groups are in the training part, too"
                notes.append(f"split.group={self.split['group']}: {fixed}, and {seen}")
            if self.times is not None and self.times[here].min() <= self.times[train].max():
                notes.append(f"split.time={self.split['time']}: {fixed}, which does not begin after the training part")
        return tuple(notes)

    def once(self) -> dict[str, np.ndarray]:
        parts = self.fixed()
        if len(parts) == 1:
            validation, test = self.split["validation"], self.split["test"]
            parts["train"], rest = self.cut(parts["train"], validation + test)
            parts["validation"], parts["test"] = self.cut(rest, test / (validation + test))
        for part in {"test", "validation"} - parts.keys():
            parts["train"], parts[part] = self.cut(parts["train"], self.split[part])
        return parts

    def fixed(self) -> dict[str, np.ndarray]:
        """The parts that are fixed; without any, all examples are the training part."""
        return {part: numbers.numpy() for part, numbers in (self.given or {"train": torch.arange(self.count)}).items()}

    def folds(self) -> Iterator[dict[str, np.ndarray]]:
        """Folds that validate on different examples; the test part is the same for all."""
        parts = self.fixed()
        rest = np.sort(np.concatenate([parts["train"], parts.get("validation", parts["train"][:0])]))
        if "test" not in parts:
            rest, parts["test"] = self.cut(rest, self.split["test"])
        self.check_folds(rest)
        count, seed = self.split["folds"], self.split["seed"]
        if self.times is not None:
            rest = rest[np.argsort(self.times[rest], kind="stable")]
            starts = time_cuts(self.times[rest], count)
            spans = [*pairwise([*starts, len(rest)])][::-1]  # the fold with the most training examples first
            cuts = ((np.arange(start), np.arange(start, end)) for start, end in spans)
        elif self.groups is not None:
            cuts = GroupKFold(count, shuffle=True, random_state=seed).split(rest, groups=self.groups[rest])
        elif self.labels is not None:
            cuts = StratifiedKFold(count, shuffle=True, random_state=seed).split(rest, self.labels[rest])
        else:
            cuts = KFold(count, shuffle=True, random_state=seed).split(rest)
        for train, validation in cuts:
            yield {"train": rest[train], "validation": rest[validation], "test": parts["test"]}

    def check_folds(self, rest: np.ndarray) -> None:
        """Raise BadInput if a fold would lack examples, groups, times or a class."""
        if self.groups is not None:
            fewest, what = len(set(self.groups[rest])), "groups"
        elif self.times is not None:
            fewest, what = len(np.unique(self.times[rest])) - 1, "times after the first"
        elif self.labels is not None:
            fewest, what = int(np.unique(self.labels[rest], return_counts=True)[1].min()), "examples of the rarest class"
        else:
            fewest, what = len(rest), "examples"
        if fewest < self.split["folds"]:
            raise BadInput(f"split.folds={self.split['folds']}: there are only {fewest} {what} to spread over the folds")

    def cut(self, numbers: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        """The indices that stay, and a share that is cut off: the latest, whole groups, or at random (with `stratify` by class)."""
        seed = self.split["seed"]
        if self.times is not None:
            times = self.times[numbers]
            late = times >= np.sort(times)[min(len(times) - 1, round(len(times) * (1 - share)))]  # equal times stay together
            if late.all():
                raise ValueError(f"there is no time in '{self.split['time']}' before that of the last {share:.0%}")
            return numbers[~late], numbers[late]
        if self.groups is not None:
            cutter = GroupShuffleSplit(1, test_size=share, random_state=seed)
            kept, taken = next(cutter.split(numbers, groups=self.groups[numbers]))
            return numbers[kept], numbers[taken]
        strata = None if self.labels is None else self.labels[numbers]
        check_cut(len(numbers), share, strata)
        kept, taken = train_test_split(numbers, test_size=share, random_state=seed, stratify=strata)
        return kept, taken


def time_cuts(times: np.ndarray, count: int) -> list[int]:
    """Where the validation part of each fold begins in sorted times: at the change of time next to an even cut, so that equal times stay
    together, and no fold is empty. There are at least `count` changes."""
    changes = np.flatnonzero(times[1:] != times[:-1]) + 1
    cuts: list[int] = []
    for later, (_, validation) in zip(reversed(range(count)), TimeSeriesSplit(count).split(times), strict=True):
        place = np.abs(changes[: len(changes) - later] - validation[0]).argmin()
        cuts.append(int(changes[place]))
        changes = changes[place + 1 :]
    return cuts


def shares_asked(split: Mapping[str, Any], parts: Container[str]) -> list[str]:
    """Those of the parts for which the config asks for a share of the examples."""
    return [part for part in ("validation", "test") if part in parts and split.get(part, SHARE) != SHARE]


def check_cut(count: int, share: float, strata: np.ndarray | None) -> None:
    """Raise ValueError if a side of the cut would be empty, or too small for one example of each class."""
    taken = ceil(count * share)
    if not 0 < taken < count:
        raise ValueError(f"a share of {share:.0%} cannot be cut off {count} of them")
    if strata is None:
        return
    numbers = np.unique(strata, return_counts=True)[1]
    if numbers.min() < 2:
        rare = int((numbers < 2).sum())
        raise ValueError(f"{rare} of {len(numbers)} classes {'has' if rare == 1 else 'have'} too few examples to be in every part")
    if min(taken, count - taken) < len(numbers):
        raise ValueError(f"there are {len(numbers)} classes, more than a part of {min(taken, count - taken)} examples can hold")


def contiguous_parts(lengths: Mapping[str, int]) -> Parts | None:
    """The indices of each part, where the parts follow one another; None for a single part."""
    ends = pairwise([0, *accumulate(lengths.values())])
    return {part: torch.arange(*span) for part, span in zip(lengths, ends, strict=True)} if len(lengths) > 1 else None


def column_of(columns: Mapping[str, np.ndarray], setting: str, name: str) -> np.ndarray:
    """The column that a setting names.

    Raises:
        BadInput: the data have no such column, or it has gaps.
    """
    if name not in columns:
        lacking = f"no column '{name}'. {nearest(name, columns)}" if columns else "no columns; only tables have"
        raise BadInput(f"split.{setting}={name}: the data has {lacking}")
    values = columns[name]
    gaps = values != values  # NaN and NaT alone differ from themselves
    if gaps.any():
        raise BadInput(f"split.{setting}={name}: the column has gaps: {gaps.sum()} of {len(values)}")
    return values


def named_parts(values: np.ndarray, name: str) -> Parts:
    """The parts that a column names.

    Raises:
        BadInput: a value does not name a part, or none names train.
    """
    parts = np.array([PART_NAMES.get(str(value).strip().lower(), str(value)) for value in values])
    if unknown := sorted(set(parts.tolist()) - set(PARTS)):
        raise BadInput(f"split.column={name}: expected train, val and test in it, got {', '.join(map(repr, unknown[:5]))}")
    if "train" not in parts:
        raise BadInput(f"split.column={name}: it assigns no example to train")
    return {part: torch.from_numpy(np.flatnonzero(parts == part)) for part in PARTS if part in parts}
