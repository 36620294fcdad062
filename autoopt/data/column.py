"""One column of a table: what the training part shows of it, and the numbers that it becomes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas

from autoopt.data.cells import GAPS, PLAIN_STYLE, Style, cell_texts, decimal_mark, native_kind, nested, readings, style_of, told, unwrapped
from autoopt.data.task import embedding_width
from autoopt.errors import BadInput

MAX_LEVELS = 20
"""More levels than that are embedded, or (where the model is a user's own) cut."""
WORDS = 20
"""As many unreadable texts are remembered as gaps."""
DATE_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "year": lambda times: times.year,
    "month": lambda times: times.month,
    "weekday": lambda times: times.weekday,
    "hour": lambda times: times.hour,
}
IDENTIFIER = re.compile(r"(.*[\W_])?(id|uuid|guid)|index|idx|key|no|nr|row(s|names|[ _]?(no|nr|number))?|unnamed: \d+", re.IGNORECASE)
ASKED = "as asked"
Locate = Callable[[int], str]


@dataclass(frozen=True)
class Schema:
    """What is known of a table's columns before they are looked at.

    Args:
        types: of columns, by name, where the user says them.
        drop: columns that the user leaves out.
        gaps: texts that stand for a missing value.
        decimal: the decimal mark of all numbers, where the user says it.
        undecided: the decimal mark of a column that can be read in two ways.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    gaps: frozenset[str] = GAPS
    decimal: str | None = None
    undecided: str = "."

    def missing(self, name: str) -> frozenset[str]:
        """The texts that are no values of a column: of declared categories every word is a level."""
        return (self.gaps - GAPS) | {""} if self.types.get(name) == "category" else self.gaps


NO_SCHEMA = Schema()


@dataclass(frozen=True)
class Column:
    """How a column becomes numbers; all of it was learnt from the training part.

    Args:
        type: number, truth value, date, time or category.
        fill: what stands for a gap: the median.
        indicator: a further column says where the gaps were.
        levels: of a category; none of them is any other.
        embedded: the level's code (from 1; 0: any other) is given, to be embedded; else a column of 0 and 1 a level.
        ignored: why it is none of the inputs, where it is not.
        style: how its texts are written.
        gaps: texts that stand for a gap, beside the usual ones.
        parts: of a date, such as its month, which are given too.
        note: what was seen in it that the user should know.
    """

    name: str
    type: str
    fill: float | None = None
    indicator: bool = False
    levels: tuple[str, ...] = ()
    embedded: bool = False
    ignored: str = ""
    style: Style = PLAIN_STYLE
    gaps: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    note: str = ""

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Column":
        """As `described` has it."""
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in said.items() if key != "treatment"}
        return cls(**(fields | {"style": Style(**said.get("style", {}))}))

    def described(self) -> dict[str, Any]:
        return asdict(self) | {"treatment": self.treatment}

    @property
    def treatment(self) -> str:
        """What is done with it, in words."""
        if self.ignored:
            return f"left out: {self.ignored}"
        rest = "; a column says where the gaps are" if self.indicator else ""
        if self.embedded:
            return f"{len(self.levels)} levels, embedded in {embedding_width(len(self.levels) + 1)} numbers{rest}"
        if self.type == "category":
            return f"a column for each of {len(self.levels)} levels{rest}"
        how = {"number": "as it is", "truth value": "0 or 1", "date": "days since 1970", "time": "seconds"}[self.type]
        how = ", ".join([how, *self.parts]) + self.written
        return f"{how}, gaps filled by the median {self.fill:g}{rest}" if self.indicator else how

    @property
    def written(self) -> str:
        """How its texts are written, where that is not the usual way."""
        style, usual = self.style, PLAIN_STYLE
        marks = [f"decimal {style.decimal!r}"] if style.decimal != usual.decimal else []
        marks += [f"thousands {style.thousands!r}"] if style.thousands else []
        marks += [f"without {style.sign}"] if style.sign else []
        marks += [f"written {style.format}"] if style.format != usual.format else []
        return f" ({', '.join(marks)})" if marks else ""

    def readings(self, column: pandas.Series) -> tuple[np.ndarray, np.ndarray]:
        """The values as float64 with NaN for gaps, and where there is neither a gap nor a value of this type."""
        return readings(column, self.type, self.style, GAPS.union(self.gaps))

    def codes(self, column: pandas.Series) -> np.ndarray:
        """The number of each value's level, from 1; 0 where it is none of them."""
        found = pandas.Categorical(cell_texts(column), categories=list(self.levels)).codes.astype("float64") + 1
        if unwrapped(column).dtype.kind in "fO":  # the level 1.0, where the column was one of texts
            other = pandas.Categorical(column.astype(object).map(str, na_action="ignore"), categories=list(self.levels)).codes + 1.0
            found = np.where(found > 0, found, other)
        return found

    def missing(self, column: pandas.Series) -> np.ndarray:
        """Where there is a gap."""
        said = cell_texts(column)
        return (said.isna() | said.isin(GAPS.union(self.gaps).difference(self.levels))).to_numpy(bool)

    def encoded(self, column: pandas.Series, place: Locate | None = None) -> list[np.ndarray]:
        """All that stands for a column, but for the code of its level.

        Args:
            place: names a row by its number, and what cannot be read is refused; else it is taken for a gap.

        Raises:
            BadInput: a value cannot be read, or is infinite in single precision.
        """
        if self.type == "category":
            gaps = self.missing(column)
            codes = () if self.embedded else (self.codes(column),)
            values = [(code == number).astype("float64") for code in codes for number in range(1, len(self.levels) + 1)]
        else:
            read, unread = self.readings(column)
            if place is not None and unread.any():
                row = int(unread.argmax())
                raise BadInput(f"data: column '{self.name}', {place(row)}: {column.iloc[row]!r} {UNREAD[self.type]}{self.written}")
            gaps = np.isnan(read)
            filled = np.where(gaps, float(self.fill or 0), read)
            if not (np.abs(filled) <= np.finfo("float32").max).all():
                raise BadInput(f"data: column '{self.name}' holds infinite values")
            values = [filled, *(date_part(filled, part) for part in self.parts)]
        return [*values, gaps.astype("float64")] if self.indicator else values


UNREAD = {"number": "is no number", "truth value": "is neither True nor False", "date": "is no date", "time": "is no time"}


def date_part(days: np.ndarray, part: str) -> np.ndarray:
    """A part of dates that are days since 1970."""
    return np.asarray(DATE_PARTS[part](pandas.to_datetime((days * 86_400_000).round().astype("int64"), unit="ms")), "float64")


def learn_column(column: pandas.Series, train: np.ndarray, embed: bool, schema: Schema = NO_SCHEMA, place: Locate = str) -> Column:
    """What the training part says of a column.

    Args:
        train: the numbers of the training examples.
        place: names a row by its number.
    """
    name, shown = str(column.name), column.iloc[train]
    if name in schema.drop:
        return Column(name, "category", ignored=ASKED)
    if holds := nested(shown):
        return Column(name, "category", ignored=f"it holds {holds}")
    bare = column_type(shown, schema)
    if bare is None:
        return Column(name, schema.types.get(name, "category"), ignored="it is empty in the training part")
    if bare.type == "category":
        return category(bare, cell_texts(shown), embed, schema.missing(name))
    read, unread = bare.readings(column)
    values = read[train]
    if bare.type == "number" and name not in schema.types and identifies(name, values):
        return replace(bare, ignored="every value is different, an identifier")
    found = remembering(bare, column, unread, train, place)
    if np.isnan(values).all():
        raise BadInput(f"data: column '{name}' cannot be a {bare.type}, as no cell of the training part can be read as one")
    parts = varying(values[~np.isnan(values)]) if bare.type == "date" else ()
    return replace(found, fill=float(np.nanmedian(values)), indicator=bool(np.isnan(values).any()), parts=parts)


def column_type(shown: pandas.Series, schema: Schema) -> Column | None:
    """The type of a column and how it is written; nothing where all is missing.

    Args:
        shown: the training part of the column.
    """
    name = str(shown.name)
    missing, own = schema.missing(name), native_kind(unwrapped(shown))
    bare = Column(name, schema.types.get(name, "category" if isinstance(shown.dtype, pandas.CategoricalDtype) else own))
    bare = replace(bare, gaps=tuple(sorted(missing - GAPS)))
    if own and bare.type == own:
        return None if shown.isna().all() else bare
    said = cell_texts(shown)
    said = said[said.notna() & ~said.isin(missing)].astype("str")
    if said.empty:
        return None
    decimal = schema.decimal or decimal_mark([said], schema.undecided)
    kind, style = (bare.type, style_of(said, bare.type, decimal)) if bare.type else told(said, decimal)
    return replace(bare, type=kind, style=style)


def remembering(bare: Column, column: pandas.Series, unread: np.ndarray, train: np.ndarray, place: Locate) -> Column:
    """The column with the texts that training shows in place of values, which are gaps from here on, and a note of them."""
    if not unread.any():
        return bare
    rows = np.flatnonzero(unread)
    said = cell_texts(column)
    words = said.iloc[np.intersect1d(rows, train)].value_counts().index[:WORDS]
    cells, first = "1 cell" if len(rows) == 1 else f"{len(rows)} cells", int(rows[0])
    which = f"the first is {said.iloc[first]!r} in {place(first)}"
    note = f"column '{bare.name}': {cells} cannot be read as a {bare.type} and count{'s' * (len(rows) == 1)} as missing; {which}"
    return replace(bare, gaps=tuple(sorted({*bare.gaps, *words})), note=note)


def identifies(name: str, values: np.ndarray) -> bool:
    """Whether a column only tells one example from another: integers that are all different, under a name that says so."""
    if len(values) < 2 or np.isnan(values).any() or (values != np.round(values)).any() or len(np.unique(values)) < len(values):
        return False
    return bool(IDENTIFIER.fullmatch(name)) or (name.lower().endswith("id") and np.ptp(values) < 4 * len(values))


def varying(days: np.ndarray) -> tuple[str, ...]:
    return tuple(part for part in DATE_PARTS if len(np.unique(date_part(days, part))) > 1)


def category(bare: Column, said: pandas.Series, embed: bool, gaps: frozenset[str]) -> Column:
    """The levels of a category that its training part shows."""
    missing = said.isna() | said.isin(gaps)
    counts = said[~missing].value_counts()
    if len(counts) > MAX_LEVELS:  # a level that is seen once says nothing of itself, but shows what an unknown one is like
        counts = counts[counts > 1]
    if counts.empty:
        return replace(bare, ignored="every value is different")
    large = len(counts) > MAX_LEVELS
    levels = tuple(sorted(counts.index if embed or not large else counts.index[:MAX_LEVELS]))
    return replace(bare, indicator=bool(missing.any()), levels=levels, embedded=embed and large)
