"""The recipes between a baseline and a winner."""

from random import Random

import pytest
from scripted import composed

from autoopt.analysis.changes import Changes
from autoopt.space import Space

WIDE = (
    "data=digits", "model=cnn,mlp", "optimizer=all", "schedule=all", "augmentation=all", "regularizer=all", "device=cpu",
    "compression=half,prune_magnitude,quantize_static", "batches.size=32,64", "batches.accumulate=1,2",
)  # fmt: skip
SMALL = (
    "data=digits", "model=mlp", "optimizer=adamw,sgd", "schedule=constant,cosine", "augmentation=none", "regularizer=l1,gradient_clip",
    "initializer=keep", "loss=cross_entropy", "device=cpu", "batches.size=32,64",
)  # fmt: skip


def space(*overrides):
    return Space.of(composed(*overrides))


def between(whole, theirs, ours):
    """The changes between the recipes with these values."""
    return Changes(whole, whole.recipe(theirs), whole.recipe(ours))


@pytest.mark.slow
def test_every_recipe_between_two_is_one_that_the_search_could_draw():
    whole, random = space(*WIDE), Random(0)

    def own(recipe):
        def pick(domain):
            return domain.accept(recipe.value(domain.key))

        return whole.walk(pick)

    for _ in range(20):
        theirs, ours = (whole.walk(lambda domain: domain.sample(random)) for _ in range(2))
        changes = Changes(whole, theirs, ours)
        assert changes.recipe([]) == theirs and changes.recipe(changes.names) == ours
        for _ in range(5):
            recipe = changes.recipe([change for change in changes.names if random.random() < 0.5])
            assert own(recipe) == recipe
            assert all(list(recipe.tree[slot]) == list(own(recipe).tree[slot]) for slot in ("augmentation", "compression")), (
                "in their order"
            )


def test_changes_are_choices_with_their_values_or_the_values_of_what_both_have():
    ours = {"optimizer.adamw.lr": 0.01, "optimizer.adamw.weight_decay": 0.1, "schedule": "cosine", "schedule.cosine.final": 0.1}
    ours |= {"regularizer.l1.use": True, "model.mlp.width": 48, "batches.size": 32}
    changes = between(space(*SMALL), {"regularizer.gradient_clip.use": True, "batches.size": 64}, ours)
    assert changes.names == {
        "model.mlp": "mlp (width)",
        "regularizer.gradient_clip": "no regularizer gradient_clip",
        "regularizer.l1": "regularizer l1",
        "optimizer.adamw": "adamw (lr, weight_decay)",
        "schedule": "schedule cosine",
        "batches.size": "batches.size",
    }
    assert [change for change in changes.names if changes.chooses(change)] == ["regularizer.l1", "regularizer.gradient_clip", "schedule"]
    assert changes.recipe(["schedule"]).tree == {**changes.baseline.tree, "schedule": changes.winner.tree["schedule"]}
    assert changes.recipe(["optimizer.adamw"]).tree["optimizer"] == changes.winner.tree["optimizer"]
    assert list(changes.recipe(["regularizer.l1"]).tree["regularizer"]) == ["l1", "gradient_clip"]


def test_the_same_recipe_has_no_changes():
    assert between(space(*SMALL), {}, {}).names == {}


def test_a_change_that_another_one_brings_along_is_none_of_its_own():
    """The module's own schedule goes with its own optimizer alone."""
    whole = space(*SMALL[:2], "optimizer=keep,adamw", "schedule=keep,cosine", *SMALL[4:])
    changes = between(whole, {"optimizer": "keep", "schedule": "keep"}, {"optimizer": "adamw"})
    assert list(changes.winner.tree["schedule"]) == ["cosine"]
    assert changes.names == {"optimizer": "optimizer adamw"}
    assert changes.recipe(["optimizer"]) == changes.winner


def test_a_baseline_from_elsewhere_may_have_what_the_space_has_not():
    theirs = space(*SMALL[:2], "optimizer=momentum", "schedule=step", *SMALL[4:]).baseline()
    whole = space(*SMALL)
    ours = whole.recipe({"optimizer": "sgd", "regularizer.l1.use": True})
    changes = Changes(whole, theirs, ours)
    assert {"optimizer", "schedule", "regularizer.l1"} <= changes.names.keys()
    assert changes.recipe([]) == theirs and changes.recipe(changes.names) == ours
    assert list(changes.recipe(["optimizer"]).tree["schedule"]) == ["step"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer", "adamw"),
        ("optimizer.adamw.lr", 0.001),
        ("regularizer.l1.use", False),
        ("batches.size", 64),
        ("trainer.precision", None),
    ],
)
def test_a_value_by_its_key(key, value):
    assert space(*SMALL).recipe({"batches.size": 64}).value(key) == value
