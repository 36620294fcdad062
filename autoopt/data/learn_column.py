"""What is learnt about a column of a table from its training part."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas

from autoopt.data.cells import GAPS, Style, cell_texts, days, native_kind, structured_kind, unwrapped
from autoopt.data.column import DATE_PARTS, Column, Locate, date_part
from autoopt.data.text_type import decimal_mark, style_of, swapped, text_type
from autoopt.errors import BadInput

MAX_LEVELS = 20
"""A category with more levels is embedded; if the model is a user's own, its rarest levels are dropped."""
WORDS = 20
"""How many unreadable texts of a column are remembered as gaps."""
IDENTIFIER = re.compile(r"(.*[\W_])?(id|uuid|guid)|index|idx|key|no|nr|row(s|names|[ _]?(no|nr|number))?|unnamed: \d+", re.IGNORECASE)
ASKED = "as asked"


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
