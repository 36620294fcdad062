"""The encoding of a text file, and the separator of a table in it."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO

BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"} | {
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CHUNK, LINES = 2**20, 50
PACKED: dict[str, Callable[..., IO[bytes]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}  # type: ignore[dict-item]
SEPARATORS = ",;\t|"
csv.field_size_limit(2**31 - 1)  # the default refuses fields of more than 131,072 letters


@contextmanager
def open_unpacked(file: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes; as in pandas, its suffix says how it is compressed."""
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive, archive.open(archive.namelist()[0]) as member:
            yield member
    else:
        with PACKED.get(file.suffix, open)(file, "rb") as stream:
            yield stream


def encoding_of(file: Path) -> str:
    """The encoding of a file: by its byte order mark, else the first of UTF-8, cp1252 and latin-1 that reads it.

    Raises:
        ValueError: the file is not text.
    """
    with open_unpacked(file) as stream:
        head = stream.read(CHUNK)
    if (marked := next((name for bom, name in BOMS.items() if head.startswith(bom)), None)) is not None:
        return marked
    if b"\0" in head:
        return without_mark(head)
    return next((name for name in ("utf-8", "cp1252") if decodes(file, name)), "latin-1")


def decodes(file: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with open_unpacked(file) as stream:
            for chunk in iter(partial(stream.read, CHUNK), b""):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def without_mark(head: bytes) -> str:
    """The byte order of UTF-16 without a mark: every other byte of plain letters is 0.

    Raises:
        ValueError: the file is not text.
    """
    zeros = [head[start::2].count(0) / max(1, len(head) // 2) for start in (0, 1)]
    if max(zeros) < 0.7 or min(zeros) > 0.1:
        raise ValueError("it is not a text file")
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def separator_of(file: Path, encoding: str) -> str:
    """The separator that cuts all of the first lines, or else most of them, into the same number of fields, two or more."""
    with open_unpacked(file) as stream:
        lines = list(islice(io.TextIOWrapper(stream, encoding, newline=""), LINES))
    return max(SEPARATORS, key=lambda separator: agreement(lines, separator))


def agreement(lines: list[str], separator: str) -> tuple[float, int]:
    """The share of lines with as many fields as the first line, and that number of fields; zeros for less than two fields."""
    counts = [len(row) for row in csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t") if row]
    if not counts or counts[0] < 2:
        return 0, 0
    return sum(count == counts[0] for count in counts) / len(counts), counts[0]
