from dataclasses import asdict

import pytest
from scripted import record

from autoopt.orders import BLAME
from autoopt.study.record import Record, columns


def test_epochs_are_columns_and_curves_are_by_epoch():
    epochs = {1: {"val_loss": 2.0, "lr": 0.1}, 2: {"val_loss": 1.0}, 4: {"lr": 0.2, "late": 1.0}}
    table = columns(epochs)
    assert table == {"epoch": [1, 2, 4], "val_loss": [2.0, 1.0, None], "lr": [0.1, None, 0.2], "late": [None, None, 1.0]}
    kept = record("1", curves=table)
    assert kept.curve("val_loss") == {1: 2.0, 2: 1.0}
    assert kept.curve("lr") == {1: 0.1, 4: 0.2}
    assert kept.curve("never") == {}
    assert columns({}) == {} and record("1").curve("val_loss") == {}


def test_it_comes_back_from_plain_values():
    kept = record("1", 0.5, metrics={"m": 1.0}, reason="lost", detail="gone", technique="optimizer/sgd", elapsed=2.0)
    assert Record(**asdict(kept)) == kept


@pytest.mark.parametrize(("reason", "blame"), [(None, None), *BLAME.items()])
def test_who_is_to_blame(reason, blame):
    assert record("1", state="failed", reason=reason).blame == blame
