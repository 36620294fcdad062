"""Writes the data of the documentation into the working directory, always the same: houses.csv, photos/, flats.csv, scans.npz."""

from pathlib import Path

import numpy as np
from PIL import Image

STREETS = ["Lindenweg", "Hauptstraße", "Am Markt", "Seeblick"]


def decimal_comma(number: float) -> str:
    return f"{number:.1f}".replace(".", ",")


def houses(path: str = "houses.csv", rows: int = 400) -> None:
    """A table as a spreadsheet writes it: semicolons, decimal commas, dates, and cells without a value."""
    draw = np.random.default_rng(0)
    lines = ["id;street;rooms;area;built;garden;price"]
    for number in range(rows):
        street, rooms, garden, year = draw.integers(4), draw.integers(1, 8), draw.integers(2), draw.integers(1950, 2024)
        area = 18 * rooms + draw.normal(20, 8)
        price = 40 + 2.1 * area + 35 * street + 30 * garden + 0.8 * (year - 1950) + draw.normal(0, 12)
        known = draw.random() > 0.05
        date = f"{draw.integers(1, 29):02}.{draw.integers(1, 13):02}.{year}"
        cells = [f"H{number:04}", STREETS[street], f"{rooms}", decimal_comma(area) if known else "", date, "ja" if garden else "nein"]
        lines.append(";".join([*cells, decimal_comma(price)]))
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def photos(path: str = "photos", each: int = 60, size: int = 24) -> None:
    """Noisy pictures of crosses, rings and squares, a folder for each class."""
    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    for label in ("cross", "ring", "square"):
        (Path(path) / label).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            row, column, radius = (*draw.integers(8, size - 8, 2), draw.integers(4, 8))
            pixels = draw.integers(0, 90, (size, size, 3))
            pixels += drawn(label, abs(columns - column), abs(rows - row), radius)[..., None] * draw.integers(60, 160, 3)
            Image.fromarray(pixels.astype("uint8")).save(Path(path) / label / f"{number:03}.png")


def drawn(label: str, dx: np.ndarray, dy: np.ndarray, radius: int) -> np.ndarray:
    """The pixels of a shape, by their distances from its middle."""
    if label == "cross":
        return (np.minimum(dx, dy) < 1.5) & (np.maximum(dx, dy) <= radius)
    distance = np.hypot(dx, dy) if label == "ring" else np.maximum(dx, dy)
    return abs(distance - radius) < 1.5


def flats(path: str = "flats.csv", rows: int = 300) -> None:
    """A table with two columns of 0 and 1 that depend on the others."""
    draw = np.random.default_rng(0)
    floor, size = draw.integers(0, 9, rows), draw.integers(30, 140, rows)
    garden, lift = (floor < 1) | (size + draw.normal(0, 20, rows) > 130), floor + draw.normal(0, 1, rows) > 3
    table = np.column_stack([floor, size, garden, lift]).astype(int)
    np.savetxt(path, table, "%d", delimiter=",", header="floor,size,garden,lift", comments="")


def scans(path: str = "scans.npz", count: int = 200, size: int = 16) -> None:
    """Grey images (N, height, width) of two kinds: bright on the left or on the right."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, count)
    x = draw.random((count, size, size)) + np.where(y[:, None] > 0, np.linspace(0, 0.5, size), np.linspace(0.5, 0, size))[:, None]
    np.savez(path, x=x.clip(0, 1), y=y)


if __name__ == "__main__":
    houses()
    photos()
    flats()
    scans()
