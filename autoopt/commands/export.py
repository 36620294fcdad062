"""`autoopt export`"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from autoopt.commands.words import read_words, study_named
from autoopt.deployment.card import KNOWN, read_card
from autoopt.errors import BadInput
from autoopt.store import Store
from autoopt.study.export import Advice, export
from autoopt.study.journal_file import StoreError
from autoopt.study.stored import Stored

HELP = """Usage: autoopt export NAME [TRIAL] [to=DIR] [root=DIR]

Writes a trained model as it is deployed: model.safetensors, model.json, recipe.yaml, a README with the lines that load it,
and model.onnx, checked against the torch model. The model is the study's best, or a trial whose weights were kept: of the
compressed ones those on the front (compress-3), and those of the final comparison (17-final-0).
By default to DIR = the study's folder: best/, or export/TRIAL/."""


def run(arguments: Sequence[str]) -> int:
    said = read_words(arguments, "export", HELP, most=2, known=("root", "to"))
    if said is None:
        return 0
    words, settings = said
    study = study_named(said, "export")
    if "to" in settings:
        check_free(Path(settings["to"]))
    folder = Path(settings["to"]) if "to" in settings else study.path / ("/".join(["export", *words[1:]]) if words[1:] else "best")
    written(study, words[1] if words[1:] else None, folder)
    from autoopt.deployment.load import write_onnx  # seconds of torch, which bad input need not wait for

    print(f"{folder} holds model.safetensors, model.json and recipe.yaml")
    try:
        print(f"and {write_onnx(folder).name}, checked against the torch model")
    except BadInput as error:
        print(f"but no model.onnx: {error}")
    return 0


def check_free(folder: Path) -> None:
    """Raise BadInput where a folder holds, or is, anything else than an earlier export: that would be lost."""
    if folder.exists() and not (folder / "model.json").exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadInput(f"to={folder} is there already, and is no earlier export; name a new folder")


def written(study: Stored, key: str | None, folder: Path) -> None:
    """Write the folder, unless it is the study's own.

    Raises:
        BadInput: the study has no model yet, or the trial's weights were not kept.
    """
    best = study.path / "best"
    if not best.exists():
        raise BadInput(f"{study.name} has no winner yet; autoopt finish {study.name} concludes it")
    card = read_card(best)
    if key is None:
        if folder != best:
            try:
                shutil.copytree(best, folder, dirs_exist_ok=True)
            except OSError as error:
                raise StoreError(f"{folder} cannot be written: {error}") from error
        return
    record = study.record(key)
    weights = Store(study.path).weights(key)
    if not weights.exists():
        raise BadInput(f"the weights of trial {key} were not kept; autoopt train recipe={study.name}/{key} trains it again")
    said = f"Trial {key} of {study.name}: {card['objective']} {record.score:.4f} on validation."
    advice = Advice(f"{study.name}/{key}", said, card["objective"], record.score or 0.0)
    export(folder, record.point, weights, {name: card[name] for name in KNOWN}, advice)
