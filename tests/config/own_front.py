"""Names that stand elsewhere."""

from own_parts import Thing as Renamed
from own_parts import make

__all__ = ["Renamed", "make"]
