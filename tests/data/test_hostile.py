"""Data files that are cut, changed or made to do harm: each is read, or refused in a line, and none runs code."""

import io
import os
import pickle
import random
import time
import zipfile
from pathlib import Path

import numpy
import pandas
import pytest
from PIL import Image

from autoopt.config import compose
from autoopt.errors import BadInput
from autoopt.space import Space
from autoopt.store import Store
from autoopt.trial.world import load_task

COUNT = 20
"""Files of each kind."""
SETTINGS = {
    "csv": "data.csv.target=y",
    "parquet": "data.parquet.target=y",
    "npz": "",
    "text": "",
    "image_folder": "",
}


class Canary:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def sound(kind, ran):
    """The bytes of a sound file, and of files of its kind that would do harm."""
    frame = pandas.DataFrame({"x": range(60), "y": ["a", "b"] * 30})
    file, hostile = io.BytesIO(), pickle.dumps(Canary(ran))
    match kind:
        case "csv":
            return frame.to_csv(index=False).encode(), [
                hostile,
                b"x,y\n" + b"9" * 5000 + b",a\n",
                b'"' * 9999,
                b"x,y\n" + b"1,=cmd|' /C x'!A0\n" * 60,
            ]
        case "parquet":
            frame.to_parquet(file)
            return file.getvalue(), [hostile, b"PAR1" + b"\xff" * 99 + b"PAR1", b"PAR1PAR1"]
        case "npz":
            numpy.savez(file, x=numpy.random.default_rng(0).random((60, 4)), y=numpy.arange(60) % 3)
            return file.getvalue(), [hostile, objects(ran), large()]
        case "text":
            return b"a\tsome words\nb\tother words\n" * 40, [hostile, b"\t" * 9999, b"a\t" + b"\x1b[2J" * 999 + b"\n", b"\xff\xfe\x00"]
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue(), [hostile, bomb(), b"\x89PNG\r\n\x1a\n", b"GIF89a" + b"\xff" * 99]


def objects(ran):
    file = io.BytesIO()
    numpy.savez(file, x=numpy.array([Canary(ran)] * 60, dtype=object), y=numpy.arange(60))
    return file.getvalue()


def large():
    """An array that says that it has a thousand billion numbers."""
    header, file = io.BytesIO(), io.BytesIO()
    numpy.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("x.npy", "y.npy"):
            archive.writestr(name, header.getvalue())
    return file.getvalue()


def bomb():
    """A picture of few bytes and a hundred thousand pixels a side."""
    file = io.BytesIO()
    Image.new("1", (8, 8)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    return bytes(data)


def spoilt(kind, ran):
    whole, harmful = sound(kind, ran)
    rng = random.Random(kind)
    yield from harmful
    for number in range(COUNT - len(harmful)):
        data, place = bytearray(whole), rng.randrange(len(whole))
        match number % 4:
            case 0:
                del data[place:]
            case 1:
                for _ in range(5):
                    data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
            case 2:
                data[place:place] = rng.randbytes(64)
            case 3:
                data[place : place + 16] = bytes(16)
        yield bytes(data)


def placed(kind, folder: Path, data):
    """Write a file where its kind is looked for; returns what `path` names."""
    if kind != "image_folder":
        path = folder / f"data.{ {'text': 'txt'}.get(kind, kind) }"
        path.write_bytes(data)
        return path
    for label in "ab":
        (folder / label).mkdir()
        for number in range(12):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / label / f"{number}.png")
    (folder / "a" / "3.png").write_bytes(data)
    return folder


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_hostile_file_is_read_or_refused_in_a_line_and_runs_nothing(tmp_path, kind):
    ran, read, refused = tmp_path / "ran", 0, 0
    settings = [f"data={kind}", f"data.{kind}.path={tmp_path}/x", "model=linear", *filter(None, [SETTINGS[kind]])]
    space = Space.of(compose(settings))
    ((_, _, technique),) = [row for row in space.techniques() if row[0] == "data"]
    tree = space.baseline().tree
    for number, data in enumerate(spoilt(kind, str(ran))):
        folder = tmp_path / str(number)
        folder.mkdir()
        node = {kind: {**tree["data"][kind], "path": str(placed(kind, folder, data))}}
        began = time.monotonic()
        try:
            load_task(technique, {**tree, "data": node}, 0, False, Store(folder))
            read += 1
        except BadInput as error:
            refused += 1
            assert all(line.startswith(("data: ", f"data.{kind}", f"data={kind}: ")) for line in error.problems), error
            assert "\n" not in str(error) and len(str(error)) < 2000, error
        assert time.monotonic() - began < 20, number
    assert read + refused == COUNT and refused
    assert not ran.exists()
