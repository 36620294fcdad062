"""The config tree as a space: what is drawn from it, what drops out of it, and where it starts."""

import warnings
from math import log
from pathlib import Path
from random import Random
from typing import Annotated

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial

from autoopt.config import compose
from autoopt.domain import Acts, Choice, Range
from autoopt.errors import BadInput
from autoopt.slots import SLOTS
from autoopt.space import Pin, Space
from autoopt.technique import LIVE, find

optuna.logging.set_verbosity(optuna.logging.ERROR)
ALL = ("optimizer=all", "augmentation=all", "regularizer=all", "loss=all", "schedule=all", "initializer=all", "activation=all")
SOME = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 10_000)


@pytest.fixture(autouse=True, scope="module")
def own_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "config"))
        yield


def space(*arguments):
    return Space.of(compose(["data=digits", *arguments]))


def trial(seed=0):
    return optuna.create_study(sampler=RandomSampler(seed=seed)).ask()


def draw(drawn_from, asked):
    """The recipe that a trial of Optuna chooses."""
    return drawn_from.walk(lambda domain: domain.suggest(asked))


def draws(drawn_from, count=30):
    """Trials and recipes of one space."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    return [(asked, draw(drawn_from, asked)) for asked in (study.ask() for _ in range(count))]


FULL = space("model=mlp,cnn,linear", *ALL, "compression=all")


@SOME
@given(SEEDS)
def test_what_is_drawn_lies_within_its_domain_and_in_its_type(seed):
    recipe = draw(FULL, trial(seed)).tree
    for domain in FULL.domains():
        slot, _, rest = domain.key.partition(".")
        name, _, key = rest.partition(".")
        if not key or key == "use" or name not in recipe[slot]:
            continue
        value = recipe[slot][name][key]
        if isinstance(domain.values, Choice):
            assert value in domain.options
        else:
            assert domain.values.low <= value <= domain.values.high
            assert type(value) is domain.scalar is FULL.options[slot][name].technique.params[key].scalar
    assert recipe["batches"]["size"] in (32, 64, 128)
    filled = {t.acts.fills for slot, name, t in FULL.techniques() if name in recipe[slot]}
    assert all(len(recipe[slot]) == (slot not in filled) for slot in SLOTS if not SLOTS[slot].many)


@SOME
@given(SEEDS)
def test_the_same_values_draw_the_same_recipe(seed):
    asked = trial(seed)
    recipe = draw(FULL, asked)
    assert draw(FULL, FixedTrial(asked.params)) == recipe


@pytest.mark.slow
def test_over_many_draws_everything_is_used():
    seen = {(slot, name) for _, recipe in draws(FULL, 300) for slot, name, _ in recipe.techniques()}
    rare = {("schedule", "keep")}  # drawn with the module's own optimizer alone
    assert {(slot, name) for slot, name, _ in FULL.techniques()} - seen <= rare
    assert any("keep" in recipe.tree["schedule"] for _, recipe in draws(FULL.with_option("optimizer", "keep"), 60))
    assert any(not recipe.tree["augmentation"] for _, recipe in draws(space("augmentation=translate,mixup"), 50))


@pytest.mark.parametrize(
    "arguments",
    [
        [], [*ALL, "compression=all"], ["optimizer=all", "optimizer.adamw.lr=interval(0.05,0.5)"], ["augmentation=[translate,mixup]"],
        ["batches.size=32,128"], ["batches.size=range(10,100,20)"], ["model=own_parts:shaped"], ["optimizer=sgd", "optimizer.sgd.lr=0.25"],
        ["model=own_parts:shaped", "model.shaped.width=interval(20,90)"], ["optimizer=own_parts:schedule_free,adamw"],
    ],
    ids=str,
)  # fmt: skip
def test_the_defaults_draw_the_baseline(arguments):
    found = space(*arguments)
    defaults = found.defaults()
    study = optuna.create_study()
    study.enqueue_trial(defaults)
    asked = study.ask()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Optuna's, of a value that is not to be drawn
        recipe = draw(found, asked)
    assert recipe == found.baseline()
    assert asked.params == defaults


@pytest.mark.parametrize(
    ("argument", "default"),
    [
        ("optimizer.adamw.lr=interval(1e-4,1e-2)", 1e-3),
        ("optimizer.adamw.lr=interval(0.01,0.1)", 0.01),
        ("optimizer.adamw.lr=interval(1e-6,1e-4)", 1e-4),
        ("optimizer.adamw.lr=0.5", 0.5),
        ("optimizer.adamw.lr=0.1,0.001", 0.001),
        ("optimizer.adamw.lr=0.1,0.01", 0.1),
    ],
)
def test_the_baseline_takes_the_default_or_what_comes_nearest(argument, default):
    assert space("optimizer=adamw", argument).baseline().tree["optimizer"]["adamw"]["lr"] == default


def test_the_baseline_is_the_first_of_each_slot_with_nothing_on():
    tree = space("optimizer=sgd,adamw", "batches.size=16,64").baseline().tree
    assert (list(tree["optimizer"]), list(tree["schedule"]), list(tree["initializer"])) == (["sgd"], ["constant"], ["keep"])
    assert tree["augmentation"] == tree["regularizer"] == {} and tree["batches"]["size"] == 64
    always = space("augmentation=[mixup]").baseline().tree["augmentation"]
    assert always == {"mixup": {"use": True, "alpha": 0.2}}


def net(task, *, x: float, y: str, n: int):
    """Without defaults."""


def test_an_argument_without_a_default_starts_at_the_low_end_or_the_first(monkeypatch):
    monkeypatch.setitem(LIVE, "live_space:net", net)
    found = space("model=live_space:net", "model.net.x=interval(0.5,2)", "model.net.y=a,b", "model.net.n=3").baseline().tree["model"]["net"]
    assert found == {"from": "live_space:net", "x": 0.5, "y": "a", "n": 3}


@pytest.mark.parametrize(
    ("arguments", "key", "log", "step"),
    [
        (["optimizer=adamw", "optimizer.adamw.lr=interval(1e-4,1e-2)"], "optimizer.adamw.lr", True, None),
        (["optimizer=adamw", "optimizer.adamw.lr=interval(1e-9,10)"], "optimizer.adamw.lr", True, None),
        (["optimizer=adamw", "optimizer.adamw.lr=interval(0,0.1)"], "optimizer.adamw.lr", False, None),
        (["optimizer=adamw", "optimizer.adamw.lr=range(0.1,0.5,0.1)"], "optimizer.adamw.lr", False, 0.1),
        (["optimizer=adamw", "optimizer.adamw.beta1=tag(log,interval(0.8,0.9))"], "optimizer.adamw.beta1", True, None),
        (["optimizer=adamw", "optimizer.adamw.beta1=interval(0.8,0.9)"], "optimizer.adamw.beta1", False, None),
        (["model=mlp", "model.mlp.width=interval(32,64)"], "model.mlp.width", True, 1),
        (["model=mlp", "model.mlp.depth=interval(2,3)"], "model.mlp.depth", False, 1),
        (["model=mlp", "model.mlp.depth=range(1,6,2)"], "model.mlp.depth", False, 2),
        (["model=own_parts:shaped"], "model.shaped.width", False, 16),
        (["model=own_parts:shaped", "model.shaped.width=interval(32,64)"], "model.shaped.width", False, 16),
        (["model=own_parts:shaped", "model.shaped.width=tag(log,interval(32,64))"], "model.shaped.width", False, 16),
        (["model=own_parts:shaped", "model.shaped.width=range(32,65,8)"], "model.shaped.width", False, 8),
        (["model=own_parts:shaped", "model.shaped.depth=interval(2,8)"], "model.shaped.depth", True, 1),
        (["model=own_parts:Net", "model.Net.hidden=interval(2,8)"], "model.Net.hidden", False, 1),
        (["model=own_parts:Net", "model.Net.dropout=interval(0,1)"], "model.Net.dropout", False, None),
    ],
)
def test_scale_type_and_step_are_the_signatures_where_the_config_says_no_other(arguments, key, log, step):
    asked = trial()
    found = space(*arguments, "schedule=cosine")
    recipe = draw(found, asked)
    distribution = asked.distributions[key]
    assert (distribution.log, distribution.step) == (log, step)
    slot, name, argument = key.split(".")
    kind = found.options[slot][name].technique.params[argument].scalar
    assert type(recipe.tree[slot][name][argument]) is kind
    assert type(distribution).__name__ == {int: "IntDistribution", float: "FloatDistribution"}[kind]


def test_what_a_search_may_choose_and_nothing_else_is_asked():
    found = space("optimizer=adamw,sgd", "optimizer.sgd.lr=0.1", "schedule=constant", "augmentation=[mixup]", "regularizer=none",
                  "loss=mse", "initializer=keep", "batches.size=32", "model=linear")  # fmt: skip
    asked = {key for one, _ in draws(found) for key in one.params}
    assert asked == {"optimizer", *(f"optimizer.adamw.{k}" for k in ("lr", "weight_decay", "beta1")), "optimizer.sgd.weight_decay",
                     "augmentation.mixup.alpha"} & asked  # fmt: skip
    assert {"optimizer", "optimizer.adamw.lr", "augmentation.mixup.alpha"} <= asked
    assert {domain.path for domain in found.domains()} == asked


def test_of_the_trainers_arguments_those_that_are_set_belong_to_a_recipe():
    assert space().baseline().tree["trainer"] == {}
    assert space("trainer.gradient_clip_val=0.5").baseline().tree["trainer"] == {"gradient_clip_val": 0.5}


def test_an_argument_that_would_change_nothing_is_not_searched():
    found = space("optimizer=adamw,sgd", "optimizer.sgd.lr=0.5")
    fixed = found.with_default("optimizer", "adamw", "lr", "it is not used")
    assert {d.path for d in found.domains()} - {d.path for d in fixed.domains()} == {"optimizer.adamw.lr"}
    assert (fixed.dropped, fixed.baseline()) == ({"optimizer/adamw.lr": "it is not used"}, found.baseline())
    assert found.with_default("optimizer", "sgd", "lr", "it is pinned") == found
    assert found.with_default("optimizer", "keep", "lr_scale", "it was not selected") == found


def test_a_technique_that_is_switched_off_for_good_is_never_used():
    assert all(
        "mixup" not in r.tree["augmentation"] for _, r in draws(space("augmentation=mixup,translate", "augmentation.mixup.use=false"))
    )


@pytest.mark.parametrize(
    ("argument", "size", "options", "default"),
    [
        ("batches.size=half", 32, (), 16),
        ("batches.size=double", 32, (), 64),
        ("batches.size=half", 1, (), 1),
        ("batches.size=null", 32, (), None),
        ("batches.size=48", 32, (), 48),
        ("batches.size=half,48,double", 32, (16, 48, 64), 16),
        ("batches.size=half,double,64", 32, (16, 64), 64),
        ("batches.size=null,32,half", 32, (None, 16), None),
        ("batches.size=half,double", None, ("half", "double"), "half"),
        ("batches.size=null,32", 32, None, None),
        ("batches.size=half,32", 64, None, 32),
        ("batches.size=64,null,32", 64, (None, 32), None),
        ("batches.size=64,16,null", 64, (16, None), None),
        ("batches.size=interval(16,64)", 32, (16, 64), 64),
    ],
)
def test_batch_sizes_are_relative_to_that_of_the_data(argument, size, options, default):
    found = space(argument).around(size)
    given = [domain.options for domain in found.domains() if domain.key == "batches.size"]
    assert (given, found.baseline().tree["batches"]["size"]) == ([options] if options else [], default)


# what techniques do to their neighbours


def free(params, *, lr: Annotated[float, Range(1e-4, 1.0, log=True)] = 0.01) -> Annotated[object, Acts(fills="schedule")]:
    """Without a schedule."""


@pytest.mark.parametrize("path", ["own_parts:schedule_free", "live_space:free"])
def test_what_fills_the_schedule_leaves_it_undrawn(path, tmp_path, monkeypatch):
    monkeypatch.setitem(LIVE, "live_space:free", free)
    name = path.partition(":")[2]
    assert find("optimizer", path).acts == Acts(fills="schedule")
    found = space(f"optimizer={path},adamw", "schedule=cosine,step")
    rows = draws(found)
    for asked, recipe in rows:
        filled = name in recipe.tree["optimizer"]
        assert bool(recipe.tree["schedule"]) != filled
        assert filled != any(key.startswith("schedule") for key in asked.params)
    assert {name, "adamw"} == {o for _, r in rows for o in r.tree["optimizer"]}
    recipe = next(r for _, r in rows if name in r.tree["optimizer"])
    (tmp_path / "recipe.yaml").write_text(recipe.yaml())
    assert Space.of(compose([], str(tmp_path / "recipe.yaml"))).baseline() == recipe


def test_a_schedule_of_ones_own_goes_with_an_optimizer_of_ones_own():
    found = space("optimizer=keep,adamw", "schedule=keep,constant,cosine")
    pairs = {(o, s) for _, r in draws(found, 100) for o in r.tree["optimizer"] for s in r.tree["schedule"]}
    assert pairs == {("keep", "keep"), ("keep", "constant"), ("keep", "cosine"), ("adamw", "constant"), ("adamw", "cosine")}
    names = {key for asked, _ in draws(found, 50) for key in asked.params if key.startswith("schedule") and "." not in key}
    assert names == {"schedule", "schedule(constant,cosine)"}  # a choice list is frozen under its name
    assert list(space("optimizer=adamw", "schedule=keep").baseline().tree["schedule"]) == ["keep"]  # nothing else is there


# what drops out


TABLES = {
    "augmentation": dict.fromkeys(("planes", "images"), "the inputs are no images but 30 numbers"),
    "loss": {"class_counts": "the targets are no classes"},
}


def test_what_is_asked_for_in_vain_drops_out_with_the_reason():
    found = space("augmentation=translate,mixup").fitting(TABLES)
    assert list(found.options["augmentation"]) == ["mixup"]
    assert found.dropped == {
        "augmentation/translate": "the inputs are no images but 30 numbers",
        **{f"loss/{n}": "the targets are no classes" for n in ("cross_entropy",) if "class_counts" in find("loss", n).asks},
    }
    assert found.absent == TABLES and FULL.fitting({}) == FULL and space().dropped == {}
    assert all("translate" not in recipe.tree["augmentation"] for _, recipe in draws(found))


def test_what_dropped_out_earlier_is_not_forgotten():
    found = space("augmentation=translate,mixup").without("augmentation", "mixup", "it raised").fitting(TABLES)
    assert set(found.dropped) >= {"augmentation/mixup", "augmentation/translate"} and found.options["augmentation"] == {}


def test_the_last_one_of_a_slot_cannot_drop_out():
    reason = {"schedule": {"own": "a plain network has none of its own"}, "optimizer": {"own": "none of its own"}}
    with pytest.raises(BadInput, match=r"^optimizer=keep cannot be used here: none of its own$"):
        space("optimizer=keep").fitting(reason)
    with pytest.raises(BadInput, match=r"^loss=mse cannot be used here: no; loss/keep dropped: why not$"):
        space("loss=keep,mse").without("loss", "keep", "why not").without("loss", "mse", "no")


def test_what_was_asked_for_always_cannot_drop_out():
    with pytest.raises(BadInput, match=r"^augmentation=translate cannot be used here: the inputs are no images but 30 numbers$"):
        space("augmentation=[translate,mixup]").fitting(TABLES)
    assert list(space("augmentation=[mixup]").without("optimizer", "nesterov", "x").options["augmentation"]) == ["mixup"]


def test_with_one_option_for_sure():
    assert list(space("optimizer=keep,adamw,sgd").with_option("optimizer", "sgd").baseline().tree["optimizer"]) == ["sgd"]
    on = space("augmentation=translate,mixup").with_option("augmentation", "mixup")
    assert list(on.baseline().tree["augmentation"]) == ["mixup"] and list(on.options["augmentation"]) == ["translate", "mixup"]


def test_compression_comes_after_the_training():
    found = space("compression=[half]")
    assert draw(found.without_compression(), trial()).tree["compression"] == {}
    drawn = draw(found.compressing("mlp"), asked := trial()).tree["compression"]
    assert drawn["half"]["dtype"] in ("bfloat16", "float16") and set(asked.params) == {"compression.half.dtype"}
    either = space("compression=half,own_parts:smaller").compressing("mlp")
    assert {bool(draw(either, trial(seed)).tree["compression"]) for seed in range(10)} == {True, False}
    assert either.defaults() == {"compression.half.use": False, "compression.smaller.use": False}


def test_what_does_not_work_with_a_model_is_no_compression_of_it():
    found = space("model=mlp,cnn", "compression=half,prune_magnitude").without_with("mlp", "compression", "half", "it does not")
    assert list(found.compressing("mlp").options["compression"]) == ["prune_magnitude"]
    assert list(found.compressing("cnn").options["compression"]) == ["half", "prune_magnitude"]


def test_of_those_that_act_last_no_second_one_is_used():
    either = space("compression=half,quantize_static,prune_magnitude").compressing("mlp")
    drawn = [set(draw(either, trial(seed)).tree["compression"]) for seed in range(30)]
    assert {frozenset(d & {"half", "quantize_static"}) for d in drawn} == {frozenset(), frozenset({"half"}), frozenset({"quantize_static"})}
    assert any("prune_magnitude" in d and "half" in d for d in drawn)


@pytest.mark.slow
def test_zeros_are_not_drawn_with_what_stores_every_weight():
    """Neither smaller nor faster, and less exact."""
    names = ("prune_magnitude", "quantize_static", "quantize_dynamic", "quantize_aware")
    for order in (names, names[::-1]):
        found = space(f"compression={','.join(order)}").compressing("mlp")
        drawn = [set(draw(found, trial(seed)).tree["compression"]) for seed in range(40)]
        assert {"prune_magnitude"} in drawn and {"quantize_static"} in drawn
        assert all(len(d) < 2 for d in drawn)
    reason = "one leaves zeros among the weights, and the other stores them like any weight"
    assert list(space("compression=half,prune_magnitude,quantize_static").clashes()) == [
        ("compression", "half", "quantize_static", "each has to act last"),
        ("compression", "prune_magnitude", "quantize_static", reason),
    ]


@pytest.mark.slow
def test_an_optimizer_that_needs_its_closure_is_drawn_where_it_has_one():
    found = space("optimizer=sam,sgd", "device=cuda", "batches.accumulate=1,2,4")
    drawn = [draw(found, asked := trial(seed)).tree | {"params": asked.params} for seed in range(240)]
    seen = {(*d["optimizer"], d["device"]["cuda"]["precision"], d["batches"]["accumulate"]) for d in drawn}
    precisions = ("32-true", "bf16-mixed", "16-mixed")
    assert seen == {("sam", p, 1) for p in precisions[:2]} | {("sgd", p, n) for p in precisions for n in (1, 2, 4)}
    assert {"device.cuda.precision", "device.cuda.precision(32-true,bf16-mixed)"} < set().union(*(d["params"] for d in drawn))
    plain = found.fitting({"optimizer": {"own": "a plain network has none of its own"}})
    assert {draw(plain, trial(seed)).tree["batches"]["accumulate"] for seed in range(60)} == {1, 2, 4}, "its closure is for all"
    pinned = draw(space("optimizer=sam", "device=cuda", "device.cuda.precision=16-mixed", "batches.accumulate=2,4"), trial()).tree
    assert pinned["device"]["cuda"]["precision"] == "16-mixed" and pinned["batches"]["accumulate"] in (2, 4), "it says so by itself"


def test_what_a_trainer_does_with_the_closure_counts_too():
    found = space("optimizer=sam,sgd", "trainer.accumulate_grad_batches=null,1,2", "trainer.precision=16-mixed,bf16-mixed,32-true")
    listed = {d.path: (d.options, d.default, str(d.condition)) for d in found.domains() if d.key.startswith("trainer.")}
    steps, precision = "trainer.accumulate_grad_batches", "trainer.precision"
    assert listed == {
        steps: ((None, 1, 2), None, "optimizer!=sam"),
        f"{steps}(None,1)": ((None, 1), None, "optimizer=sam"),
        precision: (("16-mixed", "bf16-mixed", "32-true"), "16-mixed", "optimizer!=sam"),
        f"{precision}(bf16-mixed,32-true)": (("bf16-mixed", "32-true"), "bf16-mixed", "optimizer=sam"),
    }


def test_a_float_range_with_a_step_is_drawn_on_its_grid():
    found = space("optimizer=sgd", "optimizer.sgd.lr=range(0.1,0.5,0.1)", "schedule=constant")
    drawn = {round(r.tree["optimizer"]["sgd"]["lr"], 9) for _, r in draws(found, 60)}
    assert drawn == {0.1, 0.2, 0.3, 0.4}


def test_the_start_of_a_range_with_a_step_lies_on_its_grid():
    wide = space("model=own_parts:shaped", "model.shaped.width=interval(20,90)")
    assert wide.baseline().tree["model"]["shaped"]["width"] == 68
    low = space("model=own_parts:shaped", "model.shaped.width=interval(20,60)")
    assert low.baseline().tree["model"]["shaped"]["width"] == 52
    assert all((r.tree["model"]["shaped"]["width"] - 20) % 16 == 0 for _, r in draws(low))


def test_every_choice_is_listed_with_its_domain():
    listed = {d.path: str(d) for d in space("optimizer=adamw,sgd", "optimizer.sgd.lr=0.1").domains()}
    assert listed["optimizer"] == "choice(adamw, sgd)" and listed["optimizer.adamw.lr"] == "tag(log, interval(1e-05, 0.1))"
    assert listed["augmentation.mixup.use"] == "choice(true, false)" and listed["batches.size"] == "choice(32, 64, 128)"
    assert "optimizer.sgd.lr" not in listed


def test_a_model_to_which_a_slot_has_nothing_to_offer_is_left_out():
    whole = space("model=mlp,cnn", "optimizer=adamw,sgd", "regularizer=l1")
    half = whole.without_with("cnn", "optimizer", "adamw", "it cannot")
    assert list(half.options["model"]) == ["mlp", "cnn"]
    bare = half.without_with("cnn", "optimizer", "sgd", "nor this")
    assert list(bare.options["model"]) == ["mlp"] and bare.dropped["model/cnn"] == "optimizer=sgd: nor this"
    assert list(whole.without_with("cnn", "regularizer", "l1", "it cannot").options["model"]) == ["mlp", "cnn"], "none is needed there"
    later = half.without("optimizer", "sgd", "it raised")
    assert list(later.options["model"]) == ["mlp"] and later.dropped["model/cnn"] == "optimizer=sgd: it raised"
    with pytest.raises(BadInput, match=r"^model=cnn cannot be used here: optimizer=sgd: it raised; model/mlp dropped: no$"):
        half.without("model", "mlp", "no").without("optimizer", "sgd", "it raised")


# domains and conditions


SPACES = (
    [*ALL, "model=mlp,cnn,linear", "compression=all"],
    ["model=mlp,cnn"],
    ["optimizer=keep,adamw,own_parts:schedule_free", "schedule=keep,constant,cosine"],
    ["optimizer=sam,sgd", "device=cuda", "batches.accumulate=1,2,4"],
    ["augmentation=[mixup]", "compression=half,quantize_static,prune_magnitude"],
    ["batches.size=range(10,100,20)", "model=own_parts:shaped"],
)
UNFIT = space("model=mlp,cnn,linear", "optimizer=keep,adamw,sgd", "schedule=keep,constant,cosine", "activation=keep,relu")
UNFIT = UNFIT.without_with("cnn", "optimizer", "sgd", "no").without_with("mlp", "activation", "relu", "no")


def every_space():
    return [*(space(*arguments) for arguments in SPACES), UNFIT]


EVERY_SPACE = pytest.mark.parametrize("number", range(len(SPACES) + 1))


@pytest.fixture(scope="module")
def spaces(own_parts):
    return every_space()


def walked(drawn_from, seed):
    """A random recipe, and the paths that were asked for it."""
    random, paths = Random(seed), []

    def pick(domain):
        paths.append(domain.path)
        return domain.sample(random)

    return drawn_from.walk(pick), paths


@EVERY_SPACE
@SOME
@given(seed=SEEDS)
def test_a_recipe_asks_for_exactly_the_domains_whose_condition_holds(spaces, number, seed):
    recipe, paths = walked(spaces[number], seed)
    holding = [domain.path for domain in spaces[number].domains() if domain.condition.holds(recipe.tree)]
    assert holding == paths, "in the order in which they are chosen"


@EVERY_SPACE
def test_every_domain_is_listed_once_and_can_be_asked_for(spaces, number):
    paths = [domain.path for domain in spaces[number].domains()]
    assert len(set(paths)) == len(paths)
    assert set(paths) == {path for seed in range(400) for path in walked(spaces[number], seed)[1]}


@EVERY_SPACE
@SOME
@given(seed=SEEDS)
def test_the_values_of_a_trial_make_its_recipe(spaces, number, seed):
    asked = trial(seed)
    recipe = draw(spaces[number], asked)
    assert spaces[number].recipe(asked.params) == recipe


@EVERY_SPACE
def test_values_that_are_not_given_are_the_defaults(spaces, number):
    drawn_from = spaces[number]
    assert drawn_from.recipe(drawn_from.defaults()) == drawn_from.recipe({}) == drawn_from.baseline()


def test_values_that_are_not_of_the_space_are_refused():
    found = space("optimizer=adamw,sgd")
    with pytest.raises(ValueError, match=r"optimizer.adam.lr: the space has no such choice. Did you mean 'optimizer.adamw.lr'\?"):
        found.recipe({"optimizer.adam.lr": 0.1})
    with pytest.raises(ValueError, match=r"optimizer=adam: expected choice\(adamw, sgd\)"):
        found.recipe({"optimizer": "adam"})
    for value in (1.0, 1e-9, "0.01", True):
        with pytest.raises(ValueError, match=r"optimizer.adamw.lr=.*: expected tag\(log, interval\(1e-05, 0.1\)\)"):
            found.recipe({"optimizer.adamw.lr": value})
    assert found.recipe({"optimizer.sgd.lr": 0.02}) == found.baseline(), "what is not asked for is not looked at"


def test_what_is_wanted_of_a_value_is_complete():
    domains = {domain.path: domain for domain in space("optimizer=adamw", "optimizer.adamw.lr=interval(1e-4,1e-2)", "model=mlp").domains()}
    rate = domains["optimizer.adamw.lr"]
    assert (rate.values, rate.scalar, rate.default) == (Range(1e-4, 1e-2, log=True), float, 1e-3), "the scale is the signature's"
    assert domains["model.mlp.depth"].scalar is int
    assert (domains["batches.size"].options, domains["batches.size"].default) == ((32, 64, 128), 64)
    assert domains["augmentation.mixup.use"].default is False


def test_a_choice_is_in_the_type_of_its_argument():
    (rate,) = [d for d in space("optimizer=sgd", "optimizer.sgd.lr=0.5,1").domains() if d.key == "optimizer.sgd.lr"]
    assert rate.options == (0.5, 1.0) and [type(option) for option in rate.options] == [float, float]
    assert type(rate.accept(1)) is float


def test_the_values_of_a_range_with_a_step_lie_on_its_steps():
    found = space("model=own_parts:shaped", "model.shaped.width=interval(20,60)", "optimizer=sgd", "optimizer.sgd.lr=range(0.1,0.5,0.1)")
    width, rate = (next(d for d in found.domains() if d.key == key) for key in ("model.shaped.width", "optimizer.sgd.lr"))
    assert width.values == Range(20, 52, step=16) and str(width) == "interval(20, 52) in steps of 16"
    assert [width.accept(value) for value in (20, 36.0, 52)] == [20, 36, 52] and type(width.accept(36.0)) is int
    assert rate.accept(0.1 + 2 * 0.1) == 0.1 + 2 * 0.1, "as Optuna rounds it"
    for domain, value in ((width, 37), (width, 60), (rate, 0.25), (rate, float("nan"))):
        assert value not in domain
        with pytest.raises(ValueError, match=rf"{domain.key}={value}: expected interval\(.*\) in steps of"):
            domain.accept(value)


def test_a_range_of_one_step_is_a_pin():
    found = space("model=own_parts:shaped", "model.shaped.width=interval(20,30)")
    assert found.options["model"]["shaped"].values["width"] == Pin(20)
    assert "model.shaped.width" not in {domain.key for domain in found.domains()}


def mixed(task, *, size: int | str = "auto"):
    """With a default that is no number."""


def test_a_range_over_a_default_that_is_no_number_starts_at_its_low_end(monkeypatch):
    monkeypatch.setitem(LIVE, "live_space:mixed", mixed)
    found = space("model=live_space:mixed", "model.mixed.size=interval(4,16)")
    assert found.baseline().tree["model"]["mixed"]["size"] == 4
    with pytest.raises(BadInput, match=r"model\.mixed\.size=interval\(0\.5,2\): expected int, got 0\.5"):
        space("model=live_space:mixed", "model.mixed.size=interval(0.5,2)")


@pytest.mark.parametrize("line", ["batches.size=interval(16,64)", "model.mixed.size=interval(16,64)", "trainer.min_epochs=interval(1,9)"])
def test_a_range_of_whole_numbers_is_drawn_in_whole_numbers(line, monkeypatch):
    monkeypatch.setitem(LIVE, "live_space:mixed", mixed)
    (domain,) = (d for d in space("model=live_space:mixed", line).domains() if d.key == line.partition("=")[0])
    drawn = {domain.sample(Random(seed)) for seed in range(30)}
    assert {type(value) for value in drawn} == {int} and len(drawn) > 5


def words(found):
    """The conditions of the domains, by path."""
    return {domain.path: str(domain.condition) for domain in found.domains()}


def test_the_condition_of_an_argument_is_that_its_technique_is_used():
    found = words(space("optimizer=adamw,sgd", "augmentation=mixup,cutmix", "regularizer=[l1]", "schedule=cosine"))
    assert (found["optimizer"], found["optimizer.adamw.lr"]) == ("", "optimizer=adamw")
    assert (found["augmentation.mixup.use"], found["augmentation.mixup.alpha"]) == ("", "augmentation=mixup")
    assert found["regularizer.l1.strength"] == found["schedule.cosine.warmup"] == found["batches.size"] == "", "it is always used"


def test_the_condition_of_a_narrowed_choice_is_what_narrows_it():
    own = ["optimizer=keep,adamw", "schedule=keep,constant,cosine"]
    assert words(space(*own))["schedule"] == "optimizer=keep"
    assert words(space(*own))["schedule(constant,cosine)"] == "optimizer!=keep"
    some = space(*own, "model=mlp,cnn").without_with("cnn", "schedule", "keep", "no")
    assert words(some)["schedule"] == "model=mlp and optimizer=keep"
    assert words(some)["schedule(constant,cosine)"] == "model=cnn or model=mlp and optimizer!=keep"
    closure = words(space("optimizer=sam,sgd", "device=cuda,cpu", "batches.accumulate=1,2"))
    assert closure["device.cuda.precision"] == "device=cuda and optimizer!=sam"
    assert closure["device.cuda.precision(32-true,bf16-mixed)"] == "device=cuda and optimizer=sam"
    assert closure["batches.accumulate"] == "optimizer!=sam"


@pytest.mark.slow
def test_the_condition_of_what_others_rule_out():
    filled = words(space("optimizer=own_parts:schedule_free,adamw", "schedule=constant,cosine"))
    assert filled["schedule"] == "optimizer!=schedule_free" and filled["schedule.cosine.warmup"] == "schedule=cosine"
    last = words(space("compression=half,quantize_static,prune_magnitude"))
    assert (last["compression.half.use"], last["compression.quantize_static.use"]) == ("", "compression!=half")
    assert last["compression.prune_magnitude.use"] == "compression!=quantize_static"
    unfit = space("model=mlp,cnn", "augmentation=mixup,cutmix").without_with("cnn", "augmentation", "mixup", "no")
    assert words(unfit)["augmentation.mixup.use"] == "model!=cnn"


def test_what_cannot_come_about_is_no_domain():
    assert not [path for path in words(space("optimizer=own_parts:schedule_free", "schedule=constant,cosine")) if "schedule" in path[:9]]
    assert "batches.accumulate" not in words(space("optimizer=sam", "batches.accumulate=1,2,4"))
    assert "augmentation.mixup.alpha" not in words(space("augmentation=mixup,cutmix", "augmentation.mixup.use=false"))


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("optimizer.momentum.momentum=range(0,0.9,0.3)", [0.0, 0.3, 0.6]),
        ("model.mlp.depth=interval(1,4)", [1, 2, 3, 4]),
        ("batches.size=range(10,40,10)", [10, 20, 30]),
    ],
)
def test_every_step_of_a_range_is_drawn_equally_often(line, values):
    (domain,) = (d for d in space("model=mlp", "optimizer=momentum", line).domains() if d.key == line.partition("=")[0])
    random, counts = Random(0), dict.fromkeys(values, 0)
    for _ in range(400):
        value = domain.sample(random)
        counts[next(v for v in values if v == pytest.approx(value))] += 1
    assert min(counts.values()) > 0.6 * 400 / len(values), counts


def test_whole_numbers_on_a_logarithmic_scale_are_drawn_by_their_share_of_it():
    (domain,) = (d for d in space("model=mlp", "model.mlp.depth=tag(log,interval(1,4))").domains() if d.key == "model.mlp.depth")
    random = Random(0)
    drawn = [domain.sample(random) for _ in range(2000)]
    for value in (1, 2, 3, 4):
        assert drawn.count(value) / 2000 == pytest.approx(log((value + 0.5) / (value - 0.5)) / log(4.5 / 0.5), abs=0.03)


@pytest.mark.parametrize(("line", "middle"), [("lr=tag(log,interval(1e-4,1e-2))", 1e-3), ("beta1=interval(0.5,0.9)", 0.7)])
def test_half_of_the_numbers_lie_below_the_middle_of_the_scale(line, middle):
    key = f"optimizer.adamw.{line.partition('=')[0]}"
    (domain,) = (d for d in space("optimizer=adamw", f"optimizer.adamw.{line}").domains() if d.key == key)
    random = Random(0)
    drawn = [domain.sample(random) for _ in range(1000)]
    assert len(set(drawn)) == 1000 and all(value in domain for value in drawn)
    assert sum(value < middle for value in drawn) / 1000 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("said", "value"),
    [("0.1,0.1", "0.1"), ("0.1,1e-1,0.10", "0.1"), ("1,1.0,2,1", "choice(1.0, 2.0)"), ("choice(0.2,0.1,0.2)", "choice(0.2, 0.1)")],
)
def test_a_value_that_is_said_twice_is_one(said, value):
    assert str(space("optimizer=adamw", f"optimizer.adamw.lr={said}").options["optimizer"]["adamw"].values["lr"]) == value
