"""What is plugged in is built, or refused in one line."""

import pytest

from autoopt.config import compose
from autoopt.errors import BadInput
from autoopt.executor import TemplateError
from autoopt.points import plug
from autoopt.strategy import Strategy

OWN = """
from autoopt import Unavailable
from autoopt.errors import BadInput
from autoopt.executor import TemplateError
from autoopt.strategy import Strategy


class Best(Strategy):
    def __init__(self, space, patience: int = 3):
        self.space, self.patience = space, patience

    def propose(self, history, number, seed):
        return {}


class Other:
    pass


def number(space) -> int:
    raise AssertionError("it was called")


def unsaid(space):
    raise AssertionError("it was called")


def elsewhere(space) -> Strategy:
    raise Unavailable("it is Tuesday")


def fails(space, *, steps: int = 0) -> Strategy:
    raise ValueError(f"steps={steps}: at least 1 is needed")


def bad(space) -> Strategy:
    raise BadInput("one line", "and another")


def cold(space) -> Strategy:
    raise TemplateError("no process comes up")


def wrong(space) -> Strategy:
    return 3
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    (tmp_path / "own_strategy.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


def plugged_in(name, *overrides):
    tree = compose(["data=digits", f"strategy=own_strategy:{name}", *overrides])
    return plug(tree, "strategy", space="the space", goal="the goal", epochs=3)


def test_what_it_asks_for_and_its_values():
    built = plugged_in("Best", "strategy.Best.patience=5")
    assert isinstance(built, Strategy) and (built.space, built.patience) == ("the space", 5)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Other", "is a class; expected a subclass of autoopt.strategy.Strategy, or a function annotated to return one"),
        ("number", "is a function that returns int; expected a subclass of autoopt.strategy.Strategy"),
        ("unsaid", "is a function that does not say what it returns; expected a subclass of autoopt.strategy.Strategy"),
        ("elsewhere", r"^strategy=elsewhere cannot be used here: it is Tuesday$"),
        ("fails", r"^strategy=fails failed: ValueError: steps=0: at least 1 is needed$"),
        ("bad", r"^one line\nand another$"),
        ("wrong", r"^strategy=wrong returned int, expected autoopt.strategy:Strategy$"),
    ],
)
def test_what_cannot_be_plugged_in(name, problem):
    with pytest.raises(BadInput, match=problem):
        plugged_in(name)


def test_what_has_an_exit_code_of_its_own_keeps_it():
    with pytest.raises(TemplateError, match="no process comes up"):
        plugged_in("cold")


def test_a_broken_one_of_a_distribution_names_its_owner():
    with pytest.raises(BadInput, match=r"^strategy=bayes failed: AttributeError: .* \(from autoopt "):
        plug(compose(["data=digits"]), "strategy", space="the space", goal="no goal", epochs=3)
