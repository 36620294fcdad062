"""One column of a table: what is learnt about it from the training part, and the numbers that it becomes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas

from autoopt.data.cells import (
    EXACT,
    GAPS,
    PLAIN_STYLE,
    Style,
    are_numbers,
    cell_texts,
    days,
    decimal_mark,
    native_kind,
    readings,
    structured_kind,
    style_of,
    swapped,
    text_type,
    unwrapped,
)
from autoopt.data.examples import embedding_width
from autoopt.errors import BadInput

MAX_LEVELS = 20
"""A category with more levels is embedded; if the model is a user's own, its rarest levels are dropped."""
WORDS = 20
"""How many unreadable texts of a column are remembered as gaps."""
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
    """What is known about a table's columns before they are read.

    Args:
        types: the types that the user declares, by column.
        drop: the columns that the user leaves out.
        gaps: texts that mean a missing value.
        decimal: the decimal mark of all numbers, if the user declares it.
        undecided: the decimal mark of a column that can be read in two ways.
        formats: those of dates that the user declares, by column.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    gaps: frozenset[str] = GAPS
    decimal: str | None = None
    undecided: str = "."
    formats: Mapping[str, str] = field(default_factory=dict)

    def missing(self, name: str) -> frozenset[str]:
        """The texts that mean a missing value in a column; in a declared category the usual ones are levels."""
        return (self.gaps - GAPS) | {""} if self.types.get(name) == "category" else self.gaps


NO_SCHEMA = Schema()


@dataclass(frozen=True)
class Column:
    """How a column becomes numbers, as learnt from the training part.

    Args:
        name: of the column.
        type: number, truth value, date, time or category.
        fill: the value of a gap: the median.
        indicator: a further column of 0 and 1 marks the gaps.
        levels: of a category.
        embedded: the category becomes one code, from 1 (0: any other level), which is embedded; else each level becomes a
            column of 0 and 1.
        ignored: why the column is not an input; empty if it is one.
        style: how its numbers or dates are written.
        gaps: texts that mean a missing value, beside the usual ones.
        parts: of a date, such as the month, which become columns too.
        note: a line for the user.
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
    def of(cls, values: Mapping[str, Any]) -> "Column":
        """The column that `described` returned."""
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key != "treatment"}
        return cls(**(fields | {"style": Style(**values.get("style", {}))}))

    def described(self) -> dict[str, Any]:
        return asdict(self) | {"treatment": self.treatment}

    @property
    def treatment(self) -> str:
        """How the column is encoded, in words."""
        if self.ignored:
            return f"left out: {self.ignored}"
        rest = "; a column marks the gaps" if self.indicator else ""
        if self.embedded:
            return f"{len(self.levels)} levels, embedded in {embedding_width(len(self.levels) + 1)} numbers{rest}"
        if self.type == "category":
            return f"a column for {'its only level' if len(self.levels) == 1 else f'each of {len(self.levels)} levels'}{rest}"
        how = {"number": "as it is", "truth value": "0 or 1", "date": "days since 1970", "time": "seconds"}[self.type]
        how = ", ".join([how, *self.parts]) + self.written
        return f"{how}, gaps filled by the median {self.fill:g}{rest}" if self.indicator else how

    @property
    def written(self) -> str:
        """How the texts are written, in words; empty for the usual way."""
        style, usual = self.style, PLAIN_STYLE
        marks = [f"decimal {style.decimal!r}"] if style.decimal != usual.decimal else []
        marks += [f"thousands {style.thousands!r}"] if style.thousands else []
        marks += [f"without {style.sign}"] if style.sign else []
        marks += [f"written {style.format}"] if style.format != usual.format else []
        return f" ({', '.join(marks)})" if marks else ""

    def readings(self, column: pandas.Series) -> tuple[np.ndarray, np.ndarray]:
        """The values as float64 with NaN for gaps, and a mask of the cells that are neither a gap nor a value of this type."""
        return readings(column, self.type, self.style, GAPS.union(self.gaps))

    def codes(self, column: pandas.Series) -> np.ndarray:
        """The code of each value's level, from 1; 0 for any other value.

        A number has the code of the only level that is written otherwise, such as 7 that of 007.
        """
        codes = pandas.Categorical(cell_texts(column), categories=list(self.levels)).codes.astype("float64") + 1
        values = unwrapped(column)
        is_number = are_numbers(values)
        if is_number.any():
            levels = pandas.to_numeric(pandas.Series(self.levels, dtype="str"), errors="coerce").to_numpy("float64")
            by_value = pandas.Series(np.arange(len(levels)) + 1.0, levels)[(np.abs(levels) < EXACT)]
            by_value = by_value[~by_value.index.duplicated(keep=False)]
            found = values[is_number].astype("float64").map(by_value).fillna(0).to_numpy("float64")
            codes[is_number] = np.where(codes[is_number] > 0, codes[is_number], found)
        return codes

    def missing(self, column: pandas.Series) -> np.ndarray:
        """A mask of the gaps."""
        texts = cell_texts(column)
        return (texts.isna() | texts.isin(GAPS.union(self.gaps).difference(self.levels))).to_numpy(bool)

    def encoded(self, column: pandas.Series, place: Locate | None = None) -> list[np.ndarray]:
        """The columns of numbers that a column becomes, without the code of an embedded category.

        Args:
            place: names a row by its index. A value that cannot be read is an error with it, and a gap without it.

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
            if (infinite := ~(np.abs(filled) <= np.finfo("float32").max)).any():
                row = int(infinite.argmax())
                if place is not None:
                    raise BadInput(f"data: column '{self.name}', {place(row)}: {column.iloc[row]} is infinite{self.written}")
                seen = f"holds infinite values, such as {column.iloc[row]}"
                raise BadInput(f"data: column '{self.name}' {seen}; mend them, or leave the column out (drop=[{self.name}])")
            values = [filled, *(date_part(filled, part) for part in self.parts)]
        return [*values, gaps.astype("float64")] if self.indicator else values


UNREAD = {"number": "is not a number", "truth value": "is neither True nor False", "date": "is not a date", "time": "is not a time"}


def date_part(days: np.ndarray, part: str) -> np.ndarray:
    """A part of dates, which are given in days since 1970."""
    return np.asarray(DATE_PARTS[part](pandas.to_datetime((days * 86_400_000).round().astype("int64"), unit="ms")), "float64")


def learn_column(column: pandas.Series, train: np.ndarray, embed: bool, schema: Schema = NO_SCHEMA, place: Locate = str) -> Column:
    """How a column is encoded, as its training part shows.

    Args:
        train: the indices of the training examples.
        embed: a large category may become codes, which are embedded.
        place: names a row by its index.

    Raises:
        BadInput: the column is no input as the type that the user declares, or no training cell can be read as one.
    """
    name = str(column.name)
    if name in schema.drop:
        return Column(name, "category", ignored=ASKED)
    learnt = learn_wanted(column, train, embed, schema, place)
    if learnt.ignored and name in schema.types:  # what the user names must not vanish in silence
        seen = f"is of no use as a {schema.types[name]}: {learnt.ignored}"
        raise BadInput(f"data: column '{name}' {seen}; leave it out (drop=[{name}])")
    return learnt


def learn_wanted(column: pandas.Series, train: np.ndarray, embed: bool, schema: Schema, place: Locate) -> Column:
    """As `learn_column`, of a column that the user does not leave out."""
    name, training = str(column.name), column.iloc[train]
    if holds := structured_kind(training):
        return Column(name, "category", ignored=f"it holds {holds}")
    bare = column_type(training, schema)
    if bare is None:
        return Column(name, schema.types.get(name, "category"), ignored="it is empty in the training part")
    if bare.type == "category":
        return category(bare, cell_texts(training), embed, schema.missing(name))
    read, unread = bare.readings(column)
    values = read[train]
    if bare.type == "number" and name not in schema.types and identifies(name, values):
        return replace(bare, ignored="every value is different, an identifier")
    learnt = with_unread_as_gaps(bare, column, unread, train, place)
    if np.isnan(values).all():
        raise BadInput(f"data: column '{name}' cannot be a {bare.type}, as no cell of the training part can be read as one")
    parts = varying(values[~np.isnan(values)]) if bare.type == "date" else ()
    return replace(learnt, fill=float(np.nanmedian(values)), indicator=bool(np.isnan(values).any()), parts=parts)


def column_type(training: pandas.Series, schema: Schema) -> Column | None:
    """A column with its type and style; None if all values are missing.

    Args:
        training: the training part of the column.
    """
    name = str(training.name)
    missing, native = schema.missing(name), native_kind(unwrapped(training))
    bare = Column(name, schema.types.get(name, "category" if isinstance(training.dtype, pandas.CategoricalDtype) else native))
    bare = replace(bare, gaps=tuple(sorted(missing - GAPS)))
    if native and bare.type == native:
        return None if training.isna().all() else bare
    texts = cell_texts(training)
    texts = texts[texts.notna() & ~texts.isin(missing)].astype("str")
    if texts.empty:
        return None
    decimal = schema.decimal or decimal_mark([texts], schema.undecided)
    if name in schema.formats:
        return replace(bare, style=Style(format=schema.formats[name]))
    kind, style = (bare.type, style_of(texts, bare.type, decimal)) if bare.type else text_type(texts, decimal)
    return replace(bare, type=kind, style=style, note=doubtful_dates(name, texts, style.format) if kind == "date" else "")


def doubtful_dates(name: str, texts: pandas.Series, form: str) -> str:
    """A note for the user where all dates can be read as day and month and as month and day; empty where not."""
    if not (other := swapped(form)):
        return ""
    distinct = texts.drop_duplicates()
    as_read, otherwise = days(distinct, form), days(distinct, other)
    differ = np.isfinite(as_read) & (as_read != otherwise)
    if np.isnan(otherwise[np.isfinite(as_read)]).any() or not differ.any():
        return ""
    seen = distinct.iloc[int(differ.argmax())]
    return f"column '{name}': dates such as {seen} are read as {form}, and could be {other}; types=[{name}:{other}] reads them so"


def with_unread_as_gaps(bare: Column, column: pandas.Series, unread: np.ndarray, train: np.ndarray, place: Locate) -> Column:
    """A column that remembers the unreadable texts of its training part as gaps, with a note for the user."""
    if not unread.any():
        return bare
    rows = np.flatnonzero(unread)
    texts = cell_texts(column)
    words = texts.iloc[np.intersect1d(rows, train)].value_counts().index[:WORDS]
    cells, first = "1 cell" if len(rows) == 1 else f"{len(rows)} cells", int(rows[0])
    which = f"the first is {texts.iloc[first]!r} in {place(first)}"
    note = f"column '{bare.name}': {cells} cannot be read as a {bare.type} and count{'s' * (len(rows) == 1)} as missing; {which}"
    return replace(bare, gaps=tuple(sorted({*bare.gaps, *words})), note="; ".join(filter(None, (bare.note, note))))


def identifies(name: str, values: np.ndarray) -> bool:
    """Whether a column only identifies examples: distinct integers, under a usual name such as `id`."""
    if len(values) < 2 or np.isnan(values).any() or (values != np.round(values)).any() or len(np.unique(values)) < len(values):
        return False
    return bool(IDENTIFIER.fullmatch(name)) or (name.lower().endswith("id") and np.ptp(values) < 4 * len(values))


def varying(days: np.ndarray) -> tuple[str, ...]:
    """The parts of dates that have more than one value."""
    return tuple(part for part in DATE_PARTS if len(np.unique(date_part(days, part))) > 1)


def category(bare: Column, texts: pandas.Series, embed: bool, gaps: frozenset[str]) -> Column:
    """A category with the levels that its training part shows."""
    missing = texts.isna() | texts.isin(gaps)
    counts = texts[~missing].value_counts()
    if len(counts) > MAX_LEVELS:  # a level that is seen once becomes the unknown level
        counts = counts[counts > 1]
    if counts.empty:
        return replace(bare, ignored="every value is different")
    large = len(counts) > MAX_LEVELS
    levels = tuple(sorted(counts.index if embed or not large else counts.index[:MAX_LEVELS]))
    return replace(bare, indicator=bool(missing.any()), levels=levels, embedded=embed and large)
