import csv
import io
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pandas
import torch

from autoopt.data.dialect import encoding_of, open_unpacked
from autoopt.data.examples import Examples
from autoopt.data.files import Sheet, parts_of, read_file
from autoopt.data.splits import contiguous_parts
from autoopt.data.words import Texts
from autoopt.domain import Bounds

WHERE = "data.text"
HEADERS = ("label", "labels", "class", "category", "target", "y")
"""Names of the column of labels in a header."""


def text(
    *,
    path: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    separator: str = r"\t",
    length: Annotated[int, Bounds(1)] = 128,
    vocabulary: Annotated[int, Bounds(3)] = 10_000,
) -> Examples:
    """Labelled lines in one file (`path`) or in one file for each part: a class, a separator and a text.

    The first `length` words of a text become indices into a vocabulary of at most `vocabulary` entries, with the most frequent
    words of the training part that occur in it twice or more: 0 is padding, 1 is any other word. Words are runs of letters and
    digits; each mark is a word. A first line such as `label` and `text` is a header.

    Zhang et al. 2015, arXiv:1509.01626.

    Raises:
        Unavailable: no file is given for training.
        BadInput: a file cannot be read, or a line has no class or no text.
    """
    files = parts_of(WHERE, path, train, val, test)
    read = partial(labelled_lines, separator=separator.replace(r"\t", "\t"))
    frames = {part: read_file(WHERE, file, read).frame for part, file in files.items()}
    table = pandas.concat(frames.values(), ignore_index=True)
    codes, classes = pandas.factorize(table["label"], sort=True)
    splits = contiguous_parts({part: len(frame) for part, frame in frames.items()})
    inputs = Texts(table["text"].tolist(), length, vocabulary)
    return Examples(inputs, torch.tensor(codes), "classification", tuple(map(str, classes)), splits)


def labelled_lines(file: Path, separator: str) -> Sheet:
    """The label and the text of every line; quotes have a meaning unless the separator is a tab."""
    quoting: Any = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    encoding = encoding_of(file)
    with open_unpacked(file) as stream:
        reader = csv.reader(io.TextIOWrapper(stream, encoding, newline=""), delimiter=separator, quoting=quoting)
        rows = [(n, row) for n, row in enumerate(reader, 1) if row]
    labels = [row[0].strip().lower() for _, row in rows]
    if labels and labels[0] in HEADERS and labels.count(labels[0]) == 1:
        del rows[0]
    for number, row in rows:
        if len(row) < 2 or not row[0].strip() or not row[1].strip():
            raise ValueError(f"line {number} is not a label, {separator!r} and a text")
    return Sheet(pandas.DataFrame([(row[0].strip(), separator.join(row[1:])) for _, row in rows], columns=["label", "text"]))
