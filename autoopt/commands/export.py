"""`autoopt export`"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from autoopt.commands.words import read_words, study_named
from autoopt.deployment.card import KNOWN, read_card
from autoopt.errors import BadInput, StoreFault
from autoopt.report.numbers import number
from autoopt.store import Store
from autoopt.study.export import Advice, export
from autoopt.study.journal_file import StoreError
from autoopt.study.stored import Stored

HELP = """Usage: autoopt export NAME [TRIAL] [to=DIR] [root=DIR] [trust=module:object,…]

Writes a trained model for deployment: model.safetensors, model.json, recipe.yaml, a README with the lines that load it,
model.ckpt of a LightningModule, and model.onnx, checked against the torch model. The model is the study's best, or a trial
whose weights were kept: a compressed model of the Pareto front (compress-3), or a training of the final comparison (17-final-0).
DIR is by default best/ or export/TRIAL/ in the study's folder. model.ckpt and model.onnx of a model of your own are written
if trust= names its code."""


def run(arguments: Sequence[str]) -> int:
    parsed = read_words(arguments, "export", HELP, most=2, known=("root", "to", "trust"))
    if parsed is None:
        return 0
    words, settings = parsed
    study = study_named(parsed, "export")
    if "to" in settings:
        check_free(Path(settings["to"]))
    folder = Path(settings["to"]) if "to" in settings else study.path / ("/".join(["export", *words[1:]]) if words[1:] else "best")
    written(study, words[1] if words[1:] else None, folder)
    from autoopt.deployment.checkpoint import write_checkpoint  # imports torch, which takes seconds: bad input is reported before
    from autoopt.deployment.load import write_onnx

    print(f"{folder} holds model.safetensors, model.json and recipe.yaml")
    for name, form in (("model.ckpt", write_checkpoint), ("model.onnx", write_onnx)):
        try:
            if form(folder) is not None:
                print(f"and {name}, checked against the torch model")
        except BadInput as error:
            print(f"but no {name}: {error}")
    return 0


def check_free(folder: Path) -> None:
    """Raise BadInput if the path exists and is not an earlier export: its contents would be lost."""
    if folder.exists() and not (folder / "model.json").exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadInput(f"to={folder} exists already and is not an earlier export; name a new folder")


def written(study: Stored, key: str | None, folder: Path) -> None:
    """Write the folder, unless it is the study's own.

    Raises:
        BadInput: the study has no model yet, or the trial's weights were not kept.
        StoreError: the folder cannot be written.
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
    try:
        weights = Store(study.path).intact_weights(key)
    except StoreFault as error:
        raise BadInput(f"{error}; autoopt train recipe={study.name}/{key} trains it again") from error
    summary = f"Trial {key} of {study.name}: {card['objective']} {number(record.score or 0.0)} on validation."
    advice = Advice(f"{study.name}/{key}", summary, card["objective"], record.score or 0.0)
    export(folder, record.point, weights, {name: card[name] for name in KNOWN}, advice)
