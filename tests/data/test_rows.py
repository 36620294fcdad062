"""Examples that are read as they are asked for."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from autoopt.data import memory, rows
from autoopt.data.examples import Examples
from autoopt.data.make_task import make_task
from autoopt.data.rows import Joined, Mapped, Rows, ahead, cached, fits
from autoopt.data.scale import Scale
from autoopt.errors import BadInput

SPLIT = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True}


class Counted:
    """A source that tells how much was read of it."""

    def __init__(self, values: torch.Tensor):
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, 0

    def __len__(self):
        return len(self.values)

    def __getitem__(self, numbers):
        assert isinstance(numbers, torch.Tensor)
        self.read += len(numbers)
        return self.values[numbers]


@pytest.fixture
def pixels(tmp_path) -> np.ndarray:
    array = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), dtype="uint8")
    array.tofile(tmp_path / "pixels")
    return np.memmap(tmp_path / "pixels", "uint8", "r", shape=array.shape)


def test_a_mapped_array_gives_copies_in_the_layout_of_images(pixels):
    some = torch.tensor([7, 3])
    assert torch.equal(Mapped(pixels)[some], torch.tensor(pixels[[7, 3]]))
    last = Mapped(pixels, channels_last=True)
    assert last.shape == (50, 3, 4, 5) and torch.equal(last[some], torch.tensor(pixels[[7, 3]]).permute(0, 3, 1, 2))
    grey = Mapped(pixels[..., 0], grey=True)
    assert grey.shape == (50, 1, 4, 5) and torch.equal(grey[some][:, 0], torch.tensor(pixels[[7, 3], ..., 0]))
    assert Mapped(pixels, torch.float32)[some].dtype == torch.float32
    before = int(pixels[7, 0, 0, 0])
    Mapped(pixels)[some].fill_(before ^ 1)
    assert pixels[7, 0, 0, 0] == before


def test_joined_sources_are_one():
    values = torch.randn(9, 2)
    joined = Joined(values[:4], values[4:5], values[5:])
    numbers = torch.tensor([8, 0, 4, 5, 3, 3])
    assert joined.shape == (9, 2) and len(joined) == 9 and torch.equal(joined[numbers], values[numbers])


def test_rows_are_the_tensor_that_they_would_be():
    source, numbers = torch.randint(0, 256, (20, 3, 2, 2), dtype=torch.uint8), torch.tensor([5, 9, 1, 0, 19])
    images = Rows(source, numbers)
    whole = source[numbers].float() / 255
    assert (len(images), images.shape, images.nbytes, images.lazy) == (5, (5, 3, 2, 2), 60, False)
    assert (
        torch.equal(images[:], whole)
        and torch.equal(images[torch.tensor([3, 3, 0])], whole[[3, 3, 0]])
        and torch.equal(images[1:3], whole[1:3])
    )
    words = Rows(torch.arange(12).view(4, 3))
    assert words[:].dtype == torch.int64
    scale = Scale.of(torch.randn(6, 2))
    assert torch.equal(Rows(Counted(torch.ones(4, 2)), torch.tensor([2]), scale)[:], scale.apply(torch.ones(1, 2)))


def test_what_is_read_ahead_comes_in_order_and_by_threads():
    seen = set()

    def read(number):
        seen.add(threading.get_ident())
        return number * 2

    assert list(ahead(read, range(50), 3, 6)) == [*range(0, 100, 2)] and threading.get_ident() not in seen
    generator = ahead(read, range(10**9), 2, 4)
    assert next(generator) == 0
    generator.close()


def test_an_error_while_reading_ahead_is_raised():
    def read(number):
        raise BadInput("broken")

    with pytest.raises(BadInput, match="broken"):
        list(ahead(read, range(3), 1, 1))


# ----------------------------------------------------------------------------------------------------------- where they are kept


def test_a_lazy_source_is_kept_in_memory_where_it_fits(monkeypatch, tmp_path):
    source = Counted(torch.arange(60.0).view(20, 3))
    assert torch.equal(cached(source, "memory", tmp_path), source.values) and source.read == 20
    assert cached(source, "none", tmp_path) is source
    monkeypatch.setattr(rows, "free_memory", lambda: 400)
    assert not fits(source) and cached(source, "memory", tmp_path) is source
    monkeypatch.setattr(rows, "free_memory", lambda: 500)
    assert fits(source)


def test_on_disk_it_is_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "READ_BYTES", 24)
    values = torch.arange(60.0).view(20, 3)
    mapped = cached(Counted(values), "disk", tmp_path / "new")
    assert isinstance(mapped, Mapped) and isinstance(mapped.array, np.memmap) and [*(tmp_path / "new").iterdir()] == []
    assert torch.equal(mapped[torch.arange(20)], values) and cached(mapped, "disk", tmp_path) is mapped


def test_a_disk_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"batches\.cache=disk: the examples cannot be kept in .*file"):
        cached(torch.ones(3, 2), "disk", tmp_path / "file" / "in")


def test_free_memory_where_nothing_limits_the_process(monkeypatch):
    monkeypatch.setattr(memory, "of_machine", lambda: 5e9)
    monkeypatch.setattr(memory, "of_group", lambda: iter(()))
    monkeypatch.setattr(memory, "of_limits", lambda: iter(()))
    assert memory.free_memory() == 5e9


@pytest.mark.slow
def test_free_memory_heeds_the_limits_of_the_process():
    limit = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))"
    code = f"{limit}; from autoopt.data.memory import free_memory; print(free_memory())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 0 < float(said) < 2**30
    assert memory.free_memory() > 2**30


# --------------------------------------------------------------------------------------------------------------------- as a task


def test_a_lazy_table_is_scaled_as_one_in_memory(monkeypatch):
    monkeypatch.setattr(rows, "READ_BYTES", 48)
    inputs = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * 5 + torch.tensor([2.0, 1e4, 0])
    inputs[:, 2] = 7
    targets = torch.arange(100) % 2
    whole = make_task(Examples(inputs, targets, "classification"), SPLIT)
    lazy = make_task(Examples(Counted(inputs), targets, "classification"), SPLIT)
    torch.testing.assert_close(lazy.inputs.mean, whole.inputs.mean)
    torch.testing.assert_close(lazy.inputs.deviation, whole.inputs.deviation, rtol=1e-4, atol=0)
    for part, (x, _) in whole.parts.items():
        torch.testing.assert_close(lazy.parts[part][0][:], x, rtol=1e-3, atol=1e-3)


def test_a_lazy_source_is_not_copied_and_is_looked_through_once_and_once_more_for_the_scale():
    source = Counted(torch.rand(100, 1, 2, 2))
    task = make_task(Examples(source, torch.arange(100) % 2, "classification"), SPLIT)
    assert source.read == 100 + 60 and task.parts["train"][0].lazy and task.input_shape == (1, 2, 2)
    source.values[17] = torch.nan
    with pytest.raises(BadInput, match="not finite"):
        make_task(Examples(source, torch.arange(100) % 2, "classification"), SPLIT)


STREAM = """
import sys
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
import torch, streaming
from autoopt.config import compose
from autoopt.data.memory import kilobytes
from autoopt.orders import Train
from autoopt.space import Space
from autoopt.trial.run import prepare, run

def accuracy(size):
    streaming.generate(Path("images.npz"), size)
    tree = compose(["data=npz", "data.npz.path=images.npz", "model=linear", "study.epochs=1", "device=cpu"])
    world, facts = prepare({{"tree": tree, "store": "."}})
    order = Train(key="0", recipe=Space.of(tree).fitting(facts["absent"]).baseline(), objective="val_accuracy")
    found = run(world, order.json(), lambda *_: False)
    return found["metrics"]["val_accuracy"], world.task.parts["train"][0].lazy

torch.set_num_threads(1)
accuracy(2**24)  # what everything else takes
streaming.limited(int(kilobytes("/proc/self/status", "VmData")) * 1024 + 128 * 2**20)
print(*accuracy(256 * 2**20))
try:
    torch.ones(256 * 2**20, dtype=torch.uint8)
except RuntimeError as error:
    print("refused" if "allocate" in str(error) else error)
"""


@pytest.mark.slow
def test_a_data_set_larger_than_memory_is_trained_on(tmp_path):
    benchmarks = str(Path(__file__).parents[1] / "benchmarks")
    code = STREAM.format(benchmarks=benchmarks)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    accuracy, lazy, refused = done.stdout.split()[-3:]
    assert float(accuracy) > 0.9 and (lazy, refused) == ("True", "refused")
