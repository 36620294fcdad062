"""`autoopt export`"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from autoopt.commands.words import read_words, study_named
from autoopt.deployment.card import CARD_FACTS, read_card
from autoopt.errors import BadInput, StoreFault
from autoopt.prose import print_prose
from autoopt.records.folder import reference
from autoopt.records.journal_file import StoreError
from autoopt.records.stored import Stored
from autoopt.report.numbers import number
from autoopt.store import Store
from autoopt.study.export import Advice, export, replaced
from autoopt.tracking import experiment_name, store_uri
from autoopt.tracking.environment import prepare_environment

HELP = """Usage: autoopt export NAME [TRIAL] [--register MODEL] [to=DIR] [root=DIR] [tracking.uri=URI] [trust=module:object,…]

Writes a trained model for deployment: model.safetensors, model.json,
recipe.yaml, a README with the lines that load it, model.ckpt of a
LightningModule, and model.onnx, checked against the torch model. The model is
the study's best, or a trial whose weights were kept: a compressed model of the
Pareto front (compress-3), or a training of the final comparison (17-final-0).
DIR is by default best/ or export/TRIAL/ in the study's folder. model.ckpt,
model.onnx and MLmodel of a model of your own are written if trust= names its
code. MLmodel makes the folder an MLflow model: mlflow models serve -m DIR
--env-manager local serves it; --register adds it to MLflow's registry, in the
study's store, as the next version of MODEL."""
FORMS = (("model.ckpt", "checked against the torch model"), ("model.onnx", "checked against the torch model"), ("MLmodel", "for MLflow"))


def run(arguments: Sequence[str]) -> int:
    arguments, model = without_option(arguments, "--register")
    parsed = read_words(arguments, "export", HELP, most=2, known=("root", "to", "trust", "tracking.uri"))
    if parsed is None:
        return 0
    words, settings, _ = parsed
    study = study_named(parsed, "export")
    if "to" in settings:
        check_free(Path(settings["to"]))
    folder = Path(settings["to"]) if "to" in settings else study.path / ("/".join(["export", *words[1:]]) if words[1:] else "best")
    written(study, words[1] if words[1:] else None, folder)
    prepare_environment()
    from autoopt.deployment.checkpoint import write_checkpoint  # imports torch, which takes seconds: bad input is reported before
    from autoopt.deployment.graph import write_onnx
    from autoopt.deployment.served import write_served
    from autoopt.tracking.register import register

    print(f"{folder} holds model.safetensors, model.json and recipe.yaml")
    for (name, about), form in zip(FORMS, (write_checkpoint, write_onnx, write_served), strict=True):
        try:
            if form(folder) is not None:
                print(f"and {name}, {about}")
        except BadInput as error:
            print_prose(f"but no {name}: {error}")
        except OSError as error:
            raise StoreError(f"{folder / name} cannot be written: {error}") from error
    if model is not None:
        node = study.config["tracking"]
        uri = store_uri(settings.get("tracking.uri", node["uri"]))
        version = register(uri, experiment_name(node["experiment"], study.name), folder, model, study.name)
        print_prose(f"registered as version {version} of {model}: mlflow models serve -m models:/{model}/{version} --env-manager local")
    return 0


def without_option(arguments: Sequence[str], option: str) -> tuple[list[str], str | None]:
    """The arguments without an option, and its value: `--option VALUE` or `--option=VALUE`.

    Raises:
        BadInput: it has no value.
    """
    rest, value = list[str](), None
    words = iter(arguments)
    for word in words:
        if word.partition("=")[0] == option:
            value = word.partition("=")[2] or next(words, "")
            if not value or value.startswith("-"):
                raise BadInput(f"{option}: name the model, such as {option} my-model")
        else:
            rest.append(word)
    return rest, value


def check_free(folder: Path) -> None:
    """Raise BadInput if the path exists and is not an earlier export, or is the best of a study: its contents would be lost."""
    if folder.name == "best" and os.path.exists(folder.resolve().parent / "space.yaml"):
        raise BadInput(f"to={folder} is the best of a study, which its verdict tells of; name another folder")
    if os.path.exists(folder) and not (folder / "model.json").exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadInput(f"to={folder} exists already and is not an earlier export; name a new folder")


def written(study: Stored, key: str | None, folder: Path) -> None:
    """Write the folder, unless it is the study's own.

    Raises:
        BadInput: the study has no model yet, or the trial's weights were not kept.
        StoreError: the folder cannot be written.
    """
    best = study.path / "best"
    if not best.exists():
        raise BadInput(f"{study.name} has no winner yet; autoopt finish {reference(study.path)} concludes it")
    card = read_card(best)
    if key is None:
        if folder != best:
            with replaced(folder.resolve()) as draft:  # nothing stays of an earlier export, whose model another file may hold
                shutil.copytree(best, draft, dirs_exist_ok=True)
        return
    record, store = study.record(key), Store(study.path)
    try:
        weights = store.intact_weights(key)
    except StoreFault as error:
        kept = [key for records in study.records.values() for key in dict.fromkeys(r.key for r in records) if store.has_weights(key)]
        others = f"; kept are those of {', '.join(kept)}" if kept else ""
        raise BadInput(f"{error}{others}; autoopt train recipe={reference(study.path, key)} trains it again") from error
    summary = f"Trial {key} of {study.name}: {card['objective']} {number(record.score or 0.0)} on validation."
    folds = study.config["split"]["folds"] or 1
    advice = Advice(f"{study.name}/{key}", summary, card["objective"], record.score or 0.0, folds=folds)
    export(folder, record.point, weights, {name: card[name] for name in CARD_FACTS}, advice)
