"""A data set that memory cannot hold: `autoopt train` on a generated npz file, under a limit on what each process may allocate.

The limit is RLIMIT_DATA, which bounds what a process may have in private writable memory (heap, stacks, anonymous maps), so
that a copy of the data set is refused; the file itself is mapped and read through the system's cache. Told is the most that
any process of the run really held of it (RssAnon), beside the same run on a file of a hundredth of the size.

`python tests/benchmarks/streaming.py [GIB [LIMIT_GIB]]`
"""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

AUTOOPT = Path(sys.executable).with_name("autoopt")
SHAPE, CLASSES, PIECE = (3, 64, 64), 4, 4096
GIB = 2**30
QUIET = ("tracking.enabled=false", "executor.workers=1", "study.epochs=1", "batches.size=256", "model=linear", "seed=0")


def generate(path: Path, size: int) -> int:
    """Write so many bytes of images, each class brighter in a corner of its own; how many there are."""
    count, draw = size // int(np.prod(SHAPE)), np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, count)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as zipped:
        with zipped.open("x.npy", "w", force_zip64=True) as file:
            npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, *SHAPE)})
            for start in range(0, count, PIECE):
                file.write(images(labels[start : start + PIECE], draw).tobytes())
        with zipped.open("y.npy", "w") as file:
            npy.write_array(file, labels)
    return count


def images(labels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    pixels = draw.integers(0, 200, (len(labels), *SHAPE), dtype="uint8")
    for each in range(CLASSES):
        top, left = 32 * (each // 2), 32 * (each % 2)
        pixels[labels == each, :, top : top + 32, left : left + 32] += 20
    return pixels


def run(folder: Path, file: Path, limit: int) -> dict[str, float | str]:
    """Train on the file under the limit; what it came to."""
    command = [str(AUTOOPT), "train", "data=npz", f"data.npz.path={file}", *QUIET]
    start, most = time.perf_counter(), 0
    with open(folder / "said.txt", "w") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, preexec_fn=lambda: limited(limit))
        while process.poll() is None:
            most = max([most, *map(anonymous, descendants(process.pid))])
            time.sleep(0.02)
    told = (folder / "said.txt").read_text().strip().splitlines()[-1]
    return {"rc": process.returncode, "seconds": time.perf_counter() - start, "anonymous_mib": most / 1024, "said": told}


def limited(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def descendants(root: int) -> Iterator[int]:
    yield root
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from descendants(int(child))


def anonymous(pid: int) -> int:
    """Kilobytes of anonymous memory that a process holds, what it shares with the one it was forked from included."""
    try:
        return next(int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("RssAnon"))
    except (OSError, StopIteration):
        return 0


def main(gib: float = 4, limit: float = 1) -> None:
    for size in (int(gib * GIB / 100), int(gib * GIB)):
        folder = Path(tempfile.mkdtemp(prefix="streaming-"))
        try:
            if shutil.disk_usage(folder).free < 1.2 * size:
                sys.exit(f"{folder} has no room for {size / GIB:.1f} GiB")
            count = generate(folder / "images.npz", size)
            found = run(folder, folder / "images.npz", int(limit * GIB))
            print(
                f"{size / GIB:.2f} GiB, {count} images, limit {limit} GiB: exit {found['rc']}, {found['seconds']:.0f} s, "
                f"at most {found['anonymous_mib']:.0f} MiB anonymous in a process; {found['said']}",
                flush=True,
            )
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
