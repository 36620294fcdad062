"""An exported folder, such as a study's best/, as its model.json tells it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from autoopt.errors import BadInput

KNOWN = ("kind", "input_shape", "outputs", "classes", "inputs", "targets", "tokens", "categories", "encoding", "versions")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_card(path: Path) -> dict[str, Any]:
    """What model.json of an exported folder says, once the weights are seen to be those that it describes.

    Raises:
        BadInput: a file is missing or is not as it was written.
        FileNotFoundError: there is no such folder.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}/model.json")
    try:
        found = json.loads((path / "model.json").read_text())
        seen = digest(path / "model.safetensors")
    except FileNotFoundError as error:
        raise BadInput(f"{error.filename} is missing") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {type(error).__name__}: {error}") from error
    lost = {"recipe", "sha256", *KNOWN} - found.keys() if isinstance(found, dict) else {"everything"}
    if lost:
        raise BadInput(f"{path}/model.json lacks {', '.join(sorted(lost))}")
    if found["sha256"] != seen:
        raise BadInput(f"{path}/model.safetensors is not the one that model.json describes")
    return found
