from dataclasses import asdict

import pytest
from scripted import baseline, record

from autoopt.orders import BLAME
from autoopt.records.record import Record, added, columns
from autoopt.records.run_fields import compressed_metrics


def test_epochs_are_columns_and_curves_are_by_epoch():
    epochs = {1: {"val_loss": 2.0, "lr": 0.1}, 2: {"val_loss": 1.0}, 4: {"lr": 0.2, "late": 1.0}}
    table = columns(epochs)
    assert table == {"epoch": [1, 2, 4], "val_loss": [2.0, 1.0, None], "lr": [0.1, None, 0.2], "late": [None, None, 1.0]}
    kept = record("1", curves=table)
    assert kept.curve("val_loss") == {1: 2.0, 2: 1.0}
    assert kept.curve("lr") == {1: 0.1, 4: 0.2}
    assert kept.curve("never") == {}
    assert columns({}) == {} and record("1").curve("val_loss") == {}


def test_a_continued_trial_adds_what_it_trained_itself():
    first, second = record("1", state="stopped", epochs=2, seconds=3.0), record("3", state="stopped", epochs=4, seconds=5.5, continues="1")
    third, lost = record("4", 0.5, epochs=9, seconds=9.0, continues="3"), record("5", state="failed", continues="4")
    records = [record("0", 0.5, epochs=9, seconds=8.0), first, second, third, lost]
    assert added(records, lambda r: r.epochs) == [9, 2, 2, 5, 0]
    assert added(records, lambda r: r.seconds) == [8.0, 3.0, 2.5, 3.5, 0]


def test_it_comes_back_from_plain_values():
    kept = record("1", 0.5, metrics={"m": 1.0}, reason="lost", detail="gone", technique="optimizer/sgd", elapsed=2.0)
    assert Record(**asdict(kept)) == kept


@pytest.mark.parametrize(("reason", "blame"), [(None, None), *BLAME.items()])
def test_who_is_to_blame(reason, blame):
    assert record("1", state="failed", reason=reason).blame == blame


def test_a_metric_that_the_last_epoch_lacks_was_not_changed_by_a_compression():
    compressed = baseline().replace(compression={"half": {}})
    metrics, curves = {"val_f1": 0.8, "val_loss": 0.3}, {"epoch": [1, 2], "val_f1": [0.8, None], "val_loss": [0.5, 0.4]}
    assert compressed_metrics(record("1", recipe=compressed, metrics=metrics, curves=curves)) == {"val_loss": 0.3}
