"""The arrays of an npz file; arrays that are not compressed are mapped into memory."""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from autoopt.errors import BadInput, no_file, one_line

LOCAL_HEADER = struct.Struct("<26xHH")
"""The header of a member of a zip file: the lengths of the name and of the extra field, which follow it."""


class Archive:
    """An npz file.

    Raises:
        BadInput: the file is missing, or is not an npz file.
    """

    def __init__(self, path: Path, where: str):
        self.path, self.where = path, where
        if not path.is_file():
            raise BadInput(f"{where}.path: {no_file(path)}")
        try:
            with zipfile.ZipFile(path) as zipped:
                self.members = {m.filename.removesuffix(".npy"): m for m in zipped.infolist()}
        except (OSError, zipfile.BadZipFile) as error:
            raise BadInput(f"{where}.path: {path} cannot be read as npz: {error}") from error

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def array(self, name: str) -> np.ndarray:
        """One array: a `numpy.memmap` if it is not compressed, else an array in memory.

        Raises:
            BadInput: the array is corrupt, or holds Python objects.
        """
        member = self.members[name]
        try:
            if member.compress_type != zipfile.ZIP_STORED:
                with np.load(self.path, allow_pickle=False) as arrays:
                    return arrays[name]
            with self.path.open("rb") as file:
                file.seek(member.header_offset)
                file.seek(sum(LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))), 1)
                version = npy.read_magic(file)
                shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
                if dtype.hasobject:
                    raise ValueError("it holds Python objects")
                return np.memmap(file, dtype, "r", file.tell(), shape, "F" if fortran else "C")
        except (OSError, ValueError, struct.error, zipfile.BadZipFile, zlib.error) as error:
            raise BadInput(f"{self.where}: '{name}' in {self.path} cannot be read: {one_line(error)}") from error


@dataclass(frozen=True)
class Columns(Mapping[str, np.ndarray]):
    """The arrays of an npz file as columns for a split, read on demand.

    Args:
        count: how many examples there are.
    """

    archive: Archive
    count: int

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.archive:
            raise KeyError(name)
        array = self.archive.array(name)
        if array.shape != (self.count,):
            seen = f"'{name}' in {self.archive.path} has the shape {array.shape}"
            raise BadInput(f"{self.archive.where}: {seen}; expected one value for each of the {self.count} examples")
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self.archive.members)

    def __len__(self) -> int:
        return len(self.archive.members)
