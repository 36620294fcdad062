"""The cells of a table as texts, and texts that are read as numbers, truth values, dates or times."""

import re
from collections.abc import Iterable, Sequence
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
PLACEHOLDERS = frozenset(("?", "-", "--", ".", "..", "*", "na", "none", "unknown", "missing", "not available"))
"""Texts that often mean a missing value; they do not count when the type of a column is decided."""
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
FORMATS = ("ISO8601", *(day + clock for day in DAYS for clock in CLOCKS), "%Y%m%d")
"""The formats of dates; the last is a number too, so it is only tried on a column that the user declares to be dates."""
THOUSANDS = {".": ",' \u00a0\u202f", ",": ".' \u00a0\u202f"}
SIGNS = "%$€£¥₹"
SAMPLE = 200


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
    times = pandas.to_datetime(texts.where(iso), format="ISO8601", utc=True, errors="coerce")
    if form != "ISO8601":
        times = times.where(iso, pandas.to_datetime(texts.where(~iso), format=form, utc=True, errors="coerce"))
    return ((times - EPOCH) / pandas.Timedelta(days=1)).to_numpy("float64")


def clocks(texts: pandas.Series) -> np.ndarray:
    parts = texts.str.extract(f"^{CLOCK}$").astype("float64").to_numpy()
    return np.where(np.isnan(parts[:, 1]), np.nan, np.nan_to_num(parts) @ [86400, 3600, 60, 1])


def truths(texts: pandas.Series) -> np.ndarray:
    return texts.str.lower().map({"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}).to_numpy("float64")


# ----------------------------------------------------------------------------------------------------------- what a column holds


def text_type(texts: pandas.Series, decimal: str) -> tuple[str, Style]:
    """The type of a column by its texts, and how these are written.

    Args:
        texts: those of the training examples, without missing values.
        decimal: the decimal mark.
    """
    texts = texts[~texts.str.lower().isin(PLACEHOLDERS)]
    if few(~texts.str.lower().isin(("true", "false")).to_numpy(bool), texts):
        return "truth value", PLAIN_STYLE
    if texts.str.fullmatch(r"0\d+").any():  # codes such as 007, which would lose their zeros as numbers
        return "category", PLAIN_STYLE
    for kind in ("number", "date", "time"):
        style = style_of(texts, kind, decimal, FORMATS[:-1])
        if few(np.isnan(read_cells(texts, kind, style)), texts):
            return kind, style
    return "category", PLAIN_STYLE


def few(unread: np.ndarray, texts: pandas.Series) -> bool:
    """Whether only few cells cannot be read, or only few different words among many values."""
    share = unread.mean() if len(unread) else 1.0
    return bool(share <= 0.1 or (share <= 0.5 and texts[unread].nunique() <= 0.1 * texts.nunique()))


def style_of(texts: pandas.Series, kind: str, decimal: str, formats: Sequence[str] = FORMATS) -> Style:
    """How the texts of a column of a given type are written."""
    if kind == "date":
        return Style(format=date_format(texts, formats))
    return number_style(texts, decimal) if kind == "number" else PLAIN_STYLE


def number_style(texts: pandas.Series, decimal: str) -> Style:
    """The sign beside most of the numbers, and the mark between groups of digits in some of them."""
    unread = texts[np.isnan(numbers(texts, Style(decimal)))]
    sign = next((sign for sign in SIGNS if 2 * unread.str.contains(sign, regex=False).sum() > len(texts)), "")
    bare = unread.str.replace(sign, "", regex=False).str.strip() if sign else unread
    counts = {mark: int(bare.str.fullmatch(digit_groups(mark, decimal)).sum()) for mark in THOUSANDS[decimal]}
    mark = max(counts, key=counts.__getitem__)
    return Style(decimal, mark if counts[mark] else "", sign)


def date_format(texts: pandas.Series, formats: Sequence[str]) -> str:
    """The format that reads the most texts; of equals, the first.

    It is told by texts from everywhere: the first ones, such as the hours of a week, may all be of days up to the 12th.
    """
    distinct = texts[texts.str.contains(r"\d")].drop_duplicates()
    sample = distinct.sample(min(SAMPLE, len(distinct)), random_state=0)
    counts = [int(np.isfinite(days(sample, form)).sum()) for form in formats] if len(sample) else [0]
    return formats[counts.index(max(counts))]


def swapped(form: str) -> str:
    """The known format with the day and the month the other way round; empty where dates are not written so."""
    other = form.translate(str.maketrans("md", "dm")) if "%d" in form and "%m" in form else ""
    return other if other in FORMATS else ""


def decimal_mark(columns: Iterable[pandas.Series], undecided: str) -> str:
    """The decimal mark, by the numbers that can be read in one way only, such as 0,5 and 1.234,5.

    Args:
        columns: their texts.
        undecided: the answer where both marks have equally many votes.
    """
    votes = {".": 0, ",": 0}
    for texts in columns:
        if undecided == "." and not texts.str.contains(r",|\..*\.").any():
            votes["."] += 1
            continue
        for mark, other in (".,", ",."):
            votes[mark] += int(texts.str.fullmatch(clear(re.escape(mark), re.escape(other))).sum())
    return undecided if votes["."] == votes[","] else max(votes, key=votes.__getitem__)


def clear(decimal: str, other: str) -> str:
    """A regular expression of numbers whose decimal mark cannot be one between thousands."""
    alone = rf"\d*{decimal}(?:\d\d?|\d{{4,}})|(?:0?|\d{{4,}}){decimal}\d+|\d+{decimal}\d+e[+-]?\d+"
    grouped = rf"\d{{1,3}}(?:{other}\d{{3}})+{decimal}\d+|\d{{1,3}}(?:{other}\d{{3}}){{2,}}"
    beside = rf"[{re.escape(SIGNS)}\s]*"
    return rf"(?i){beside}[+-]?(?:{alone}|{grouped}){beside}"
