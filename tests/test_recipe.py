"""A recipe is a config with nothing left to choose: written, read and drawn, it stays the same."""

from pathlib import Path

import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers import RandomSampler

from autoopt import grammar
from autoopt.config import as_overrides, compose
from autoopt.errors import BadInput
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.space import Space

optuna.logging.set_verbosity(optuna.logging.ERROR)
EVERY = [f"{slot}=all" for slot in ("activation", "initializer", "augmentation", "regularizer", "loss", "optimizer", "schedule", "device")]
SPACES = {
    "default": ["data=digits"],
    "full": ["data=digits", "model=mlp,cnn,linear", *EVERY, "compression=all", "batches.scale_lr=none,sqrt,linear"],
    "own": [
        "data=own_parts:examples", "model=own_parts:Net,own_parts:shaped", "optimizer=own_parts:Thing,own_parts:schedule_free,adamw,keep",
        "augmentation=own_parts:noise,own_parts:pixels,mixup", "regularizer=[own_parts:Watch]", "loss=own_parts:Focal,keep",
        "schedule=own_parts:falling,keep,step", "initializer=own_parts:zeros", "activation=own_parts:Bent", "device=own_parts:here",
        "compression=own_parts:smaller", "model.Net.hidden=64,128", r"model.Net.flavour=choice('it\'s','(a, b) = c','\\')",
        "model.Net.cut=null,0.5", "optimizer.Thing.mode='a, b'", "batches.size=null",
    ],
    "pinned": ["data=digits", "optimizer=sgd", "optimizer.sgd.lr=1", "augmentation=[translate,mixup]", "batches.size=16", "seed=7",
               "split.stratify=false", "study.epochs=3"],
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def own_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "config"))
        yield


@pytest.fixture(scope="module")
def spaces(own_parts):
    return {name: Space.of(compose(arguments)) for name, arguments in SPACES.items()}


def drawn(space, seed):
    trial = optuna.create_study(sampler=RandomSampler(seed=seed)).ask()
    return space.walk(lambda domain: domain.suggest(trial))


def read_back(recipe, folder):
    path = folder / "recipe.yaml"
    path.write_text(recipe.yaml())
    return Space.of(compose([], str(path)))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.slow
def test_a_recipe_is_read_back_as_itself_with_nothing_left_to_choose(name, spaces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")

    @settings(max_examples=6, deadline=None)
    @given(st.integers(0, 100_000))
    def identity(seed):
        recipe = drawn(spaces[name], seed)
        found = read_back(recipe, folder)
        assert found.domains() == [] and found.defaults() == {}
        assert found.baseline() == recipe
        assert same_types(found.baseline().tree, recipe.tree)
        assert found.baseline().yaml() == recipe.yaml()

    identity()


def same_types(a, b):
    return type(a) is type(b) and (not isinstance(a, dict) or (list(a) == list(b) and all(same_types(a[k], b[k]) for k in a)))


@pytest.mark.parametrize("name", SPACES)
def test_the_baseline_is_read_back_as_itself(name, spaces, tmp_path):
    baseline = spaces[name].baseline()
    assert read_back(baseline, tmp_path).baseline() == baseline
    assert Space.of(compose(as_overrides(dict(baseline.tree)))).baseline() == baseline


TEXTS = st.text(max_size=15).filter(lambda t: t != "???" and not grammar.is_sweep(t) and "${" not in t)
ODD = [
    "my data/t,1=2 (new).csv",
    "it's.csv",
    'a"b".csv',
    "C:\\data\\t.csv",
    "über.csv",
    "1e-3",
    "null",
    "true",
    " x ",
    "[a]",
    "{a: b}",
    "a\n b",
]


@pytest.mark.parametrize("odd", ODD)
def test_odd_texts_survive(odd, tmp_path):
    recipe_of_texts(odd, odd, tmp_path)


def test_any_text_survives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")

    @settings(max_examples=8, deadline=None)
    @given(TEXTS, TEXTS)
    def survives(path, target):
        recipe_of_texts(path, target, folder)

    survives()


BASE: dict = {}


def recipe_of_texts(path, target, folder):
    if not BASE:
        BASE.update(Space.of(compose(["data=csv", "data.csv.path=p", "data.csv.target=t", "model=linear"])).baseline().tree)
    recipe = Recipe({**BASE, "data": {"csv": {**BASE["data"]["csv"], "target": target, "path": path, "separator": ";"}}})
    assert read_back(recipe, folder).baseline() == recipe


# what a recipe tells of itself


def recipe(**nodes):
    empty = {slot: {} for slot in SLOTS}
    plain = {"split": {"test": 0.2}, "batches": {"size": 32}, "study": {"epochs": 9}, "seed": 0}
    return Recipe({**empty, **plain, **nodes})


FILLED = recipe(
    data={"digits": {}}, model={"mlp": {"width": 8}}, loss={"mse": {}}, optimizer={"adamw": {"lr": 0.1}}, schedule={"cosine": {}},
    augmentation={"translate": {"use": True}, "mixup": {"use": True}}, regularizer={"l1": {"use": True}}, device={"auto": {}},
)  # fmt: skip


@pytest.mark.parametrize(
    ("made", "title"),
    [
        (FILLED, "adamw cosine translate mixup l1"),
        (recipe(optimizer={"keep": {}}, schedule={"keep": {}}, data={"digits": {}}), "keep"),
        (recipe(optimizer={"sgd": {}}, schedule={}), "sgd"),
        (recipe(), "keep"),
    ],
)
def test_the_title_says_what_was_chosen(made, title):
    assert made.title() == title


def test_what_stands_in_it():
    assert FILLED.epochs == 9
    assert FILLED.flat() == {
        "model.mlp.width": 8, "augmentation.translate.use": True, "augmentation.mixup.use": True, "regularizer.l1.use": True,
        "optimizer.adamw.lr": 0.1, "split.test": 0.2, "batches.size": 32, "study.epochs": 9,
    }  # fmt: skip
    assert FILLED.names() | {"data": ""} == {**dict.fromkeys(SLOTS, "none"), "data": "", "model": "mlp", "loss": "mse", "device": "auto",
        "optimizer": "adamw", "schedule": "cosine", "augmentation": "translate,mixup", "regularizer": "l1"}  # fmt: skip
    assert [slot for slot, _, _ in FILLED.techniques()] == sorted((s for s, _, _ in FILLED.techniques()), key=list(SLOTS).index)
    changed = FILLED.replace(seed=3)
    assert changed.tree["seed"] == 3 and FILLED.tree["seed"] == 0 and changed.tree["model"] == FILLED.tree["model"]
    assert yaml.safe_load(FILLED.yaml()) == dict(FILLED.tree)


@pytest.mark.parametrize(
    ("batches", "factor"),
    [
        ({"size": 16}, 1),
        ({"size": None, "scale_lr": "none"}, 1),
        ({"size": 64, "scale_lr": "sqrt"}, 1),
        ({"size": 16, "scale_lr": "sqrt"}, 0.5),
        ({"size": 16, "scale_lr": "linear"}, 0.25),
        ({"size": 128, "scale_lr": "linear", "accumulate": 4}, 8),
    ],
)
def test_rates_grow_with_the_examples_of_a_step_if_the_recipe_says_so(batches, factor):
    assert Recipe({"batches": batches}).lr_factor == factor


def test_rates_cannot_grow_with_a_batch_size_that_the_recipe_leaves_to_the_data():
    with pytest.raises(BadInput, match=r"batches\.scale_lr=sqrt needs batch sizes in numbers, not that of the data: batches\.size="):
        _ = Recipe({"batches": {"size": None, "scale_lr": "sqrt"}}).lr_factor
