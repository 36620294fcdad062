"""Image files as they lie on disks: turned, deep, transparent, broken."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from autoopt.data.images import Images
from autoopt.data.make_task import make_task
from autoopt.errors import BadInput
from autoopt.plugins.data.image_folder import image_folder

SPLIT = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True}
ORIENTATION = 0x0112
PICTURE = np.random.default_rng(0).integers(0, 256, (6, 6), dtype="uint8")


def read(file: Path, grey: bool = True, size: int = 6) -> torch.Tensor:
    return Images([file], (size, size), grey)[torch.tensor([0])][0]


@pytest.mark.parametrize(
    ("tag", "stored"),
    [
        (1, PICTURE),
        (2, PICTURE[:, ::-1]),
        (3, PICTURE[::-1, ::-1]),
        (4, PICTURE[::-1]),
        (6, np.rot90(PICTURE, 1)),
        (8, np.rot90(PICTURE, -1)),
    ],
)
def test_images_are_turned_upright(tmp_path, tag, stored):
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert torch.equal(read(tmp_path / "a.png")[0], torch.tensor(PICTURE))


@pytest.mark.parametrize(("dtype", "suffix"), [("uint16", "png"), ("uint16", "tif"), ("int32", "tif"), ("float32", "tiff"), (">u2", "tif")])
def test_more_than_8_bits_are_not_clipped(tmp_path, dtype, suffix):
    values = PICTURE.astype(dtype) * (257 if dtype != "float32" else 1)
    Image.fromarray(values.astype(values.dtype.newbyteorder("="))).save(tmp_path / f"a.{suffix}")
    found = read(tmp_path / f"a.{suffix}")
    assert found.dtype == torch.float32 and torch.equal(found[0], torch.tensor(values.astype("float32")))
    assert torch.equal(read(tmp_path / f"a.{suffix}", grey=False), found.expand(3, -1, -1))


def test_files_of_8_bits_count_as_16_among_deep_ones(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    Image.fromarray(PICTURE.astype("uint16") * 257).save(tmp_path / "b.png")
    first, second = Images([tmp_path / "a.png", tmp_path / "b.png"], (6, 6), True)[torch.tensor([0, 1])]
    assert torch.equal(first, second)
    Image.fromarray(PICTURE.astype("float32")).save(tmp_path / "c.tif")
    with pytest.raises(BadInput, match=r"c\.tif holds floating-point numbers and .*b\.png does not; give images of one kind"):
        Images([tmp_path / "b.png", tmp_path / "c.tif"], (6, 6), True)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_stands_before_white(tmp_path, mode):
    pixels = np.zeros((6, 6, 4), dtype="uint8")
    pixels[:3] = (200, 200, 200, 255)  # below, black and wholly transparent
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.quantize(4)
    image.convert(mode).save(tmp_path / "a.png")
    found = read(tmp_path / "a.png", grey=False)
    assert (found[:, :3] == 200).all() and (found[:, 3:] == 255).all()


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "tif"), ("P", "png"), ("LA", "png"), ("1", "png"), ("YCbCr", "jpg")])
def test_other_modes_are_the_same_picture(tmp_path, mode, suffix):
    black_and_white = Image.fromarray(np.where(np.arange(256).reshape(16, 16) % 16 < 8, 0, 255).astype("uint8"))
    black_and_white.convert("RGB" if mode in ("CMYK", "YCbCr") else "L").convert(mode).save(tmp_path / f"a.{suffix}")
    found = read(tmp_path / f"a.{suffix}", grey=False, size=16)
    assert found.dtype == torch.uint8 and (found.float() - torch.tensor(np.array(black_and_white)).float()).abs().max() <= 3


def test_broken_files_are_named_in_one_line(tmp_path):
    files = [tmp_path / f"{n}.jpg" for n in range(9)]
    for file in files:
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype="uint8")).save(file)
    files[2].write_bytes(files[2].read_bytes()[:900])
    files[7].write_bytes(files[7].read_bytes()[:900])
    with pytest.raises(BadInput, match=r"^data: \S+2\.jpg cannot be read as an image: [^;]*; \S+7\.jpg cannot be read as an image: [^;]*$"):
        Images(files, (8, 8), False)[torch.arange(9)]
    for file in files:
        file.write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"0\.jpg cannot .*4\.jpg cannot be read as an image: .* \(and 4 more\)$"):
        Images(files, (8, 8), False)


def write(folder: Path, count: int = 10, dtype: str = "uint8", suffix: str = "png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(np.full((4, 4), 10 * number + 20, dtype="uint8").astype(dtype)).save(folder / f"{number}.{suffix}")


def test_deep_images_are_brought_to_range(tmp_path):
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(10):
            Image.fromarray(np.full((4, 4), 400 * number + 100, dtype="uint16")).save(folder / f"{number}.png")  # 12 bits
    task = make_task(image_folder(path=str(tmp_path), size=4, grey=True), SPLIT)
    assert task.notes[0].endswith("their range is taken as 0 to 4095") and not task.unoffered
    values = task.pixels.invert(task.parts["train"][0][:]).flatten(1)[:, 0] * 4095
    assert all((round(value) - 100) % 400 == 0 for value in values.tolist())


@pytest.mark.parametrize(
    "names",
    [("train", "valid", "test"), ("Training", "Validation", "Testing"), ("TRAIN", "val", "Test")],
)
def test_folders_of_parts_by_the_names_that_people_give_them(tmp_path, names):
    for name, count in zip(names, (6, 3, 2), strict=True):
        for label in ("left", "right"):
            write(tmp_path / name / label, count)
    examples = image_folder(path=str(tmp_path), size=4)
    assert {part: len(rows) for part, rows in examples.splits.items()} == {"train": 12, "validation": 6, "test": 4}
    assert examples.classes == ("left", "right") and examples.notes == ()


def test_a_class_may_have_the_name_of_a_part(tmp_path):
    for name in ("bus", "car", "train"):
        write(tmp_path / name)
    examples = image_folder(path=str(tmp_path), size=4)
    assert examples.classes == ("bus", "car", "train") and examples.splits is None


def test_what_is_not_read_is_told(tmp_path):
    for part in ("train", "test"):
        for name in ("left", "right"):
            write(tmp_path / part / name, 3)
    write(tmp_path / "extra" / "left", 2)
    (tmp_path / "train" / "other").mkdir()
    (tmp_path / "train" / "other" / "a.heic").write_bytes(b"")
    (tmp_path / "train" / "left" / "Thumbs.db").write_bytes(b"")
    write(tmp_path / "train" / "left" / ".ipynb_checkpoints", 1)
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / ".cache" / "x.bin").write_bytes(b"")
    found = image_folder(path=str(tmp_path), size=4)
    assert len(found.inputs) == 12, "without the copies that Jupyter hides"
    assert found.notes == (
        "folders beside the parts were not read: extra",
        "folders without images are no classes: other",
        "2 files were not read: 1 .db, 1 .heic",
    )


def test_parts_that_make_no_sense_are_refused(tmp_path):
    for part in ("val", "test"):
        for name in ("left", "right"):
            write(tmp_path / part / name, 3)
    with pytest.raises(BadInput, match="has folders for test and validation, but none for train"):
        image_folder(path=str(tmp_path), size=4)
    write(tmp_path / "valid" / "left", 3)
    with pytest.raises(BadInput, match=r"val and .*valid are both the validation part; remove one of them"):
        image_folder(path=str(tmp_path), size=4)
    (tmp_path / "valid").rename(tmp_path / "train")
    for file in (tmp_path / "train" / "left").iterdir():
        file.unlink()
    with pytest.raises(BadInput, match="train has no folders with images in them"):
        image_folder(path=str(tmp_path), size=4)
