"""What a text of the config means, and how a value is written."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoopt import grammar
from autoopt.domain import Choice, Range
from autoopt.errors import BadInput

ODD = [
    "a b", " a ", "a,b", "a=b", "(a)", "a(b).csv", "[a]", "{a: b}", "it's", '"said"', "\\", "a\\", "a\\'b", "\\\\'", "C:\\data\\t.csv",
    "über/日本 (1).csv", "", "null", "None", "true", "False", "1", "1e-3", "-0.5", "inf", "nan", "~x", "+x", "#x", "a\nb", "\t", "${x}",
    "int(3)", "a:b", "pkg.mod:Net", "/tmp/my data/t,1=2.csv", "'quoted'", "%", "@", "?", "*", "!x", "|", "&",
]  # fmt: skip
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=20) | st.sampled_from(ODD)


def through_hydra(value):
    """A value as it comes out of the line that stands for it."""
    return grammar.override(f"key={grammar.spell(value)}").value()


def plainly(value):
    """Whether text is no sweep by accident: such text means what it says."""
    return not (isinstance(value, str) and grammar.is_sweep(value))


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_come_back(text):
    assert through_hydra(text) == text and grammar.interpret(text) == text


@given(SCALARS)
def test_scalars_come_back_in_their_type(value):
    found = through_hydra(value)
    assert found == value and type(found) is type(value)


@given(st.lists(SCALARS, max_size=4))
def test_lists_come_back(values):
    found = through_hydra(values)
    assert [f.text if hasattr(f, "text") else f for f in found] == values


@given(st.lists(SCALARS, min_size=2, max_size=5))
def test_choices_come_back(options):
    assert grammar.interpret(grammar.spell(Choice(*options))) == Choice(*options)


@pytest.mark.slow
@given(FINITE, FINITE, st.booleans())
def test_ranges_come_back(a, b, log):
    assume(a < b and (a > 0 or not log))
    assert grammar.interpret(grammar.spell(Range(a, b, log=log))) == Range(a, b, log=log)


@pytest.mark.parametrize(
    "values", [Range(8, 64, step=8), Range(0.01, 0.07, step=0.03), Range(1e-7, 1e-6, step=3e-7), Range(-1.0, 0.5, step=0.25)]
)
def test_ranges_come_back_with_their_steps(values):
    assert grammar.interpret(grammar.spell(values, steps=True)) == values


@given(st.text(max_size=30).filter(plainly))
def test_text_that_is_no_sweep_means_itself(text):
    assert grammar.interpret(text) == text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("interval(1e-4,1e-2)", Range(1e-4, 1e-2)),
        ("interval(1, 6)", Range(1, 6)),
        ("tag(log, interval(1e-05, 0.1))", Range(1e-5, 0.1, log=True)),
        ("tag(other, interval(1, 2))", Range(1, 2)),
        ("range(32,129,32)", Range(32, 128, step=32)),
        ("range(1,4)", Range(1, 3, step=1)),
        ("range(0.0,0.5,0.1)", Range(0.0, 0.4, step=0.1)),
        ("range(0,1,0.3)", Range(0.0, 0.9, step=0.3)),
        ("range(0.01,0.1,0.03)", Range(0.01, 0.07, step=0.03)),
        ("range(1,2)", 1),
        ("choice(a,b)", Choice("a", "b")),
        ("choice(null, 0.5, true, 3)", Choice(None, 0.5, True, 3)),
        ("choice(null,'a, b')", Choice(None, "a, b")),
        (r"choice('it\'s', '\\', 'a\b')", Choice("it's", "\\", "a\\b")),
        ("choice(one)", "one"),
        ("choice(null)", None),
        ("tag(log, choice(1, 2))", Choice(1, 2)),
        ("sort(64, 32)", Choice(32, 64)),
        (0.5, 0.5), (True, True), (None, None), ("text", "text"), ([1, 2], [1, 2]),
    ],
)  # fmt: skip
def test_what_a_text_means(text, meant):
    found = grammar.interpret(text)
    assert found == meant and type(found) is type(meant)
    assert grammar.is_sweep(text) == isinstance(meant, Range | Choice)


def test_the_ends_of_a_range_keep_their_type():
    assert [type(e) for e in (grammar.interpret("interval(1, 6)").low, grammar.interpret("range(1, 9, 2)").step)] == [float, int]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("interval(1,1)", "Range needs low < high, got low=1"),
        ("interval(2,1)", "Range needs low < high"),
        ("interval(1,inf)", "expected a finite number, got inf"),
        ("interval(nan,1)", "expected a finite number, got nan"),
        ("tag(log, interval(0,1))", "a logarithmic Range needs low > 0"),
        ("range(3,3)", "an empty range"),
        ("range(5,1)", "an empty range"),
        ("range(5,1,-1)", "Range needs low < high"),
        ("range(1,5,0)", "an empty range"),
        ("range(0.0,inf)", "expected a finite number, got inf"),
        ("choice([1],[2])", "Choice needs two or more scalars"),
    ],
)
def test_sweeps_from_which_nothing_can_be_chosen(text, problem):
    with pytest.raises(ValueError, match=problem):
        grammar.interpret(text)
    assert grammar.is_sweep(text)  # it is to be said, not passed over


@pytest.mark.parametrize("key", ["a", " a b", "a,b", "a:b", "a=b", "(x)", "[x]", "{x}", "a.b", "a-b", "a\\b", 1, -2, True, None, 0.5])
def test_keys_of_mappings_come_back(key):
    found = through_hydra({"outer": {key: 1}})
    assert found == {"outer": {key: 1}} and type(next(iter(found["outer"]))) is type(key)


@pytest.mark.parametrize("key", ["1", "true", "null", "1e3", "", "it's", "über", (1, 2)])
def test_keys_that_would_come_back_as_others_are_refused(key):
    with pytest.raises(BadInput, match="cannot be said as the key of a mapping"):
        grammar.spell([{key: 1}])
