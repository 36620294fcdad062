"""Encodings and separators, told by the file."""

import bz2
import gzip
import lzma
import zipfile

import pytest

from autoopt.data.dialect import encoding_of, separator_of

TEXT = "größe;preis\n" + "1;2\n" * 30


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("latin-1", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
    ],
)
def test_encodings(tmp_path, encoding, found):
    (tmp_path / "a").write_bytes(TEXT.encode(encoding))
    assert encoding_of(tmp_path / "a") == found
    assert TEXT.encode(encoding).decode(found) == TEXT


def test_bytes_that_cp1252_lacks_are_latin_1(tmp_path):
    (tmp_path / "a").write_bytes(b"a\x81\xe4;b\n")
    assert encoding_of(tmp_path / "a") == "latin-1"


def test_a_letter_across_two_reads_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr("autoopt.data.dialect.CHUNK", 3)
    (tmp_path / "a").write_text("aaü,b\n1,2\n", encoding="utf-8")
    assert encoding_of(tmp_path / "a") == "utf-8"


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"PAR1\0\0\0\x15\x04\x15")
    with pytest.raises(ValueError, match="it is not a text file"):
        encoding_of(tmp_path / "a")


@pytest.mark.parametrize("write", [gzip.open, bz2.open, lzma.open])
def test_packed_files(tmp_path, write):
    file = tmp_path / {gzip.open: "a.gz", bz2.open: "a.bz2", lzma.open: "a.xz"}[write]
    with write(file, "wb") as stream:
        stream.write(TEXT.encode("latin-1"))
    assert encoding_of(file) == "cp1252" and separator_of(file, "cp1252") == ";"


def test_a_zip_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", TEXT)
    assert encoding_of(tmp_path / "a.zip") == "utf-8" and separator_of(tmp_path / "a.zip", "utf-8") == ";"


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
        ("a\tb\nx, y\tz, w\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("a;b;c\n1,5;2,5;3,5\n", ";"),
        ('a,b\n"x;y",2\n"z;w",3\n', ","),
        ("text\nhello, there\nyou; too\n", ","),
        ("a;b\n1;2\n3;4;5\n", ";"),
    ],
)
def test_separators(tmp_path, text, separator):
    (tmp_path / "a").write_text(text)
    assert separator_of(tmp_path / "a", "utf-8") == separator
