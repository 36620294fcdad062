"""The cells of a table as texts, and what a text says as a number, a truth value, a date or a time."""

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
"""What stands for a missing value in any column; the words that pandas takes for it."""
PLACEHOLDERS = frozenset(("?", "-", "--", ".", "..", "*", "na", "none", "unknown", "missing", "not available"))
"""What often stands for one, by whatever a column holds besides: it is no evidence against numbers."""
NESTED = (list, tuple, dict, set, bytes, np.ndarray)
EPOCH = pandas.Timestamp("1970-01-01", tz="UTC")
ISO = r"\d{4}-\d{2}(?:-\d{2}(?:[T ]\d{2}(?::?\d{2}(?::?\d{2}(?:[.,]\d+)?)?)?\s*(?:Z|[+-]\d{2}(?::?\d{2})?)?)?)?"
CLOCK = r"(?:([+-]?\d+) days?,? )?\+?(\d{1,3}):(\d{2})(?::(\d{2}(?:\.\d+)?))?"
DAYS = (
    "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y.%m.%d", "%d-%m-%Y", "%m-%d-%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y",
    "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%y",
)  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
FORMATS = ("ISO8601", *(day + clock for day in DAYS for clock in CLOCKS), "%Y%m%d")
"""How dates are written; the last is read only where a column is said to be dates, as it is a number too."""
THOUSANDS = {".": ",' \u00a0\u202f", ",": ".' \u00a0\u202f"}
SIGNS = "%$€£¥₹"
SAMPLE = 200


@dataclass(frozen=True)
class Style:
    """How the texts of a column are written.

    Args:
        decimal: the decimal mark of numbers, a point or a comma.
        thousands: the mark between groups of three digits, where there is one.
        sign: of a currency, or %, which may stand beside a number.
        format: of dates.
    """

    decimal: str = "."
    thousands: str = ""
    sign: str = ""
    format: str = "ISO8601"


PLAIN_STYLE = Style()


def unwrapped(column: pandas.Series) -> pandas.Series:
    """A column without pandas' periods and categories."""
    if isinstance(column.dtype, pandas.PeriodDtype):
        return column.dt.to_timestamp()
    return column.astype(object) if isinstance(column.dtype, pandas.CategoricalDtype) else column


def nested(column: pandas.Series) -> str:
    """What a column holds, where its cells are no values of a table."""
    if types.is_complex_dtype(column):
        return "complex numbers"
    if column.dtype != object and not str(column.dtype).startswith(("list", "struct", "map", "binary", "large_", "fixed_size")):
        return ""
    first = next((value for value in column if isinstance(value, NESTED)), None)
    return "" if first is None else "mappings" if isinstance(first, dict) else "bytes" if isinstance(first, bytes) else "lists"


def cell_texts(column: pandas.Series) -> pandas.Series:
    """Cells as texts without space around them; missing values stay missing."""
    column = unwrapped(column)
    if isinstance(column.dtype, pandas.StringDtype):
        return column.str.strip()
    return column.astype(object).where(column.notna()).map(cell_text, na_action="ignore")


def cell_text(value: Any) -> str:
    """A value as a text; whole floats as integers are, since a gap makes floats of a column of integers."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def readings(column: pandas.Series, kind: str, style: Style, gaps: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """A column that is no category, as float64: gaps are NaN, dates days since 1970, times seconds.

    Args:
        gaps: texts that stand for a missing value.

    Returns:
        the values, and a mask of the cells that are neither missing nor readable.
    """
    column = unwrapped(column)
    if kind == native_kind(column):
        return of_native(column, kind), np.zeros(len(column), bool)
    said = cell_texts(column)
    missing = (said.isna() | said.isin(set(gaps))).to_numpy(bool)
    values = np.full(len(column), np.nan)
    values[~missing] = read_cells(said[~missing].astype("str"), kind, style)
    if kind == "number" and column.dtype == object:  # what is a number already is written in no style
        known = column.map(lambda value: isinstance(value, Number) and not isinstance(value, bool)).to_numpy(bool) & ~missing
        values[known] = column[known].astype("float64")
    return values, np.isnan(values) & ~missing


def native_kind(column: pandas.Series) -> str:
    """The type that a column's own dtype says, if it says one."""
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


def read_cells(said: pandas.Series, kind: str, style: Style) -> np.ndarray:
    """Texts as float64; what cannot be read is NaN."""
    if kind == "number":
        return numbers(said, style)
    if kind == "date":
        return days(said, style.format)
    return clocks(said) if kind == "time" else truths(said)


def numbers(said: pandas.Series, style: Style) -> np.ndarray:
    if style.sign:
        said = said.str.replace(style.sign, "", regex=False).str.strip()
    if style.thousands:
        grouped = said.str.fullmatch(digit_groups(style.thousands, style.decimal)).to_numpy(bool)
        said = said.where(~grouped, said.str.replace(style.thousands, "", regex=False))
    if style.decimal == ",":
        said = said.where(~said.str.contains(".", regex=False), "").str.replace(",", ".", regex=False)
    return pandas.to_numeric(said, errors="coerce").to_numpy("float64")


def digit_groups(thousands: str, decimal: str) -> str:
    """Digits in groups of three, as a regular expression."""
    return rf"[+-]?\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+(?:{re.escape(decimal)}\d*)?"


def days(said: pandas.Series, form: str) -> np.ndarray:
    iso = said.str.fullmatch(ISO)  # without forms that are numbers, such as 2020
    times = pandas.to_datetime(said.where(iso), format="ISO8601", utc=True, errors="coerce")
    if form != "ISO8601":
        times = times.where(iso, pandas.to_datetime(said.where(~iso), format=form, utc=True, errors="coerce"))
    return ((times - EPOCH) / pandas.Timedelta(days=1)).to_numpy("float64")


def clocks(said: pandas.Series) -> np.ndarray:
    parts = said.str.extract(f"^{CLOCK}$").astype("float64").to_numpy()
    return np.where(np.isnan(parts[:, 1]), np.nan, np.nan_to_num(parts) @ [86400, 3600, 60, 1])


def truths(said: pandas.Series) -> np.ndarray:
    return said.str.lower().map({"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}).to_numpy("float64")


# ----------------------------------------------------------------------------------------------------------- what a column holds


def told(said: pandas.Series, decimal: str) -> tuple[str, Style]:
    """The type that texts tell, and how they are written.

    Args:
        said: the texts of training examples, none of them missing.
        decimal: the decimal mark.
    """
    said = said[~said.str.lower().isin(PLACEHOLDERS)]
    if few(~said.str.lower().isin(("true", "false")).to_numpy(bool), said):
        return "truth value", PLAIN_STYLE
    if said.str.fullmatch(r"0\d+").any():  # a code: as a number it would lose its zeros
        return "category", PLAIN_STYLE
    for kind in ("number", "date", "time"):
        style = style_of(said, kind, decimal, FORMATS[:-1])
        if few(np.isnan(read_cells(said, kind, style)), said):
            return kind, style
    return "category", PLAIN_STYLE


def few(unread: np.ndarray, said: pandas.Series) -> bool:
    """Whether what cannot be read is but few cells, or few words among many values; some can be read."""
    share = unread.mean() if len(unread) else 1.0
    return bool(share <= 0.1 or (share <= 0.5 and said[unread].nunique() <= 0.1 * said.nunique()))


def style_of(said: pandas.Series, kind: str, decimal: str, formats: Sequence[str] = FORMATS) -> Style:
    """How the texts of a column are written whose type is known."""
    if kind == "date":
        return Style(format=date_format(said, formats))
    return number_style(said, decimal) if kind == "number" else PLAIN_STYLE


def number_style(said: pandas.Series, decimal: str) -> Style:
    """The sign that most numbers have beside them, and the mark between groups of digits where some have it."""
    odd = said[np.isnan(numbers(said, Style(decimal)))]
    sign = next((sign for sign in SIGNS if 2 * odd.str.contains(sign, regex=False).sum() > len(said)), "")
    bare = odd.str.replace(sign, "", regex=False).str.strip() if sign else odd
    counts = {mark: int(bare.str.fullmatch(digit_groups(mark, decimal)).sum()) for mark in THOUSANDS[decimal]}
    mark = max(counts, key=counts.__getitem__)
    return Style(decimal, mark if counts[mark] else "", sign)


def date_format(said: pandas.Series, formats: Sequence[str]) -> str:
    """The format that reads most of the texts; the first of those that read as many."""
    shown = said[said.str.contains(r"\d")].drop_duplicates().head(SAMPLE)
    counts = [int(np.isfinite(days(shown, form)).sum()) for form in formats] if len(shown) else [0]
    return formats[counts.index(max(counts))]


def decimal_mark(columns: Iterable[pandas.Series], undecided: str) -> str:
    """The decimal mark, by the numbers that can be meant in one way only: 0,5 or 1.234,5 are not 0.5 or 1,234.5."""
    votes = {".": 0, ",": 0}
    for said in columns:
        if undecided == "." and not said.str.contains(r",|\..*\.").any():
            votes["."] += 1
            continue
        for mark, other in (".,", ",."):
            votes[mark] += int(said.str.fullmatch(clear(re.escape(mark), re.escape(other))).sum())
    return undecided if votes["."] == votes[","] else max(votes, key=votes.__getitem__)


def clear(decimal: str, other: str) -> str:
    """Numbers whose decimal mark cannot stand between thousands, as a regular expression."""
    alone = rf"\d*{decimal}(?:\d\d?|\d{{4,}})|(?:0?|\d{{4,}}){decimal}\d+|\d+{decimal}\d+e[+-]?\d+"
    grouped = rf"\d{{1,3}}(?:{other}\d{{3}})+{decimal}\d+|\d{{1,3}}(?:{other}\d{{3}}){{2,}}"
    beside = rf"[{re.escape(SIGNS)}\s]*"
    return rf"(?i){beside}[+-]?(?:{alone}|{grouped}){beside}"
