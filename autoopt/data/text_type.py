"""The type of a column, by its texts, and how these are written."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas

from autoopt.data.cells import FORMATS, ISO, ISO_FORMAT, PLAIN_STYLE, Style, digit_groups, numbers, parsed, read_cells

PLACEHOLDERS = frozenset(("?", "-", "--", ".", "..", "*", "na", "none", "unknown", "missing", "not available"))
"""Texts that often mean a missing value; they do not count when the type of a column is decided."""
THOUSANDS = {".": ",' \u00a0\u202f", ",": ".' \u00a0\u202f"}
SIGNS = "%$€£¥₹"
SAMPLE = 200


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
    others = sample[~sample.str.fullmatch(ISO).to_numpy(bool)]  # the rest is read with each format
    counts = [int(parsed(others, form).notna().sum()) if form != ISO_FORMAT else 0 for form in formats] if len(others) else [0]
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
