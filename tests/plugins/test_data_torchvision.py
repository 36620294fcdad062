"""Data sets of torchvision: what is made of a class with `__getitem__`, and the real package where it can be imported."""

import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from autoopt.data.make_task import make_task
from autoopt.domain import Unavailable
from autoopt.errors import BadInput
from autoopt.plugins.data import torchvision as plugin
from autoopt.technique import find

SPLIT = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True}


class VisionDataset:
    """As torchvision's: a root and transforms, which a class below it passes on."""

    def __init__(self, root, transform=None):
        self.root = root


class Digits(VisionDataset):
    """Grey images in memory, by `train`."""

    classes = ("0 - zero", "1 - one")
    target = int

    def __init__(self, root, train=True, download=True, **more):
        if download:
            raise AssertionError("downloaded")
        super().__init__(root, **more)
        self.count = 12 if train else 4

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        return Image.fromarray(np.full((4, 6), 10 * number, "uint8")), self.target(number % 2)


class Letters(Digits):
    def __init__(self, root, what, **more):
        super().__init__(root, **more)


class Files(VisionDataset):
    """Image files, by `split`, opened by a loader; the test part has no targets."""

    splits = ("trainval", "val", "test")

    def __init__(self, root, split="trainval", loader=Image.open):
        if split not in self.splits:
            raise ValueError(f"Unknown value '{split}' for argument split. Valid values are {self.splits}.")
        super().__init__(root)
        self.split, self.loader = split, loader
        self.files = sorted(Path(root).glob(f"{split}*.png"))
        if not self.files:
            raise RuntimeError("Dataset not found. You can use download=True to download it")

    def __len__(self):
        return len(self.files)

    def __getitem__(self, number):
        return self.loader(self.files[number]), None if self.split == "test" else np.int64(number % 3)


class Boxes(Digits):
    target = staticmethod(lambda number: {"boxes": []})


class Pairs(Digits):
    def __getitem__(self, number):
        return (*super().__getitem__(number), 0)


class Whole(VisionDataset):
    def __len__(self):
        return 20

    def __getitem__(self, number):
        return Image.fromarray(np.full((4, 4, 3), number, "uint8")), torch.tensor(number % 2)


class Extra(Whole):
    def __init__(self, root, split="extra"):
        raise ValueError(f"Unknown value '{split}' for argument split. Valid values are {{'extra'}}.")


class Uninstalled(VisionDataset):
    def __init__(self, root):
        raise ModuleNotFoundError("No module named 'h5py'")


CLASSES = (VisionDataset, Digits, Letters, Files, Boxes, Pairs, Whole, Extra, Uninstalled)


@pytest.fixture(autouse=True)
def datasets(monkeypatch):
    found = SimpleNamespace(__all__=[kind.__name__ for kind in CLASSES], **{kind.__name__: kind for kind in CLASSES})
    monkeypatch.setattr(plugin, "datasets", found)


def write_files(root: Path, sizes=((5, 5),)) -> None:
    for split, count in {"trainval": 9, "val": 3, "test": 2}.items():
        for number in range(count):
            width, height = sizes[number % len(sizes)]
            Image.fromarray(np.full((height, width, 3), number, "uint8")).save(root / f"{split}{number}.png")


def lengths(examples) -> dict[str, int]:
    return {part: len(rows) for part, rows in (examples.splits or {}).items()}


def test_train_and_test_sets_are_the_parts_and_nothing_is_downloaded(tmp_path):
    examples = plugin.torchvision(name="Digits", root=str(tmp_path))
    assert examples.inputs.shape == (16, 1, 4, 6) and examples.inputs.dtype == torch.uint8
    assert examples.inputs[torch.tensor([3, 15])].flatten(1).unique(dim=1).tolist() == [[30], [30]]
    assert examples.targets.tolist() == [n % 2 for n in [*range(12), *range(4)]] and examples.classes == ("0 - zero", "1 - one")
    assert lengths(examples) == {"train": 12, "test": 4}
    assert make_task(examples, SPLIT).class_counts.tolist() == [4, 5]


def test_splits_are_the_parts_and_files_are_read_as_they_are_asked_for(tmp_path):
    write_files(tmp_path)
    examples = plugin.torchvision(name="Files", root=str(tmp_path))
    assert lengths(examples) == {"train": 9, "validation": 3} and examples.notes == ("the test part has no targets and is not read",)
    assert examples.inputs.shape == (12, 3, 5, 5) and examples.inputs[torch.tensor([8])].unique().tolist() == [8]
    Image.new("RGB", (5, 5), (99, 99, 99)).save(tmp_path / "trainval8.png")
    assert examples.inputs[torch.tensor([8])].unique().tolist() == [99]


def test_arguments_select_one_set(tmp_path):
    write_files(tmp_path)
    examples = plugin.torchvision(name="Files", root=str(tmp_path), arguments=["split:val"])
    assert len(examples.inputs) == 3 and examples.splits is None
    examples = plugin.torchvision(name="Letters", root=str(tmp_path), arguments=["what:x"])
    assert lengths(examples) == {"train": 12, "test": 4}  # `train` is an argument of the class above


def test_a_data_set_without_parts_is_split(tmp_path):
    task = make_task(plugin.torchvision(name="Whole", root=str(tmp_path)), SPLIT)
    assert task.input_shape == (3, 4, 4) and len(task.parts["train"][1]) == 12 and task.classes == ()


def test_images_of_several_sizes_are_resized_where_that_is_said(tmp_path):
    write_files(tmp_path, ((5, 5), (5, 7)))
    with pytest.raises(BadInput, match=r"the images are of several sizes, 5 x 5 and 5 x 7; say data\.torchvision\.size=64"):
        plugin.torchvision(name="Files", root=str(tmp_path))
    assert plugin.torchvision(name="Files", root=str(tmp_path), size=6).inputs.shape == (12, 3, 6, 6)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("digits",), r"data\.torchvision\.name=digits: torchvision has no such data set; did you mean Digits\?"),
        (("VisionDataset",), r"no such data set; see the classes of torchvision\.datasets"),
        (("Files",), r"data\.torchvision\.root: the train part of Files cannot be read from .*: Dataset not found\. Nothing is downloaded"),
        (("Extra",), r"Extra: it has no split for training; name one: 'data\.torchvision\.arguments=\[split:…\]'"),
        (("Boxes",), r"example 0 of Boxes is \(Image, dict\); expected an image and its class; other targets need a LightningDataModule"),
        (("Pairs",), r"example 0 of Pairs is \(Image, int, int\); expected an image and its class"),
        (("Letters",), r"data\.torchvision\.arguments: Letters: .*missing 1 required positional argument: 'what'"),
        (("Digits", "download"), r"data\.torchvision\.arguments: Digits has no argument 'download' to set\. Known: train\."),
        (("Files", "split"), r"data\.torchvision\.arguments: Files: Unknown value 'no' for argument split"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, names, message):
    name, *keys = names
    with pytest.raises(BadInput, match=message):
        plugin.torchvision(name=name, root=str(tmp_path), arguments=[f"{key}:no" for key in keys])


def test_arguments_are_written_as_name_and_value():
    assert dict(map(plugin.argument, ["split:letters", "folds:3", "small:true"])) == {"split": "letters", "folds": 3, "small": True}
    with pytest.raises(BadInput, match=r"data\.torchvision\.arguments: expected name:value, got 'letters'"):
        plugin.argument("letters")


def test_missing_folders_and_packages_are_said(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match=r"there is no folder .*none; nothing is downloaded: put the files of Digits there"):
        plugin.torchvision(name="Digits", root=str(tmp_path / "none"))
    with pytest.raises(Unavailable, match=r"Uninstalled: No module named 'h5py'"):
        plugin.torchvision(name="Uninstalled", root=str(tmp_path))
    monkeypatch.setattr(plugin, "datasets", None)
    monkeypatch.setattr(plugin, "missing", "RuntimeError: operator torchvision::nms does not exist", raising=False)
    with pytest.raises(Unavailable, match=r"torchvision cannot be imported: RuntimeError: .* \(pip install .*\[torchvision\]'"):
        plugin.torchvision(name="Digits", root=str(tmp_path))


def test_a_folder_by_name_is_searched_with_an_image_model():
    assert find("data", "torchvision").acts.preset == "images"


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


def test_mnist_of_torchvision_itself(tmp_path, monkeypatch):
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:  # RuntimeError: it does not fit torch
        pytest.skip(f"torchvision cannot be imported: {error}")
    monkeypatch.setattr(plugin, "datasets", datasets)
    for part, count in {"train": 20, "t10k": 10}.items():
        labels = np.arange(count, dtype="uint8") % 10
        write_idx(tmp_path / "MNIST" / "raw" / f"{part}-labels-idx1-ubyte", labels)
        write_idx(tmp_path / "MNIST" / "raw" / f"{part}-images-idx3-ubyte", np.broadcast_to(labels[:, None, None], (count, 28, 28)))
    examples = plugin.torchvision(name="MNIST", root=str(tmp_path))
    assert lengths(examples) == {"train": 20, "test": 10} and examples.classes[9] == "9 - nine"
    assert torch.equal(examples.inputs[torch.arange(30)].flatten(1).amax(1), examples.targets.byte())
    with pytest.raises(BadInput, match=r"FashionMNIST cannot be read from .*: Dataset not found\. Nothing is downloaded"):
        plugin.torchvision(name="FashionMNIST", root=str(tmp_path))
