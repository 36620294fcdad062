"""Every technique that is installed keeps the contract of its slot, and the contract is one that can be broken."""

import re

import pytest

from autoopt.slots import PLUG_POINTS
from autoopt.technique import catalogue, find
from autoopt.testing import GENERAL, OF_SLOT, WORLDS, check, checks, outcome, state

pytestmark = pytest.mark.usefixtures("quick_exporter", "forks")

CASES = [(slot, name, each) for slot, name in sorted(catalogue()) for each in checks(find(slot, name))]


@pytest.mark.parametrize(
    ("slot", "name", "each"),
    [pytest.param(*case, marks=[pytest.mark.slow] if case[0] == "executor" else []) for case in CASES],
    ids=lambda part: part.replace(" ", "_"),
)
def test_contract(slot, name, each):
    finding = outcome(each, checks(find(slot, name))[each])
    if finding is not None and finding.skipped:
        pytest.skip(finding.reason)
    assert finding is None, finding.reason


BROKEN = [
    ("optimizer", "two_of_a_name", "reads without importing", "the source says .*1e-05.*, the imported object .*0.1"),
    ("optimizer", "without_source", "names its source", r"names no source: a year, arXiv, DOI, or a line 'Source: …' \(Source: unp"),
    ("optimizer", "without_docstring", "names its source", "a line on what it does, an empty line, and its source: a year, arXiv"),
    ("optimizer", "asks_too_much", "asks for what is offered", "asks for images; optimizer offers params, model, batch, total_steps"),
    ("optimizer", "fills_nothing", "asks for what is offered", r"Acts\(fills='schedul'\): there is no such slot"),
    ("optimizer", "default_outside", "has defaults in their domains", "lr=1.0 lies outside of 0.001 to 0.1"),
    ("device", "default_no_option", "has defaults in their domains", r"precision='16-true' is none of \('32-true', 'bf16-mixed'\)"),
    ("optimizer", "default_out_of_bounds", "has defaults in their domains", "lr=2.0: expected 0 to 1"),
    ("optimizer", "breaks_at_an_end", "builds at the ends", "does not build with momentum=1.5: ValueError: Invalid momentum value"),
    ("loss", "returns_a_number", "builds at the ends", "with its defaults it returned float, expected Callable or nothing"),
    ("optimizer", "climbs", "descends a bowl", r"60 steps down a bowl went from 9.6 to \S+"),
    ("optimizer", "forgets", "resumes bit for bit", "three steps from its state_dict differ"),
    ("optimizer", "shrinks_everything", "leaves parameters without gradient alone", "it changed a parameter that has no gradient"),
    ("optimizer", "ignores_closures", "steps with a closure", r"step\(closure\) did not call the closure"),
    ("optimizer", "has_its_own_rate", "steps at the rate of its groups", "with a rate of 0 in its param_groups it moved bias, weight"),
    ("schedule", "goes_negative", "gives finite rates", r"of 1 steps, one has -\S+ times the base rate"),
    ("schedule", "divides_by_zero", "gives finite rates", "ZeroDivisionError"),
    ("schedule", "overshoots", "gives finite rates", "of 1 steps, the highest has 2 times the base rate"),
    ("schedule", "starts_low", "gives finite rates", "of 1000 steps, the highest has only 0.5 times the base rate"),
    ("schedule", "follows_losses_alone", "keeps its rate", r"direction=maximize: the metric got better and the rate fell, from 0.1 to"),
    ("initializer", "own_generator", "sets the same weights", "twice under one seed, these differ: 0.weight"),
    ("initializer", "resets_norms", "leaves shapes and norms alone", "it changed the norm layers' 1.weight, 5.weight"),
    ("initializer", "not_a_number", "leaves shapes and norms alone", "not finite: 4.weight"),
    ("augmentation", "too_bright", "keeps shape dtype and range", r"images in \[0, 1\] became images in \[0, 2\]"),
    ("augmentation", "doubles_precision", "keeps shape dtype and range", "images of torch.float32 became torch.float64"),
    ("augmentation", "crops", "keeps shape dtype and range", r"images \(12, 1, 8, 8\) became \(12, 1, 7, 8\)"),
    ("augmentation", "moves_the_first_channel", "moves all planes alike", "five planes that are alike were moved in different ways"),
    ("augmentation", "loses_labels", "keeps the mass of labels", "class probabilities sum to 0.5 to 0.5, expected 1"),
    ("augmentation", "writes_in_place", "leaves the given batch alone", "it wrote into the given images, inputs"),
    ("augmentation", "too_bright", "changes nothing at strength zero", "no zero of strength turns it off: it changed the images"),
    ("augmentation", "own_noise", "repeats under a seed", "called twice under one seed, these differ: images"),
    ("augmentation", "of_one_seed", "draws anew under each seed", "under five seeds it makes the same batches"),
    ("augmentation", "returns_one_of_two", "keeps shape dtype and range", "it asks for inputs, targets and returned 1 tensors"),
    ("loss", "prefers_the_worse", "is lower for better outputs", r"-?\S+ for good outputs, -\S+ for bad ones"),
    ("loss", "one_each", "is lower for better outputs", "expected a finite scalar, got tensor"),
    ("loss", "takes_indices_alone", "takes class probabilities", "RuntimeError"),
    ("model", "wrong_width", "maps inputs to outputs", r"inputs \(4, 6\) gave outputs \(4, 7\), expected \(4, 3\)"),
    ("model", "with_an_idle_layer", "gives every parameter a gradient", "no gradient reaches idle.weight, idle.bias"),
    ("model", "looks_at_the_batch", "judges each example by itself", r"in evaluation, an output changes by \S+ with the batch it is in"),
    ("model", "own_seed", "builds the same under a seed", "built twice under one seed, these differ: 1.weight"),
    ("activation", "halves", "keeps the shape", r"\(4, 6\) became \(4, 3\)"),
    ("activation", "shared", "is new each time", "two calls gave one and the same module"),
    ("regularizer", "blows_up", "trains two finite steps", "after two steps these are not finite: model.0.weight"),
    ("regularizer", "drops_again", "changes a model only once", "it changed what the model answers in train mode"),
    ("regularizer", "drops_everywhere", "leaves the residual trunk alone", "it changes the trunk of a residual network, not the branches"),
    ("regularizer", "drops_alike", "acts anew under each seed", "under five seeds it changes the outputs alike"),
    ("regularizer", "shrinks_at_each_call", "changes a model only once", "it changed the model's 7.weight"),
    ("device", "halves_the_model", "leaves the weights alone", "it changed the model's 0.bias, 0.weight"),
    ("device", "unknown_to_lightning", "trains two steps", "got an unexpected keyword argument 'speed'"),
    ("compression", "copies", "makes it smaller", r"it takes (\d+) bytes and (\d+) FLOPs; it took \1 and \2"),
    ("compression", "cannot_be_written", "can be stored", "a Opaque cannot be stored: its attribute 'scale' is not a plain value"),
    ("compression", "keeps_weights_in_a_cache", "can be stored", "it gives other outputs after it was stored and loaded again"),
    ("compression", "forgets_everything", "stays close", r"only \d+% of the predictions stay the same"),
    ("compression", "sees_one_example", "stays close on sorted classes", r"of class \d only \d+% of the predictions stay the same, if the"),
    ("compression", "leaves_zeros", "says what it leaves", r"\d+% of the weights that it leaves are 0; say so: Acts\(sparse=True\)"),
    ("compression", "leaves_a_graph", "says what it leaves", r"it leaves no weights for a later compression, .*: Acts\(last=True\)"),
    (
        "compression",
        "unpacks_what_was_pruned",
        "says whether it stores zeros",
        r"of a pruned network of \d+ bytes it makes \d+; .*dense=True",
    ),
    ("compression", "halves_in_place", "leaves the given model alone", "it changed the given model's 0.bias, 0.weight"),
    ("data", "bright_images", "gives sound inputs", r"images have to be in \[0, 1\], these are in \[0, 255\]"),
    (
        "data",
        "float_classes",
        "gives sound targets",
        r"classification needs targets of torch.int64 in 1 dimensions, got torch.float32 in 2",
    ),
    ("data", "unnamed_class", "gives sound targets", "the class indices are 0 to 2, 2 classes are named"),
    ("data", "half_labels", "gives sound targets", "labels have to be 0 or 1"),
    ("data", "unnamed_label", "gives sound targets", "there are 3 labels, 2 are named"),
    ("data", "words_beyond", "gives sound inputs", "the words are 9 to 9, of a vocabulary of 9"),
    ("data", "drawn_anew", "encodes alike each time", "encoded twice, the inputs differ"),
    ("data", "overlapping_splits", "gives separate splits", "an example is in two splits"),
    ("strategy", "outside", "proposes points of the space", r"=\S+: expected .*interval"),
    ("strategy", "counts_its_calls", "repeats under a seed", "asked again for trial 15, it proposes other values: "),
    ("strategy", "remembers_its_first_call", "resumes from the history", "a new instance proposes other values from the same history: "),
    ("strategy", "takes_all_for_complete", "bears every state", "IndexError"),
    ("strategy", "wavers", "decides at its rungs", r"asked twice at epoch 3, it answers \[False, True\]"),
    ("strategy", "asks_after_the_end", "decides at its rungs", "its rung 10 is none of the epochs 1 to 9"),
    ("executor", "stores_nothing", "runs stops and ends trials", "the weights of a trial with keep=True are not in the store"),
    ("executor", "miscounts", "runs stops and ends trials", r"of 3 epochs, from 1, it reports \[0, 1, 2\]"),
    ("executor", "goes_on", "runs stops and ends trials", "a trial that was stopped after two epochs ended with .*epochs=3"),
    ("executor", "kills_nothing", "runs stops and ends trials", "a trial that was killed fails for the reason none, it has finished"),
    ("executor", "runs_backwards", "has a clock", r"its clock goes -\S+, "),
]


SLOW = ("leaves_a_graph",)
"""Broken techniques whose check starts processes."""


@pytest.mark.parametrize(
    ("slot", "name", "each", "reason"),
    [pytest.param(*case, marks=[pytest.mark.slow] if case[1] in SLOW else []) for case in BROKEN],
    ids=lambda part: part.replace(" ", "_")[:30],
)
def test_a_broken_technique_is_found_out(slot, name, each, reason):
    module = "broken_points" if slot in PLUG_POINTS else "broken_techniques"
    known = checks(find(slot, f"{module}:{name}"))
    finding = outcome(each, known[full_name(each, known)])
    assert finding is not None and not finding.skipped, finding
    assert re.search(reason, finding.reason), finding.reason


def full_name(start, known):
    return min((name for name in known if name.startswith(start)), key=len)


def test_every_check_has_a_technique_that_breaks_it():
    known = {each.__name__.replace("_", " ") for each in (*GENERAL, *(c for row in OF_SLOT.values() for c in row))}
    broken = {full_name(each, known) for _, _, each, _ in BROKEN}
    assert broken == known


def test_every_slot_has_situations_and_checks():
    assert WORLDS.keys() == OF_SLOT.keys() == {slot for slot, _ in catalogue()}


@pytest.mark.parametrize(
    ("slot", "name", "reason"),
    [
        ("device", "elsewhere", "it is Tuesday"),
        ("data", "needs_a_path", "needs a value for path"),
        ("activation", "imported_to_be_read", "so it is imported"),
    ],
)
def test_what_cannot_be_checked_is_skipped_with_its_reason(slot, name, reason):
    findings = check(find(slot, f"broken_techniques:{name}"))
    assert any(f.skipped and reason in f.reason for f in findings)
    assert [f for f in findings if not f.skipped] == []


def test_a_class_of_torch_passes_but_for_its_docstring():
    findings = check(find("optimizer", "torch.optim:Adam"))
    assert [f.check for f in findings if not f.skipped and f.check not in ("names its source", "reads without importing")] == []


def test_an_executor_without_fault_passes():
    assert check(find("executor", "broken_points:scripted")) == []


@pytest.mark.parametrize(
    ("slot", "path", "expected"),
    [
        ("executor", "broken_points:scripted", "ok"),
        ("executor", "broken_points:goes_on", "failed"),
        ("executor", "broken_points:far_away", "skipped"),
        ("device", "broken_techniques:elsewhere", "skipped"),
        ("data", "broken_techniques:needs_a_path", "skipped"),
        ("activation", "broken_techniques:imported_to_be_read", "ok"),
    ],
)
def test_what_was_not_tried_is_not_ok(slot, path, expected):
    technique = find(slot, path)
    assert state(technique, check(technique)) == expected
