"""The cells of a table as texts, and texts that are read as numbers, truth values, dates or times."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import pandas
from pandas.api import types

TYPES = ("number", "truth value", "date", "time", "category")
GAPS = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "-NaN", "-nan", "1.#QNAN", "-1.#IND")
)
"""Texts that mean a missing value in any column, after the default of pandas' `na_values`."""
NESTED = (list, tuple, dict, set, bytes, np.ndarray)
EXACT = 2**53
"""Floating point does not tell whole numbers apart from here on, such as long identifiers."""
EPOCH = pandas.Timestamp("1970-01-01", tz="UTC")
ISO = r"\d{4}-\d{2}(?:-\d{2}(?:[T ]\d{2}(?::?\d{2}(?::?\d{2}(?:[.,]\d+)?)?)?\s*(?:Z|[+-]\d{2}(?::?\d{2})?)?)?)?"
CLOCK = r"(?:([+-]?\d+) days?,? )?\+?(\d{1,3}):(\d{2})(?::(\d{2}(?:\.\d+)?))?"
DAYS = (
    "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y.%m.%d", "%d-%m-%Y", "%m-%d-%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y",
    "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%y",
)  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
ISO_FORMAT = "ISO8601"
FORMATS = (ISO_FORMAT, *(day + clock for day in DAYS for clock in CLOCKS), "%Y%m%d")
"""The formats of dates; the last is a number too, so it is only tried on a column that the user declares to be dates."""


@dataclass(frozen=True)
class Style:
    """How the numbers or dates of a column are written.

    Args:
        decimal: the decimal mark of numbers, a point or a comma.
        thousands: the mark between groups of three digits, or empty.
        sign: a currency sign, or %, that may stand beside a number, or empty.
        format: the format of dates.
    """

    decimal: str = "."
    thousands: str = ""
    sign: str = ""
    format: str = "ISO8601"


PLAIN_STYLE = Style()


def unwrapped(column: pandas.Series) -> pandas.Series:
    """A column with its periods as timestamps, and its categories as plain values."""
    if isinstance(column.dtype, pandas.PeriodDtype):
        return column.dt.to_timestamp()
    return column.astype(object) if isinstance(column.dtype, pandas.CategoricalDtype) else column


def structured_kind(column: pandas.Series) -> str:
    """The kind of cells that are more than a single value (lists, mappings, bytes, complex numbers), or an empty text."""
    if types.is_complex_dtype(column):
        return "complex numbers"
    if column.dtype != object and not str(column.dtype).startswith(("list", "struct", "map", "binary", "large_", "fixed_size")):
        return ""
    first = next((value for value in column if isinstance(value, NESTED)), None)
    return "" if first is None else "mappings" if isinstance(first, dict) else "bytes" if isinstance(first, bytes) else "lists"


def cell_texts(column: pandas.Series) -> pandas.Series:
    """Cells as texts without spaces around them; missing values stay missing."""
    column = unwrapped(column)
    if isinstance(column.dtype, pandas.StringDtype):
        return column.str.strip()
    return column.astype(object).where(column.notna()).map(cell_text, na_action="ignore")


def cell_text(value: Any) -> str:
    """A value as a text; a whole float like an integer, since a gap turns a column of integers into floats."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def readings(column: pandas.Series, kind: str, style: Style, gaps: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """A column that is not a category as float64: gaps are NaN, dates are days since 1970, times are seconds.

    Args:
        kind: the column's type, of `TYPES`.
        gaps: texts that mean a missing value.

    Returns:
        the values `(N,)`, and a mask of the cells that are neither missing nor readable.
    """
    column = unwrapped(column)
    if kind == native_kind(column):
        return of_native(column, kind), np.zeros(len(column), bool)
    texts = cell_texts(column)
    missing = (texts.isna() | texts.isin(set(gaps))).to_numpy(bool)
    values = np.full(len(column), np.nan)
    values[~missing] = read_cells(texts[~missing].astype("str"), kind, style)
    if kind == "number" and (is_number := are_numbers(column) & ~missing).any():  # a number among texts is not parsed by their style
        values[is_number] = column[is_number].astype("float64")
    return values, np.isnan(values) & ~missing


def are_numbers(column: pandas.Series) -> np.ndarray:
    """A mask of the cells that are numbers, not texts, truth values or missing."""
    if column.dtype == object:
        return column.map(lambda value: isinstance(value, Number) and not isinstance(value, bool) and value == value).to_numpy(bool)
    return column.notna().to_numpy(bool) & (native_kind(column) == "number")


def native_kind(column: pandas.Series) -> str:
    """The type that a column's dtype states, or an empty text."""
    if types.is_bool_dtype(column.dtype):
        return "truth value"
    if types.is_numeric_dtype(column.dtype):
        return "number"
    if types.is_datetime64_any_dtype(column.dtype):
        return "date"
    return "time" if types.is_timedelta64_dtype(column.dtype) else ""


def of_native(column: pandas.Series, kind: str) -> np.ndarray:
    if kind == "date":
        days = (column.dt.tz_localize("UTC") if column.dt.tz is None else column) - EPOCH
        return (days / pandas.Timedelta(days=1)).to_numpy("float64")
    if kind == "time":
        return column.dt.total_seconds().to_numpy("float64")
    return column.to_numpy("float64", na_value=np.nan)


def read_cells(texts: pandas.Series, kind: str, style: Style) -> np.ndarray:
    """Texts as float64; a text that cannot be read is NaN."""
    if kind == "number":
        return numbers(texts, style)
    if kind == "date":
        return days(texts, style.format)
    return clocks(texts) if kind == "time" else truths(texts)


def numbers(texts: pandas.Series, style: Style) -> np.ndarray:
    if style.sign:
        texts = texts.str.replace(style.sign, "", regex=False).str.strip()
    if style.thousands:
        grouped = texts.str.fullmatch(digit_groups(style.thousands, style.decimal)).to_numpy(bool)
        texts = texts.where(~grouped, texts.str.replace(style.thousands, "", regex=False))
    if style.decimal == ",":
        texts = texts.where(~texts.str.contains(".", regex=False), "").str.replace(",", ".", regex=False)
    return pandas.to_numeric(texts, errors="coerce").to_numpy("float64")


def digit_groups(thousands: str, decimal: str) -> str:
    """A regular expression of numbers with their digits in groups of three."""
    return rf"[+-]?\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+(?:{re.escape(decimal)}\d*)?"


def days(texts: pandas.Series, form: str) -> np.ndarray:
    iso = texts.str.fullmatch(ISO)  # `ISO` leaves out the forms that are numbers too, such as 2020
    times = parsed(texts.where(iso), ISO_FORMAT)
    if form != ISO_FORMAT:
        times = times.where(iso, parsed(texts.where(~iso), form))
    return ((times - EPOCH) / pandas.Timedelta(days=1)).to_numpy("float64")


def parsed(texts: pandas.Series, form: str) -> pandas.Series:
    return pandas.to_datetime(texts, format=form, utc=True, errors="coerce")


def clocks(texts: pandas.Series) -> np.ndarray:
    parts = texts.str.extract(f"^{CLOCK}$").astype("float64").to_numpy()
    return np.where(np.isnan(parts[:, 1]), np.nan, np.nan_to_num(parts) @ [86400, 3600, 60, 1])


def truths(texts: pandas.Series) -> np.ndarray:
    return texts.str.lower().map({"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}).to_numpy("float64")
