"""The card of an exported folder, such as a study's best/: its model.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoopt.config.yaml_file import refuse_deep
from autoopt.errors import BadInput, summary
from autoopt.store import digest

CARD_FACTS = ("kind", "input_shape", "outputs", "classes", "inputs", "targets", "tokens", "categories", "encoding", "lightning", "versions")
"""The facts of the executor that a card keeps."""
TRAINING_SLOTS = ("data", "initializer", "augmentation", "loss", "optimizer", "schedule", "device", "compression")
"""The slots that a trained model does not need; the file of weights holds the structure of a compressed one."""


def shaping(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of a recipe with only those techniques that shape the model."""
    return {**recipe, **{slot: {} for slot in TRAINING_SLOTS}, "trainer": {}}


def read_card(path: Path) -> dict[str, Any]:
    """The card of an exported folder, after a check that the weights are the ones that it describes.

    Raises:
        BadInput: a file is missing or was changed.
        FileNotFoundError: the folder does not exist.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}/model.json")
    try:
        card = json.loads((path / "model.json").read_text(encoding="utf-8"))
        refuse_deep(card)
        sha256 = digest(path / "model.safetensors")
    except FileNotFoundError as error:
        raise BadInput(f"{error.filename} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: {summary(error)}") from error
    missing = {"recipe", "sha256", *CARD_FACTS} - card.keys() if isinstance(card, dict) else {"everything"}
    if missing:
        raise BadInput(f"{path}/model.json lacks {', '.join(sorted(missing))}")
    if card["sha256"] != sha256:
        raise BadInput(f"{path}/model.safetensors is not the one that model.json describes")
    return card
