from dataclasses import replace
from random import Random

import pytest
from scripted import Fails, composed, runner
from torch import nn

from autoopt.errors import BadInput, NotConcluded
from autoopt.goal import Objective
from autoopt.orders import Contrast, Outcome, TryOut
from autoopt.space import Space
from autoopt.study.objectives import bounds_of, choose_objectives
from autoopt.study.preflight import preflight, rehearse

SOME = (
    "data=digits",
    "optimizer=adamw,sgd,momentum",
    "schedule=constant,cosine",
    "loss=cross_entropy",
    "augmentation=translate,mixup",
    "regularizer=none",
    "initializer=keep",
    "device=cpu",
)


class Net(nn.Module):
    def __init__(self, weight: float = 1.0, bias: bool = False, depth: int = 1, width: int = 4):
        super().__init__()


def random_recipe(space, seed):
    random = Random(seed)
    return space.walk(lambda domain: domain.sample(random))


LOGGED = {"val_accuracy": 0.1, "val_loss": 2.3, "train_loss": 2.3}
TESTED = {"test_accuracy": 0.1, "test_loss": 2.3}
WELL = Outcome(LOGGED, tested=TESTED)


def broken(detail, slot="", name="", unavailable=False, reason="plugin"):
    return Fails(reason, detail, slot, name, unavailable)


def checked(path, *overrides, own=None, alone=False, logged=LOGGED, **ends):
    """A preflight in which some variants end otherwise than well: by their key, as in `optimizer-sgd`."""

    def play(order):
        yield logged
        end = ends.get(order.key.removeprefix("preflight/").replace("-", "_"), replace(WELL, metrics=logged))
        end = end(order) if callable(end) else end
        if isinstance(end, Fails):
            raise end
        return end

    tree = composed(*SOME, *overrides)
    run = runner(path, play, 2, objective=None)
    settled = (rehearse if alone else preflight)(Space.of(tree), run, tree, own)
    return settled, run.executor.orders, run


def names(orders):
    return [order.key.removeprefix("preflight/") for order in orders]


def test_each_technique_is_tried_once_on_two_batches(tmp_path):
    settled, asked, run = checked(tmp_path)
    assert names(asked) == [
        "baseline",
        "augmentation-translate",
        "augmentation-mixup",
        "optimizer-sgd",
        "optimizer-momentum",
        "schedule-cosine",
    ]
    assert {type(order) for order in asked} == {TryOut}
    assert {order.time_limit for order in asked} == {300}
    assert {order.time_limit for order in checked(tmp_path, "executor.trial_time=3s")[1]} == {3}
    assert [list(order.recipe.tree["optimizer"]) for order in asked[-3:-1]] == [["sgd"], ["momentum"]]
    assert [list(order.recipe.tree["augmentation"]) for order in asked[:3]] == [[], ["translate"], ["mixup"]]
    assert (settled.space.dropped, settled.goal.first.name, settled.goal.first.direction) == ({}, "val_accuracy", "maximize")
    assert settled.part == "test"
    assert run.screen.stages == [("preflight", 5, 0)]


def test_an_argument_that_changes_the_objective_itself_is_told(tmp_path):
    changed = {"weight": ["val_accuracy", "val_loss"], "bias": ["val_loss"], "depth": Fails("error", "RuntimeError: other layers")}

    def play(key):
        return changed[key] if isinstance(changed[key], Fails) else Outcome(validated=changed[key])

    said = [f"model={__name__}:Net", "model.Net.weight=1,2", "model.Net.bias=false,true", "model.Net.depth=1,2", "model.Net.width=8"]
    _, asked, run = checked(tmp_path, *said, **{f"model.Net.{key}": play(key) for key in changed})
    contrasts = [order for order in asked if isinstance(order, Contrast)]
    first = {"weight": 1.0, "bias": False, "depth": 1}
    assert [o.recipe.tree["model"]["Net"] for o in contrasts] == [{"from": f"{__name__}:Net", **first, "width": 8}] * 3
    others = [{"weight": 2.0}, {"bias": True}, {"depth": 2}]
    assert [o.other["model"]["Net"] for o in contrasts] == [{"from": f"{__name__}:Net", **first, "width": 8, **other} for other in others]
    (told,) = [line for line in run.screen.lines if "model.Net." in line]
    assert told.startswith("model.Net.weight=2.0 gives another val_accuracy for the same weights")


@pytest.mark.parametrize(
    ("more", "left"), [([], ["weight_decay_scale"]), (["optimizer.keep.lr_scale=0.5,1"], ["lr_scale", "weight_decay_scale"])]
)
def test_the_rate_that_an_argument_sets_has_no_second_factor_unless_that_is_asked_for(tmp_path, more, left):
    said = [f"model={__name__}:Net", "model.Net.weight=1,2", "optimizer=keep", *more]
    settled, _, _ = checked(tmp_path, *said, **{"model.Net.weight": Outcome(scaled=["lr"])})
    assert [d.key.removeprefix("optimizer.keep.") for d in settled.space.domains() if d.key.startswith("optimizer.keep.")] == left
    assert settled.space.dropped == ({} if more else {"optimizer/keep.lr_scale": "model.Net.weight is searched, which sets this"})


def test_alone_tries_the_baseline_only(tmp_path):
    assert names(checked(tmp_path, alone=True)[1]) == ["baseline"]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (broken("no CUDA device", "optimizer", "sgd", unavailable=True), "no CUDA device"),
        (broken("RuntimeError: boom", "optimizer", "sgd"), "RuntimeError: boom"),
        (broken("returned str, expected Optimizer", "optimizer", "sgd"), "returned str, expected Optimizer"),
        (Fails("lost", "killed by SIGKILL"), "lost: killed by SIGKILL"),
        (Fails("timeout", "took longer than 300 s"), "timeout: took longer than 300 s"),
        (Fails("error", "exited with 3"), "exited with 3"),
    ],
)
def test_what_does_not_work_drops_out_with_its_reason(tmp_path, end, reason):
    settled, *_ = checked(tmp_path, optimizer_sgd=end)
    assert settled.space.dropped == {"optimizer/sgd": reason}
    assert settled.space.broken == (set() if reason == "no CUDA device" else {"optimizer/sgd"}), "what is not available here is in order"
    assert list(settled.space.options["optimizer"]) == ["adamw", "momentum"]


@pytest.mark.parametrize("key", ["baseline", "own_baseline", "optimizer_sgd"])
@pytest.mark.parametrize("reason", ["preempted", "disk", "system", "user"])
def test_what_the_machine_ended_settles_nothing(tmp_path, key, reason):
    name = key.replace("_", "-")
    with pytest.raises(NotConcluded, match=rf"^preflight/{name} was not tried to its end \({reason}: gone\); the same command tries"):
        checked(tmp_path, own=OWN, **{key: Fails(reason, "gone")})


@pytest.mark.parametrize("first", ["optimizer=sgd,adamw", "optimizer=adamw,sgd"])
def test_what_was_set_to_a_value_that_does_not_work_is_refused(tmp_path, first):
    def end(order):
        wrong = order.recipe.tree["optimizer"].get("sgd", {}).get("lr") == 7
        return broken("ValueError: Invalid learning rate", "optimizer", "sgd") if wrong else WELL

    said = "^optimizer.sgd.lr=7.0, optimizer.sgd.weight_decay=0.3: optimizer=sgd cannot be used with these values: ValueError"
    with pytest.raises(BadInput, match=said):
        checked(tmp_path, first, "optimizer.sgd.lr=7", "optimizer.sgd.weight_decay=0.3", baseline=end, optimizer_sgd=end)


def test_what_is_not_available_drops_out_whatever_was_set_for_it(tmp_path):
    settled, *_ = checked(tmp_path, "optimizer.sgd.lr=0.1", optimizer_sgd=broken("no", "optimizer", "sgd", unavailable=True))
    assert settled.space.dropped == {"optimizer/sgd": "no"}


@pytest.mark.parametrize("end", [Fails("oom_device", "no memory"), broken("RuntimeError: boom", "model", "mlp")])
def test_what_fails_for_another_reason_drops_out_whatever_was_set_for_it(tmp_path, end):
    settled, *_ = checked(tmp_path, "optimizer.sgd.lr=0.1", optimizer_sgd=end)
    assert settled.space.dropped.keys() == settled.space.broken == {"optimizer/sgd"}


OWN = Space.of(composed(*SOME)).baseline().replace(optimizer={"nesterov": {"lr": 0.1}})


@pytest.mark.parametrize("alone", [False, True])
def test_a_baseline_of_its_own_is_tried_too(tmp_path, alone):
    settled, asked, _ = checked(tmp_path, own=OWN, alone=alone)
    assert names(asked)[:2] == ["baseline", "own-baseline"]
    assert asked[1].recipe == OWN
    assert isinstance(asked[1], TryOut) and asked[1].time_limit == 300
    assert settled.space.dropped == {}


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (broken("RuntimeError: boom", "optimizer", "nesterov"), "optimizer/nesterov: RuntimeError: boom"),
        (Fails("lost", "killed by SIGKILL"), "lost: killed by SIGKILL"),
    ],
)
def test_a_baseline_of_its_own_that_cannot_be_trained_is_refused(tmp_path, end, reason):
    asked = []
    with pytest.raises(
        BadInput,
        match=f"^the module as it is written cannot be trained: {reason}; mend it, or name a recipe to compare with: baseline=FILE$",
    ):
        checked(tmp_path, own=OWN, own_baseline=end, optimizer_sgd=lambda order: asked.append(order))
    assert asked == [], "the others are not tried any more"


def test_a_baseline_from_a_file_that_cannot_be_trained_is_refused_by_its_name(tmp_path):
    with pytest.raises(BadInput, match=r"^baseline=mine\.yaml cannot be trained: lost: killed by SIGKILL$"):
        checked(tmp_path, "baseline=mine.yaml", own=OWN, own_baseline=Fails("lost", "killed by SIGKILL"))


@pytest.mark.parametrize("alone", [False, True])
def test_a_module_whose_own_optimizer_fails_is_refused_and_not_replaced_as_baseline(tmp_path, alone):
    def end(order):
        return broken("its lr is missing", "optimizer", "keep") if "keep" in order.recipe.tree["optimizer"] else WELL

    said = "^the module as it is written cannot be trained: optimizer/keep: its lr is missing; mend it, or name a recipe to compare with"
    with pytest.raises(BadInput, match=said):
        checked(tmp_path, "optimizer=keep,adamw", baseline=end, alone=alone)
    settled, *_ = checked(tmp_path, "optimizer=keep,adamw", own=OWN, baseline=end, alone=alone)
    assert list(settled.space.options["optimizer"]) == ["adamw"], "a recipe of its own is compared with"


def test_a_technique_that_was_pinned_on_cannot_drop_out(tmp_path):
    failing = broken("boom", "augmentation", "mixup")
    with pytest.raises(BadInput, match="augmentation=mixup cannot be used here: boom"):
        checked(tmp_path, "augmentation=[translate,mixup]", baseline=failing)


def test_where_a_model_is_one_of_several_a_pinned_technique_that_does_not_work_with_it_is_kept_from_it(tmp_path):
    """It stays on with the others."""

    def end(order):
        linear = "linear" in order.recipe.tree["model"]
        return broken("no activation", "activation", "relu", unavailable=True) if linear else WELL

    settled, *_ = checked(tmp_path, "model=mlp,linear", "activation=relu", linear_activation_relu=end)
    assert list(settled.space.options["model"]) == ["mlp"]


def test_a_first_option_that_does_not_work_leaves_the_baseline_to_the_next(tmp_path):
    def end(order):
        return broken("no", "optimizer", "adamw") if "adamw" in order.recipe.tree["optimizer"] else WELL

    settled, asked, _ = checked(tmp_path, baseline=end)
    assert names(asked)[:3] == ["baseline", "baseline", "augmentation-translate"]
    assert list(settled.space.baseline().tree["optimizer"]) == ["sgd"]
    assert (settled.space.dropped, settled.space.broken) == ({"optimizer/adamw": "no"}, {"optimizer/adamw"})


def test_no_option_that_works_is_an_error_with_every_reason(tmp_path):
    def end(order):
        (name,) = order.recipe.tree["schedule"]
        return broken(f"{name} is broken", "schedule", name)

    with pytest.raises(
        BadInput, match=r"the baseline cannot be trained: schedule/cosine: cosine is broken \(log: .*preflight/baseline/log.txt\)"
    ):
        checked(tmp_path, baseline=end)


def test_a_baseline_that_dies_is_an_error_with_its_log(tmp_path):
    with pytest.raises(BadInput, match=r"the baseline cannot be trained: lost: gone \(log: .*preflight/baseline/log.txt\)"):
        checked(tmp_path, baseline=Fails("lost", "gone"))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"manual": True, "optimizers": 1}, "the module optimizes manually, so it keeps its own"),
        ({"manual": False, "optimizers": 2}, "the module has 2 optimizers, so it keeps its own"),
    ],
)
def test_a_module_that_optimizes_by_hand_keeps_its_own(tmp_path, said, reason):
    settled, asked, _ = checked(tmp_path, "optimizer=keep,adamw", "schedule=keep,constant,cosine", baseline=replace(WELL, **said))
    assert (list(settled.space.options["optimizer"]), list(settled.space.options["schedule"])) == (["keep"], ["keep"])
    assert settled.space.dropped == {"optimizer/adamw": reason, "schedule/constant": reason, "schedule/cosine": reason}
    assert "optimizer-adamw" not in names(asked), "there is nothing to try"


@pytest.mark.parametrize(("decays", "own"), [(True, None), (False, None), (False, "keep")])
def test_the_decay_of_an_optimizer_that_decays_nothing_is_not_scaled(tmp_path, decays, own):
    """Told by the try-out that trains with the author's optimizer, be it the baseline's or that of the module as it is written."""
    ends = {"baseline" if own is None else "own_baseline": replace(WELL, decays=decays)}
    first = "optimizer=keep,adamw" if own is None else "optimizer=adamw,keep"
    settled, _, _ = checked(tmp_path, first, own=own and OWN.replace(optimizer={"keep": {}}), **ends)
    searched = {d.path for d in settled.space.domains() if d.path.startswith("optimizer.keep.")}
    reason = {"optimizer/keep.weight_decay_scale": "no group of the module's optimizer decays its weights"}
    assert searched == {"optimizer.keep.lr_scale", *(["optimizer.keep.weight_decay_scale"] if decays else [])}
    assert settled.space.dropped == ({} if decays else reason)


OBJECTIVES = [
    ({}, LOGGED, ("val_accuracy", "maximize")),
    ({}, {"val_loss": 1.0}, ("val_loss", "minimize")),
    ({}, {"val/acc": 1.0, "val_loss": 1.0}, ("val/acc", "maximize")),
    ({}, {"valid/loss": 1.0, "valid/acc": 1.0, "valid/auroc": 1.0}, ("valid/acc", "maximize")),
    ({}, {"validation_loss": 1.0, "valid_iou": 1.0}, ("validation_loss", "minimize")),
    ({"objective": "val_loss"}, LOGGED, ("val_loss", "minimize")),
    ({"objective": "val_loss", "direction": "maximize"}, LOGGED, ("val_loss", "maximize")),
    ({"objective": "my_metric", "direction": "minimize"}, {"my_metric": 1.0}, ("my_metric", "minimize")),
    ({"objective": "latency_ms"}, {"latency_ms": 1.0}, ("latency_ms", "minimize")),
    ({"objective": "inference_samples_per_second"}, {"inference_samples_per_second": 1.0}, ("inference_samples_per_second", "maximize")),
    ({"objective": "size_mb"}, {"size_mb": 1.0}, ("size_mb", "minimize")),
]


@pytest.mark.parametrize(("asked", "logged", "chosen"), OBJECTIVES)
def test_the_objective(asked, logged, chosen):
    (objective,) = choose_objectives({"objective": None, "direction": None, **asked}, logged)
    assert (objective.name, objective.direction) == chosen


def test_several_objectives_and_bounds(tmp_path):
    assert choose_objectives({"objective": "val_accuracy val_loss", "direction": None}, LOGGED) == (
        Objective("val_accuracy", "maximize"),
        Objective("val_loss", "minimize"),
    )
    named = {"objective": "a b", "direction": "minimize maximize"}
    assert [o.direction for o in choose_objectives(named, {"a": 1.0, "b": 1.0})] == ["minimize", "maximize"]
    bounds = bounds_of({"constraints": {"val_loss": 0.5, "val_accuracy": 0.9}}, LOGGED)
    assert [str(bound) for bound in bounds] == ["val_loss at most 0.5", "val_accuracy at least 0.9"]
    settled, asked, _ = checked(tmp_path, "constraints.latency_ms=2", logged={"latency_ms": 1.0, "val_accuracy": 1.0})
    assert asked[0].latency and settled.goal.timed


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("latency", r"^constraints\.latency=2: latency is not measured\. Did you mean 'latency_ms'\? Measured: "),
        (
            "my_metric",
            r"^constraints\.my_metric=2: its name does not tell which way is better; log it as my_metric_loss or my_metric_score$",
        ),
    ],
)
def test_a_bound_of_what_nothing_measures(metric, said):
    with pytest.raises(BadInput, match=said):
        bounds_of({"constraints": {metric: 2.0}}, {"my_metric": 1.0})


@pytest.mark.parametrize(
    ("metric", "limit", "said"),
    [("latency_ms", -1.0, "latency_ms is never under 0"), ("val_accuracy", 1.5, "val_accuracy is never over 1")],
)
def test_a_bound_that_no_model_keeps(metric, limit, said):
    with pytest.raises(BadInput, match=rf"^constraints\.{metric}={limit:g}: no model keeps it, as {said}$"):
        bounds_of({"constraints": {metric: limit}}, {metric: 0.5})


def test_a_bound_of_an_accuracy_in_percent():
    (bound,) = bounds_of({"constraints": {"val_accuracy": 90.0}}, {"val_accuracy": 87.5})
    assert str(bound) == "val_accuracy at least 90"


def logs(*validated, **logged):
    """How a try-out ends whose validation gives these metrics."""
    metrics = {**dict.fromkeys(validated, 1.0), **logged, "size_mb": 1.0, "parameters": 1.0}
    return Outcome(metrics, validated=[*validated, "size_mb", "parameters"])


def test_an_objective_of_the_last_batch_is_told(tmp_path):
    said = "train_loss is that of an epoch's last batch: your training logs it without on_epoch=True"
    ended = replace(logs(train_loss=1.0), by_step=["train_loss", "grad_norm"])
    assert said in checked(tmp_path, "objective=train_loss", baseline=ended, logged={})[2].screen.lines
    assert said not in checked(tmp_path, "objective=size_mb", baseline=ended, logged={})[2].screen.lines


def test_the_one_metric_of_the_validation_whose_direction_is_known_is_the_objective(tmp_path):
    settled, _, run = checked(tmp_path, baseline=logs("my_acc", "score", my_train_acc=1.0), logged={})
    assert (settled.goal.first.name, settled.goal.first.direction) == ("my_acc", "maximize")
    assert run.screen.lines == ["objective=my_acc: the one metric that validation logs and whose name tells which way is better"]


def test_a_mean_of_the_weights_is_left_out_where_only_the_training_measures_the_objective(tmp_path):
    settled, asked, _ = checked(tmp_path, "regularizer=ema,dropout", "objective=train_loss")
    reason = "train_loss is measured on the weights in training, and never on their mean"
    assert settled.space.dropped == {"regularizer/ema": reason} and list(settled.space.options["regularizer"]) == ["dropout"]
    assert not any("ema" in name for name in names(asked))
    with pytest.raises(BadInput, match=f"^regularizer=ema cannot be used here: {reason}$"):
        checked(tmp_path, "regularizer=[ema]", "objective=train_loss")
    for measured in ("val_loss", "seconds"):
        found, *_ = checked(tmp_path, "regularizer=ema", f"objective={measured}", logged={**LOGGED, "seconds": 1.0})
        assert list(found.space.options["regularizer"]) == ["ema"]


@pytest.mark.parametrize(("clipping", "left"), [("5", ["dropout"]), ("5,1", ["dropout"]), ("null", ["gradient_clip", "dropout"])])
def test_clipping_is_left_out_where_the_authors_trainer_clips(tmp_path, clipping, left):
    settled, *_ = checked(tmp_path, "regularizer=gradient_clip,dropout", f"trainer.gradient_clip_val={clipping}")
    assert list(settled.space.options["regularizer"]) == left


def test_what_was_noted_on_the_baseline_is_told(tmp_path):
    *_, run = checked(tmp_path, baseline=replace(WELL, notes=["the module's own configure_optimizers raised"]))
    assert run.screen.lines == ["the module's own configure_optimizers raised"]


def test_among_several_metrics_of_the_validation_the_loss_is_the_objective(tmp_path):
    settled, _, run = checked(tmp_path, baseline=logs("my_acc", "my_f1", "val_loss"), logged={})
    assert (settled.goal.first.name, settled.goal.first.direction, run.screen.lines) == ("val_loss", "minimize", [])


@pytest.mark.parametrize(
    ("validated", "said"),
    [
        (("my_f1", "my_acc", "score"), "name one of my_acc, my_f1; or score, with direction=maximize or direction=minimize$"),
        (("score", "gloss"), "name one of gloss, score, with direction=maximize or direction=minimize$"),
        ((), "validation logs none; give objective=train_acc$"),
    ],
)
def test_without_an_only_one_it_has_to_be_named(tmp_path, validated, said):
    with pytest.raises(BadInput, match=f"^objective=… is needed: {said}"):
        checked(tmp_path, baseline=logs(*validated, train_acc=1.0), logged={})


@pytest.mark.parametrize(
    ("asked", "logged", "said"),
    [
        (
            "val_acuracy",
            LOGGED,
            r"^objective=val_acuracy is not logged\. Did you mean 'val_accuracy'\? Logged: train_loss, val_accuracy, val_loss\.$",
        ),
        ("zzz", LOGGED, r"objective=zzz is not logged\. Logged: train_loss, val_accuracy, val_loss\."),
        (None, {"train_loss": 1.0}, r"objective=… is needed: validation logs none; give objective=train_loss$"),
        (None, {"energy": 1.0, "lr": 0.1}, r"objective=… is needed: name one of energy, with direction=maximize or direction=minimize$"),
        (None, {"size_mb": 1.0}, r"objective=… is needed: the module logs no metric; log one in its validation_step"),
        ("val_accuracy", {}, r"objective=val_accuracy is not logged\. Logged: none\."),
        ("my_metric", {"my_metric": 1.0}, r"objective=my_metric: give direction=maximize or direction=minimize"),
    ],
)
def test_an_objective_that_nothing_logs(asked, logged, said):
    with pytest.raises(BadInput, match=said):
        choose_objectives({"objective": asked, "direction": None}, logged)


def test_a_timed_objective_is_timed_for_the_baseline(tmp_path):
    settled, asked, _ = checked(tmp_path, "objective=latency_ms", logged={"latency_ms": 1.0})
    assert asked[0].latency
    assert not any(order.latency for order in asked[1:]), "the others are only tried"
    assert settled.goal.first.direction == "minimize"


@pytest.mark.parametrize(
    ("objective", "tested", "part"),
    [
        ("val_accuracy", TESTED, "test"),
        ("val_accuracy", {}, "validation"),
        ("val_accuracy", {"test_loss": 1.0}, "validation"),
        ("train_loss", TESTED, "training"),
        ("seconds", TESTED, "training"),
    ],
)
def test_what_the_verdict_will_be_measured_by_is_known_before_trial_0(tmp_path, objective, tested, part):
    logged = {**LOGGED, "seconds": 1.0}
    settled, *_ = checked(tmp_path, f"objective={objective}", logged=logged, baseline=Outcome(logged, tested=tested))
    assert settled.part == part


class TestSeveralModels:
    """What looks at the model is tried with each of them, and not drawn with those that it does not work with."""

    MODELS = ("model=linear,mlp,cnn", "activation=keep,relu", "regularizer=dropout", "regularizer.dropout.use=true,false")

    def checked(self, path, without, broke=(), models=MODELS):
        """Without an activation in these models, nothing can be put in its place."""

        def play(order):
            model, activation = (next(iter(order.recipe.tree[slot])) for slot in ("model", "activation"))
            key = order.key.removeprefix("preflight/")
            asked.append(key)
            yield LOGGED
            if activation == "relu" and model in without:
                raise broken("no activation module", "activation", "relu", unavailable=True)
            if key in broke:
                raise broken("it broke", reason="error")
            return WELL

        asked = []
        tree, run = composed(*SOME, "augmentation=none", *models), runner(path, play, 2, objective=None)
        found = preflight(Space.of(tree), run, tree).space
        assert [done for _, _, done in run.screen.stages] == [0] * len(run.screen.stages)
        assert sum(total for _, total, _ in run.screen.stages) == len(asked) - 1, "all but the baseline"
        return found, asked

    def test_they_are_tried_with_each(self, tmp_path):
        _, asked = self.checked(tmp_path, ())
        tried = {"activation-keep", "activation-relu", "regularizer-dropout", "initializer-keep", "device-cpu"}
        assert {key for key in asked if key.startswith(("mlp-", "cnn-"))} == {
            f"{model}-{key}" for model in ("mlp", "cnn") for key in tried if key not in ("initializer-keep",)
        }

    def test_what_works_with_some_is_drawn_with_those(self, tmp_path):
        found, _ = self.checked(tmp_path, ("linear",))
        assert found.unfit == {"linear": {"activation/relu": "no activation module"}} and not found.dropped
        drawn = {tuple(next(iter(r.tree[s])) for s in ("model", "activation")) for r in (random_recipe(found, n) for n in range(60))}
        assert drawn == {("linear", "keep"), *((m, a) for m in ("mlp", "cnn") for a in ("keep", "relu"))}

    def test_what_works_with_none_is_left_out(self, tmp_path):
        found, _ = self.checked(tmp_path, ("linear", "mlp", "cnn"))
        assert found.dropped == {"activation/relu": "no activation module"} and list(found.options["activation"]) == ["keep"]

    def test_what_works_with_one_of_two_is_kept_from_the_other(self, tmp_path):
        found, _ = self.checked(tmp_path, ("linear",), models=("model=linear,mlp", "activation=keep,relu"))
        assert (found.dropped, found.unfit) == ({}, {"linear": {"activation/relu": "no activation module"}})

    def test_what_does_not_work_with_the_only_one_is_left_out(self, tmp_path):
        found, _ = self.checked(tmp_path, ("linear",), models=("model=linear", "activation=keep,relu"))
        assert (found.dropped, found.unfit) == ({"activation/relu": "no activation module"}, {})

    def test_one_that_breaks_with_one_model_is_kept_from_it(self, tmp_path):
        found, _ = self.checked(tmp_path, (), broke=("cnn-regularizer-dropout",))
        assert found.unfit == {"cnn": {"regularizer/dropout": "it broke"}}
        assert not any(r.tree["model"].keys() == {"cnn"} and r.tree["regularizer"] for r in (random_recipe(found, n) for n in range(60)))
