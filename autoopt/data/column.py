"""One column of a table, and the numbers that it becomes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
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
    readings,
    unwrapped,
)
from autoopt.data.examples import embedding_width
from autoopt.errors import BadInput

DATE_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "year": lambda times: times.year,
    "month": lambda times: times.month,
    "weekday": lambda times: times.weekday,
    "hour": lambda times: times.hour,
}
Locate = Callable[[int], str]


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
