"""The JSON Schema of config files: what the commands read is valid, and what they refuse is not."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from autoopt.cli import main
from autoopt.config import SETTINGS, compose, from_file
from autoopt.config.presets import default_values
from autoopt.config.schema import config_schema
from autoopt.errors import BadInput
from autoopt.slots import PLUGGABLE
from autoopt.space import Space

ROOT = Path(__file__).parents[2]
TREES = [
    ["data=digits"],
    ["data=csv", "data.csv.path=t.csv", "data.csv.target=[a,b]", "study=quick", "study.time=1h30m", "objective=[val_f1,latency_ms]"],
    ["data=digits", "model=cnn", "optimizer=all", "augmentation=all", "regularizer=all", "compression=all", "strategy=optuna"],
    [
        "data=digits",
        "model=own_parts:make",
        "batches.size=null,half,double",
        "trainer.precision=16-mixed,null",
        "trainer.val_check_interval=0.5",
    ],
    ["data=digits", "optimizer.adamw.lr=choice(0.1,0.2)", "constraints.latency_ms=2", "executor.workers=2", "metrics=[a:b,c:d]"],
]


@pytest.fixture(scope="module")
def valid():
    schema = config_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema).is_valid


@pytest.fixture(autouse=True)
def own_models(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.parametrize("arguments", TREES, ids=" ".join)
def test_what_a_command_line_composes_is_valid_and_its_recipe_too(arguments, valid):
    tree = compose(arguments)
    assert valid(tree)
    recipe = yaml.safe_load(Space.of(tree).baseline().yaml())
    assert valid(recipe)


ACCEPTED = [
    "{data: digits, optimizer: 'adamw,sgd', model: [mlp, cnn], study: quick}",
    "{data: digits, optimizer: {adamw: {lr: 1e-3}, sgd: }, 'study.trials': 5}",
    "{data: digits, 'optimizer.adamw.lr': 0.1, augmentation: none, regularizer: null, batches: {size: 'choice(32, 64)', cache: none}}",
    "{data: digits, augmentation: {mixup: {use: true}}, study: {trials: 5, time: 2h, compare: null}, executor: {local: {}, workers: 2}}",
    "{data: digits, device: {cpu: {precision: 64-true}}, trainer: {deterministic: warn}, objective: [val_loss, size_mb]}",
    "{data: digits, loss: 'keep,own_parts:Focal', strategy: {bayes: {startup: 5}}, constraints: {val_loss: 2.5}}",
]
REFUSED = {
    "{data: digits, optimiser: adamw}": "No setting named 'optimiser'",
    "{data: digits, optimizer: adamww}": "No optimizer named 'adamww'",
    "{data: digits, optimizer: {adamw: {rate: 0.1}}}": "No optimizer.adamw argument named 'rate'",
    "{data: digits, optimizer: {adamw: {lr: fast}}}": "expected float, got 'fast'",
    "{data: digits, optimizer: {adamw: {lr: -1}}}": "expected 0 or more",
    "{data: digits, optimizer: {adamw: {beta1: 1}}}": "expected 0 or more, less than 1",
    "{data: digits, model: {mlp: {connection: sparse}}}": "expected one of plain, residual, dense",
    "{data: digits, study: {trails: 5}}": "No setting named 'study.trails'",
    "{data: digits, study: {trials: 0}}": "expected 1 or more",
    "{data: digits, study: {trials: 2.5}}": "expected int",
    "{data: digits, study: {trials: 'choice(5, 6)'}}": "a setting is not searched",
    "{data: digits, study: {time: 90}}": "expected a time above 0 in d, h, min or s",
    "{data: digits, study: slow}": "No study named 'slow'",
    "{data: digits, batches: {cache: tape}}": "expected memory or disk or none",
    "{data: digits, tracking: {enabled: 7}}": "expected bool",
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_a_file_that_the_command_reads_is_valid(text, tmp_path, valid):
    path = tmp_path / "search.yaml"
    path.write_text(text)
    compose(["loss=keep,own_parts:Focal"] if "own_parts" in text else [], str(path))
    assert valid(yaml.safe_load(text))


@pytest.mark.parametrize("text", REFUSED)
def test_a_file_that_the_command_refuses_is_invalid(text, tmp_path, valid):
    path = tmp_path / "search.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=REFUSED[text].replace(".", r"\.")):
        compose([], str(path))
    assert not valid(yaml.safe_load(text))


def test_the_configs_of_the_examples_are_valid(valid):
    files = sorted((ROOT / "examples").rglob("*.yaml"))
    assert files
    for file in files:
        assert from_file(str(file)) and valid(yaml.safe_load(file.read_text())), file


def test_it_names_every_technique_with_default_and_range_and_every_setting(capsys):
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)["properties"]
    assert {*PLUGGABLE, "study", "split", "constraints", "name"} <= {*schema}
    lr = schema["optimizer"]["anyOf"][3]["properties"]["adamw"]["properties"]["lr"]
    assert lr["default"] == 0.001 and lr["description"] == "searched: tag(log, interval(1e-05, 0.1))"
    trials = schema["study"]["anyOf"][1]["properties"]["trials"]
    assert (trials["default"], trials["minimum"]) == (60, 1) and trials["description"] == SETTINGS["study.trials"][1]
    assert default_values().keys() == SETTINGS.keys()
