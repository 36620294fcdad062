"""Scripts as processes of their own, forked from one that has imported what takes seconds, but neither Lightning nor autoopt."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

SERVER = """
import json, os, runpy, sys, tempfile, traceback
import matplotlib.pyplot, pandas, scipy.signal, sklearn.datasets, torch._dynamo, torch.onnx, torchmetrics
assert not {"lightning", "pytorch_lightning", "lightning_fabric", "autoopt"} & sys.modules.keys()

def be(path, arguments, folder, environment):
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv, sys.path[0] = [path, *arguments], folder
    try:
        runpy.run_path(path, run_name="__main__")
        return 0
    except BaseException:
        traceback.print_exc()
        return 1

for line in sys.stdin:
    files = [tempfile.TemporaryFile("w+") for _ in "oe"]
    if not (child := os.fork()):
        for number, file in enumerate([open(os.devnull), *files]):
            os.dup2(file.fileno(), number)
        code = be(*json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for file in files:
        file.seek(0)
    print(json.dumps([code, *(file.read() for file in files)]), flush=True)
"""


@cache
def server() -> subprocess.Popen:
    """The process that is forked; it ends with its standard input, as this process does."""
    return subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(path: Path, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a script in a folder to its end."""
    server().stdin.write(json.dumps([str(path), arguments, str(folder), environment]) + "\n")
    server().stdin.flush()
    return subprocess.CompletedProcess([path, *arguments], *json.loads(server().stdout.readline()))
