import csv
import io
from functools import partial
from pathlib import Path
from typing import Any

import pandas
import torch

from autoopt.data.dialect import encoding_of, open_unpacked
from autoopt.data.files import Sheet, parts_of, read_file
from autoopt.data.splits import contiguous_parts
from autoopt.data.task import Examples
from autoopt.data.words import Texts
from autoopt.errors import BadInput

WHERE = "data.text"


def text(
    *,
    path: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    separator: str = r"\t",
    length: int = 128,
    vocabulary: int = 10_000,
) -> Examples:
    """Labelled lines, a class and a text with a separator between, in one file (`path`) or in a file a part.

    A text becomes its first `length` words, as indices into the most frequent words of the training part, `vocabulary` at most:
    0 is padding, 1 any other word. Words are told apart by what is no letter or digit, marks are words.

    Zhang et al. 2015, arXiv:1509.01626.

    Raises:
        Unavailable: no file is given.
        BadInput: a file cannot be read, or has a line without a text.
    """
    if length < 1 or vocabulary < 3:
        raise BadInput(f"{WHERE}: length={length}, vocabulary={vocabulary}: expected 1 or more, and 3 or more")
    files = parts_of(WHERE, path, train, val, test)
    read = partial(labelled_lines, separator=separator.replace(r"\t", "\t"))
    frames = {part: read_file(WHERE, file, read).frame for part, file in files.items()}
    table = pandas.concat(frames.values(), ignore_index=True)
    codes, classes = pandas.factorize(table["label"], sort=True)
    splits = contiguous_parts({part: len(frame) for part, frame in frames.items()})
    inputs = Texts(table["text"].tolist(), length, vocabulary)
    return Examples(inputs, torch.tensor(codes), "classification", tuple(map(str, classes)), splits)


def labelled_lines(file: Path, separator: str) -> Sheet:
    """Label and text of every line; quotes count where the separator is no tab."""
    quoting: Any = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    encoding = encoding_of(file)
    with open_unpacked(file) as stream:
        reader = csv.reader(io.TextIOWrapper(stream, encoding, newline=""), delimiter=separator, quoting=quoting)
        rows = [(n, row) for n, row in enumerate(reader, 1) if row]
    for number, row in rows:
        if len(row) < 2 or not row[0].strip() or not row[1].strip():
            raise ValueError(f"line {number} is not a label, {separator!r} and a text")
    return Sheet(pandas.DataFrame([(row[0].strip(), separator.join(row[1:])) for _, row in rows], columns=["label", "text"]))
