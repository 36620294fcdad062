"""From a command line, or a file, to the config tree."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_store import ConfigStore
from hydra.version import getbase

from autoopt.config import SETTINGS, as_overrides, asked_for, compose, composing, flat, from_file, presets, seconds
from autoopt.config.check import typed_pins
from autoopt.config.composing import COMPOSED, OURS, forget, store_node
from autoopt.config.overrides import GROUPS
from autoopt.errors import BadInput
from autoopt.slots import SLOTS
from autoopt.space import Space
from autoopt.technique import available, find

DATA = "data=digits"
CSV = ("data=csv", "data.csv.path=t.csv", "data.csv.target=y")


def file(tmp_path, tree):
    path = tmp_path / "search.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return str(path)


def problems(*arguments, file=None):
    with pytest.raises(BadInput) as caught:
        compose(arguments, file)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("arguments", "slot", "nodes"),
    [
        (["optimizer=adamw"], "optimizer", ["adamw"]),
        (["optimizer=adamw,sgd"], "optimizer", ["adamw", "sgd"]),
        (["optimizer=sgd,adamw"], "optimizer", ["sgd", "adamw"]),
        (["optimizer=[adamw,sgd]"], "optimizer", ["adamw", "sgd"]),
        (["optimizer=adamw,adamw"], "optimizer", ["adamw"]),
        (["optimizer=choice(adamw,sgd)"], "optimizer", ["adamw", "sgd"]),
        (["optimizer=recommended"], "optimizer", ["keep", "adamw", "nesterov"]),
        (["optimizer=[recommended,sgd]"], "optimizer", ["keep", "adamw", "nesterov", "sgd"]),
        (["optimizer=all"], "optimizer", list(dict.fromkeys(["keep", "adamw", "nesterov", *available("optimizer")]))),
        (["optimizer=adamw", "optimizer=sgd"], "optimizer", ["sgd"]),
        (["augmentation=none"], "augmentation", []),
        (["augmentation=null"], "augmentation", []),
        (["regularizer=none"], "regularizer", []),
        (["compression=half"], "compression", ["half"]),
        ([], "compression", []),
        ([], "model", ["mlp"]),
        ([], "augmentation", ["translate", "mixup"]),
    ],
)
def test_what_fills_a_slot(arguments, slot, nodes):
    assert list(compose([DATA, *arguments])[slot]) == nodes


def test_an_object_whose_name_looks_like_a_number():
    tree = compose([DATA, "optimizer=adamw,own_parts:nan", "optimizer.nan.lr=0.1"])
    assert tree["optimizer"]["nan"] == {"from": "own_parts:nan", "lr": 0.1}
    assert compose(as_overrides(tree)) == tree


@pytest.mark.parametrize(
    ("argument", "uses"),
    [
        ("augmentation=translate,mixup", {"translate": "choice(true, false)", "mixup": "choice(true, false)"}),
        ("augmentation=[translate,mixup]", {"translate": True, "mixup": True}),
        ("augmentation=mixup", {"mixup": True}),
        ("augmentation=recommended", {"translate": "choice(true, false)", "mixup": "choice(true, false)"}),
        ("augmentation=[recommended,translate]", {"translate": True, "mixup": "choice(true, false)"}),
        ("augmentation=all", dict.fromkeys(available("augmentation"), "choice(true, false)")),
        ("augmentation=[own_parts:noise]", {"noise": True}),
        ("augmentation=own_parts:noise,mixup", {"noise": "choice(true, false)", "mixup": "choice(true, false)"}),
    ],
)
def test_on_or_off_or_always(argument, uses):
    assert {name: node["use"] for name, node in compose([DATA, argument])["augmentation"].items()} == uses


@pytest.mark.parametrize(
    ("argument", "key", "value"),
    [
        ("optimizer.adamw.lr=0.003", "lr", 0.003),
        ("optimizer.adamw.lr=1", "lr", 1.0),
        ("optimizer.adamw.lr=1e3", "lr", 1000.0),
        ("optimizer.adamw.lr=interval(1e-4,1e-2)", "lr", "interval(1e-4,1e-2)"),
        ("optimizer.adamw.lr=interval(1e-9,10)", "lr", "interval(1e-9,10)"),
        ("optimizer.adamw.lr=tag(log,interval(1e-4,1e-2))", "lr", "tag(log,interval(1e-4,1e-2))"),
        ("optimizer.adamw.lr=0.1,0.2", "lr", "choice(0.1,0.2)"),
        ("optimizer.adamw.lr=choice(0.1, 0.2)", "lr", "choice(0.1, 0.2)"),
        ("optimizer.adamw.lr=range(0.1,0.5,0.1)", "lr", "range(0.1,0.5,0.1)"),
        ("optimizer.adamw.beta1=0.9", "lr", "tag(log, interval(1e-05, 0.1))"),
    ],
)
def test_what_an_argument_takes(argument, key, value):
    found = compose([DATA, "optimizer=adamw", argument])["optimizer"]["adamw"][key]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("overrides", "key", "asked"),
    [
        ([], "loss/bce", False),
        ([], "model/mlp", False),
        (["optimizer=recommended"], "optimizer/keep", False),
        (["optimizer=all"], "optimizer/keep", False),
        (["optimizer=adamw,sgd"], "optimizer/sgd", True),
        (["loss=mse"], "loss/mse", True),
        ([], "batches/size", False),
        (["data=lightning.pytorch.demos.boring_classes:BoringDataModule"], "batches/size", False),
        (["data=lightning.pytorch.demos.boring_classes:BoringDataModule", "batches.size=null,8"], "batches/size", True),
    ],
)
def test_a_technique_of_a_preset_is_not_asked_for(overrides, key, asked):
    assert asked_for(compose(["data=digits", *overrides]), key) is asked


def test_a_choice_of_texts_with_signs_in_them():
    flavours = r"""choice('it\'s', "a, (b) = c", \\)"""
    tree = compose([DATA, "model=own_parts:Net", f"model.Net.flavour={flavours}", "model.Net.cut=null,0.5"])
    assert tree["model"]["Net"]["flavour"] == flavours and tree["model"]["Net"]["cut"] == "choice(null,0.5)"


@pytest.mark.parametrize(
    "settings",
    [
        {
            "study.trials=12.0": 12, "study.time=90s": "90s", "name=2024": "2024", "root=5": "5", "executor.gpus_per_trial=2": 2.0,
            "batches.size=null": None, "tracking.enabled=false": False, "objective=val/acc": "val/acc", "executor.trial_time=null": None,
        },
        {"name=null": None, "study.time=8h": "8h", "batches.size=32,64": "choice(32,64)"},
        {"batches.size=range(32,129,32)": "range(32,129,32)"},
    ],
)  # fmt: skip
def test_settings_have_their_type(settings):
    tree = compose([DATA, *settings])
    for argument, value in settings.items():
        head, _, tail = argument.partition("=")[0].rpartition(".")
        found = (tree[head] if head else tree)[tail]
        assert found == value and type(found) is type(value), argument


def test_the_settings_are_the_keys_beside_the_slots():
    beside = {key for key in flat(compose([DATA])) if key.split(".")[0] not in SLOTS and key.count(".") < 2}
    assert beside == set(SETTINGS)


OWN = {
    "data": "examples", "model": "Net", "activation": "Bent", "initializer": "zeros", "augmentation": "noise", "regularizer": "Watch",
    "loss": "Focal", "optimizer": "Thing", "schedule": "falling", "device": "here", "compression": "smaller",
}  # fmt: skip


@pytest.mark.parametrize("several", ["[val_f1,latency_ms]", "'val_f1 latency_ms'"])
def test_settings_of_several_words_take_a_list_as_well(several):
    assert compose(["data=digits", f"objective={several}"])["objective"] == "val_f1 latency_ms"


def test_bounds_by_the_names_of_metrics(tmp_path):
    tree = compose(["data=digits", "constraints.latency_ms=2", "constraints.val/recall=0.9"])
    assert tree["constraints"] == {"latency_ms": 2.0, "val/recall": 0.9}
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(tree))
    assert compose(["constraints.latency_ms=3"], str(tmp_path / "again.yaml"))["constraints"] == {"latency_ms": 3.0, "val/recall": 0.9}


def test_every_slot_takes_an_import_path():
    tree = compose([f"{slot}=own_parts:{name}" for slot, name in OWN.items()])
    assert set(OWN) == set(SLOTS)
    for slot, name in OWN.items():
        (node,) = tree[slot].values()
        technique = find(slot, f"own_parts:{name}")
        assert list(tree[slot]) == [name] and node.pop("from") == f"own_parts:{name}"
        assert set(node) == {*technique.params, *(["use"] if SLOTS[slot].many else [])} and node


@pytest.mark.parametrize(
    ("said", "name", "arguments"),
    [
        ("optimizer=own_front:Renamed", "Renamed", {"lr", "mode", "times"}),
        ("model=own_front:make", "make", {"hidden"}),
        ("model=own_parts:shaped", "shaped", {"width", "depth"}),
        ("optimizer=own_nested:Outer.Inner", "Inner", {"lr"}),
    ],
)
def test_re_exports_functions_and_nested_classes(said, name, arguments):
    slot, _, path = said.partition("=")
    node = compose([DATA, said])[slot]
    assert list(node) == [name] and node[name]["from"] == path and arguments <= set(node[name])


def test_ones_own_arguments_are_pinned_searched_and_checked():
    own = [DATA, "model=own_parts:Net", "optimizer=adamw,own_parts:Thing"]
    tree = compose([*own, "model.Net.hidden=64,128", "model.Net.dropout=interval(0,0.5)", "optimizer.Thing.mode='a, b'"])
    assert tree["model"]["Net"] | {"from": ""} == {
        "from": "", "hidden": "choice(64,128)", "dropout": "interval(0,0.5)", "flavour": "it's, (so) = far", "cut": None,
    }  # fmt: skip
    assert tree["optimizer"]["Thing"]["mode"] == "a, b"
    assert problems(*own, "model.Net.hiden=3", "model.Net.hidden=big", "model.Net.dropout=null") == [
        "No model.Net argument named 'hiden'. Did you mean 'hidden'? Known: cut, dropout, flavour, hidden.",
        "model.Net.hidden=big: expected int, got 'big'",
        "model.Net.dropout=null: expected float, got null",
    ]


def test_what_is_always_on_by_import_path_and_nested():
    tree = compose([DATA, "augmentation=[own_parts:noise]", "regularizer=own_nested:Outer.Inner"])
    assert tree["augmentation"]["noise"]["use"] is True and tree["regularizer"]["Inner"]["use"] is True


def test_a_builtin_comes_back_after_an_import_path_took_its_name():
    assert list(compose([DATA, "optimizer=own_parts:adamw"])["optimizer"]["adamw"]) == ["from", "lr"]
    assert set(compose([DATA, "optimizer=adamw"])["optimizer"]["adamw"]) == {"lr", "weight_decay", "beta1", "beta2"}


def test_what_is_in_hydras_store_is_not_put_there_again(monkeypatch):
    compose([DATA, "optimizer=own_parts:adamw"])
    stored = []
    monkeypatch.setattr(ConfigStore.instance(), "store", lambda **node: stored.append(node["name"]))
    compose([DATA, "optimizer=own_parts:adamw"])
    assert stored == ["adamw", "adamw"], "the builtin and the one of its name take turns"
    for default in (1, 1.0, True):
        store_node("optimizer", "alike", "optimizer.alike", {"a": default})
    assert stored[2:] == ["alike"] * 3, "equal, but of other types"


def test_a_model_of_ones_own_is_searched_with_care():
    tree = compose([DATA, "model=own_parts:Net"])
    assert {slot: list(tree[slot]) for slot in ("initializer", "augmentation", "regularizer", "loss", "activation")} == {
        "initializer": ["keep"], "augmentation": [], "regularizer": ["ema", "gradient_clip"],
        "loss": ["keep", "cross_entropy", "mse", "bce"],
        "activation": ["keep"],
    }  # fmt: skip
    named = compose([DATA, "model=own_parts:Net", "augmentation=mixup", "initializer=recommended"])
    assert list(named["augmentation"]) == ["mixup"] and len(named["initializer"]) == 2


@pytest.mark.parametrize(
    ("arguments", "study"),
    [
        ([], (60, 30, 5)),
        (["study=quick"], (12, 10, 3)),
        (["study=thorough"], (200, 60, 10)),
        (["study=quick", "study.trials=5"], (5, 10, 3)),
        (["study.trials=5", "study=quick"], (5, 10, 3)),
        (["study=quick", "study=thorough"], (200, 60, 10)),
    ],
)
def test_presets_of_settings(arguments, study):
    node = compose([DATA, *arguments])["study"]
    assert (node["trials"], node["epochs"], node["seeds"]) == study and node["confirm"] == 5


@pytest.mark.parametrize("order", [1, -1])
def test_on_the_command_line_the_order_is_free(order):
    arguments = [DATA, "optimizer=sgd,adamw", "optimizer.sgd.lr=0.5", "model=own_parts:Net", "model.Net.hidden=3"]
    assert compose(arguments[::order]) == compose(arguments)


WHOLE = [
    [DATA],
    [*CSV, "data.csv.separator=';'", "data.csv.path='my data/it\\'s (1), a=b.csv'"],
    [DATA, "augmentation=[translate,mixup]", "regularizer=none", "optimizer.adamw.lr=interval(1e-4,1e-2)", "study=quick"],
    [DATA, "model=own_parts:Net", "optimizer=own_parts:Thing,adamw", "model.Net.hidden=64,128", "augmentation=[own_parts:noise]"],
    [DATA, "model=mlp,cnn,own_front:make", "optimizer=all", "augmentation=all", "compression=half", "loss=own_parts:Focal"],
    [DATA, "model=own_parts:shaped", "model.shaped.width=interval(20,99)", "batches.size=range(8,65,8)", "name=mine", "study.time=8h"],
    [DATA, "optimizer=own_parts:schedule_free", "schedule=[]"],
    [DATA, "model=own_parts:Net", r"""model.Net.flavour=choice("it's",'(a, b)=\\')""", "augmentation=own_parts:pixels,mixup"],
]


@pytest.mark.parametrize("arguments", WHOLE, ids=lambda a: a[-1])
def test_a_composed_tree_is_a_file_that_composes_to_itself(tmp_path, arguments):
    tree = compose(arguments)
    assert compose([], file(tmp_path, tree)) == tree


def test_a_file_stands_over_the_defaults_and_the_command_line_over_both(tmp_path):
    own = {
        "data": "digits",
        "optimizer": {"adamw": {"lr": 0.5}, "sgd": {"lr": "interval(0.1, 0.2)"}},
        "augmentation": ["mixup"],
        "schedule": "constant,cosine",
        "study": {"trials": 7, "time": "1h"},
        "split": {"seed": 3},
        "root": "über (1)",
    }
    path = file(tmp_path, own)
    tree = compose([], path)
    decay, beta1 = "tag(log, interval(1e-06, 1.0))", "interval(0.8, 0.99)"
    assert tree["optimizer"]["adamw"] == {"lr": 0.5, "weight_decay": decay, "beta1": beta1, "beta2": 0.999}
    assert tree["optimizer"]["sgd"]["lr"] == "interval(0.1, 0.2)" and list(tree["schedule"]) == ["constant", "cosine"]
    assert tree["augmentation"]["mixup"]["use"] is True and tree["root"] == "über (1)"
    assert (tree["study"]["trials"], tree["study"]["epochs"], tree["split"]["seed"], tree["split"]["test"]) == (7, 30, 3, 0.2)
    over = compose(["study.trials=9", "optimizer.adamw.lr=0.25", "data=diabetes"], path)
    assert (over["study"]["trials"], over["study"]["time"], list(over["data"])) == (9, "1h", ["diabetes"])
    assert over["optimizer"]["adamw"]["lr"] == 0.25 and over["optimizer"]["sgd"] == tree["optimizer"]["sgd"]


@pytest.mark.parametrize(
    ("argument", "nodes"),
    [
        ("optimizer=sgd", {"sgd": 0.5}),
        ("optimizer=sgd,adam", {"sgd": 0.5, "adam": "tag(log, interval(1e-05, 0.1))"}),
        ("optimizer=adam", {"adam": "tag(log, interval(1e-05, 0.1))"}),
        ("optimizer=own_parts:Thing", {"Thing": 0.1}),
    ],
)
def test_pins_of_options_that_are_gone_go_with_them(tmp_path, argument, nodes):
    path = file(tmp_path, {"data": "digits", "optimizer": {"sgd": {"lr": 0.5}, "adamw": {"lr": 0.25}}})
    assert {name: node["lr"] for name, node in compose([argument], path)["optimizer"].items()} == nodes


def test_a_preset_over_a_file_keeps_the_pins_of_what_it_brings(tmp_path):
    path = file(tmp_path, {"data": "digits", "optimizer": {"sgd": {"lr": 0.5}, "adamw": {"lr": 0.25}}})
    tree = compose(["optimizer=recommended"], path)
    assert "sgd" not in tree["optimizer"] and tree["optimizer"]["adamw"]["lr"] == 0.25
    assert compose(["optimizer=all"], path)["optimizer"]["sgd"]["lr"] == 0.5


@pytest.mark.slow
def test_a_preset_of_settings_over_a_whole_file(tmp_path):
    path = file(tmp_path, compose([DATA, "study.trials=99"]))
    assert compose([], path)["study"]["trials"] == 99
    assert compose(["study=quick"], path)["study"] == compose([DATA, "study=quick"])["study"]
    assert compose(["study=quick", "study.trials=5"], path)["study"]["trials"] == 5


def test_on_or_off_over_a_file_that_says_always(tmp_path):
    path = file(tmp_path, compose([DATA, "augmentation=[translate,mixup]", "augmentation.mixup.alpha=0.3"]))
    node = compose(["augmentation=translate,mixup"], path)["augmentation"]
    assert {name: n["use"] for name, n in node.items()} == dict.fromkeys(node, "choice(true, false)") and node["mixup"]["alpha"] == 0.3


def test_numbers_as_yaml_writes_them(tmp_path):
    text = "data: digits\nmodel: {mlp: {width: 1e2}}\noptimizer: {adamw: {lr: 1e-3, beta1: 0.9}}\nbatches: {size: 16}\nname: 1e5x\n"
    tree = compose([], file(tmp_path, text))
    assert tree["optimizer"]["adamw"] | {"weight_decay": 0} == {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0}
    assert tree["model"]["mlp"]["width"] == 100 and tree["name"] == "1e5x"


def test_a_text_that_looks_like_a_number_stays_a_text(tmp_path):
    path = file(tmp_path, {"data": {"csv": {"path": "1e-3", "target": "null"}}})
    csv = compose([], path)["data"]["csv"]
    assert (csv["path"], csv["target"]) == ("1e-3", "null")


def test_a_file_may_be_given_as_its_overrides(tmp_path):
    path = file(tmp_path, {"data": "digits", "optimizer": {"sgd": {"lr": 0.5}}})
    assert compose(["optimizer=adam"], base=from_file(path)) == compose(["optimizer=adam"], path)
    tree = compose([], path)
    assert compose(as_overrides(tree)) == tree


def test_typing_a_typed_tree_changes_nothing():
    tree = compose([DATA, "optimizer.adamw.lr=1"])
    assert typed_pins(copy.deepcopy(tree)) == tree


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8h", 28800),
        ("30m", 1800),
        ("1h30m", 5400),
        ("90s", 90),
        ("5min", 300),
        ("1h30min", 5400),
        ("1.5h", 5400),
        ("1d 2h", 93600),
        ("0s", 0),
        (None, None),
    ],
)
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "h", "5", "5.0", "1h30", "8x", "-5m", "1.2.3h", ".", "30m1h", "8 hours", "1e3", "nan", "8h8h"])
def test_durations_that_are_none(text):
    with pytest.raises(ValueError, match="expected a time above 0 in d, h, min or s, such as 5min, 2h, 90s or 1h30m"):
        seconds(text)


@pytest.mark.parametrize(
    ("pretrained", "initializers"),
    [("true", ["keep"]), ("true,false", ["keep"]), ("false", ["keep", "he_normal"]), (None, ["keep", "he_normal"])],
)
@pytest.mark.parametrize("model", [["model=timm", "model.timm.name=resnet18"], ["model=timm_small"]])
def test_pretrained_weights_are_overwritten_by_a_named_initializer_alone(model, pretrained, initializers):
    given = [] if pretrained is None else [f"model.timm.pretrained={pretrained}"]
    timm = ["data=digits", *model, *given]
    assert [*compose(timm)["initializer"]] == initializers
    assert [*compose([*timm, "initializer=orthogonal"])["initializer"]] == ["orthogonal"]


def test_the_preset_of_small_timm_models_is_a_choice_of_names():
    space = Space.of(compose(["data=digits", "model=timm_small", "model.timm.pretrained=true"]))
    (names,) = (domain.values.options for domain in space.domains() if domain.path == "model.timm.name")
    assert names == ("resnet18", "mobilenetv3_small_100", "efficientnet_b0", "regnetx_002")
    narrowed = compose(["data=digits", "model=timm_small", "model.timm.name=resnet18,efficientnet_b0"])
    assert narrowed["model"]["timm"]["name"] == "choice(resnet18,efficientnet_b0)"


def test_a_program_with_a_hydra_of_its_own_finds_it_again(tmp_path):
    (tmp_path / "mine.yaml").write_text("a: 1")
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        compose(["data=digits"])
        assert hydra_compose("mine") == {"a": 1} and str(getbase()) == "1.2"


def test_a_program_finds_its_own_nodes_in_hydras_store_again_and_none_of_ours(tmp_path, monkeypatch):
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", {**store.repo})
    store.store(group="optimizer", name="adamw", node={"mine": 1})
    assert "mine" not in compose(["data=digits", "optimizer=adamw"])["optimizer"]["adamw"]
    assert [*store.repo["optimizer"]] == ["adamw.yaml"] and "schedule" not in store.repo
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        assert hydra_compose(overrides=["+optimizer=adamw"]) == {"optimizer": {"mine": 1}}


def compose_anew(*arguments):
    for group in ("", *GROUPS):
        forget(group)
    assert not COMPOSED
    return compose(arguments)


def test_no_group_of_hydras_own_is_read_and_no_store_copied(monkeypatch):
    """A third of the time to compose went there."""
    read, load = {}, ConfigRepository.load_config

    def noted(repository, config_path):
        found = load(repository, config_path)
        return read.update({config_path: repository} if found else {}) or found

    monkeypatch.setattr(ConfigRepository, "load_config", noted)
    compose_anew(DATA)
    assert [path for path in read if path.startswith("hydra/")] == ["hydra/config"]
    assert read["optimizer/adamw"].get_schema_source().store.repo["optimizer"] is OURS["optimizer"]


@pytest.fixture
def composed(monkeypatch):
    """What Hydra is asked to compose."""
    asked = []
    monkeypatch.setattr(composing, "hydra_compose", lambda name, lines: asked.append(lines) or hydra_compose(name, lines))
    return asked


def test_hydra_composes_once_for_what_is_selected_until_a_node_changes(composed):
    first = compose_anew(DATA, "study.trials=7")
    first["study"]["trials"] = 1
    assert [compose([DATA, *more])["study"]["trials"] for more in ([], ["study.trials=8"], ["study.trials=7"])] == [60, 8, 7]
    assert len(composed) == 1
    store_node("optimizer", "adamw", "optimizer.adamw", {"changed": 1})
    assert "changed" not in compose([DATA])["optimizer"]["adamw"] and len(composed) == 2
    assert "model=[]" in composed[1] and "optimizer=[]" not in composed[1], "the others as they were"


@pytest.mark.slow
def test_groups_that_were_composed_one_by_one_are_as_composed_together(composed):
    """With each preset: none has values of another group."""
    told = {group: presets(group) for group in GROUPS if presets(group)}
    together = [
        [f"{group}={names[number % len(names)]}" for group, names in told.items()] for number in range(max(map(len, told.values())))
    ]
    wholes = [compose_anew(DATA, *lines) for lines in together]
    assert not [line for asked in composed for line in asked if line.endswith("=[]")]
    for line in sorted({line for lines in together for line in lines}):
        compose([DATA, line])
    composed.clear()
    for lines, whole in zip(together, wholes, strict=True):
        found = compose([DATA, *lines])
        assert found == whole and [*flat(found)] == [*flat(whole)]
    assert composed == []


def test_threads_compose_side_by_side():
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: compose(["data=digits", f"seed={seed}"])["seed"], range(8)))
    assert found == [*range(8)]
