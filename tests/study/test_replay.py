"""The real study on recorded tables, from the first proposal to the verdict; and the tables themselves."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autoopt.records.journal import Journal
from autoopt.records.stages import SEARCH, STORED
from autoopt.technique import find

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TABLES = BENCHMARKS / "tables"
sys.path[:0] = [str(TABLES), str(BENCHMARKS / "search")]

import record  # noqa: E402
from grids import GRIDS  # noqa: E402
from replay import replayed  # noqa: E402
from simulate import Ours, goal_of, play  # noqa: E402
from table import Table, cells  # noqa: E402

from autoopt.plugins.strategy.bayes import bayes  # noqa: E402
from autoopt.strategy import AtRandom  # noqa: E402


@pytest.fixture(scope="module")
def table():
    return Table.load("digits_mlp")


def searched(path):
    """Number, values, state and last value of each trial of the search."""
    journal = Journal(path / "journal.log", path.name, write=False)
    records = {record.key: record for record in journal.records(SEARCH)}
    return [(t.number, t.params, records[str(t.number)].state, records[str(t.number)].score) for t in journal.trials(SEARCH)]


def records_of(path):
    journal = Journal(path / "journal.log", path.name, write=False)
    return [record for stage in STORED if stage.trains for record in journal.records(stage)]


@pytest.mark.parametrize("strategy", ["bayes", "tpe", "random", "one_epoch"])
@pytest.mark.slow
def test_a_cut_search_equals_an_uncut_one(table, tmp_path, strategy):
    more = (f"strategy={strategy}", "study.seeds=1", "seed=4")
    replayed(table, tmp_path / "whole", *more, "study.trials=24")
    for trials in (13, 24):
        replayed(table, tmp_path / "cut", *more, f"study.trials={trials}")
    assert searched(tmp_path / "cut" / "replay") == searched(tmp_path / "whole" / "replay")


@pytest.mark.slow
def test_the_search_finds_a_better_recipe_than_the_baseline(table, tmp_path):
    verdict, executor = replayed(table, tmp_path, "study.trials=40", "seed=1")
    trials = searched(tmp_path / "replay")
    assert len({tuple(values.items()) for _, values, _, _ in trials}) == 40, "no recipe twice"
    assert {state for _, _, state, _ in trials} == {"complete", "stopped"}
    assert verdict.gain > 0.04 and verdict.interval[0] > 0
    assert verdict.rungs.keys() == {3, 7} and all(-1 <= correlation <= 1 for correlation in verdict.rungs.values())
    assert verdict.ablation and verdict.importance, "and it says why"
    assert executor.clock == sum(record.epochs for record in records_of(tmp_path / "replay")), "an epoch is a second"


@pytest.mark.slow
def test_four_workers_of_unlike_speed_and_lost_trainings(table, tmp_path):
    verdict, executor = replayed(table, tmp_path, "study.trials=40", "seed=1", workers=4, speeds=(1.0, 3.0), failures=0.2)
    assert len(searched(tmp_path / "replay")) == 40 and verdict.gain > 0.03
    assert len(executor.orders) > 40 + len(verdict.baseline.scores) * 2, "what the machine ended was tried again"


@pytest.mark.slow
def test_better_proposals_than_at_random(table):
    """Over ten seeds; the figures of the comparison are in tests/benchmarks/search."""

    def regret(make):
        space, goal = table.grid.space, goal_of(table)
        runs = [play(table, Ours(make(space, goal), seed, space.defaults()), 20, 1, seed, [20]).regrets[0] for seed in range(10)]
        return np.mean(runs)

    assert regret(lambda space, goal: bayes(space, goal, table.grid.epochs)) < 0.85 * regret(lambda space, goal: AtRandom(space))


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_a_table_holds_every_recipe_of_its_grid(grid):
    table = Table.load(grid.name)
    assert table.error.shape == table.loss.shape == (len(table.rows), 3, grid.epochs) and table.test.shape == (len(table.rows), 3)
    assert len(table.rows) >= 2500 and len({path for cell in table.rows for path, _ in cell}) >= 12
    for cell in list(table.rows)[::500]:
        assert table.row(dict(cell)) == table.rows[cell]
    assert table.regret.min() == 0 and table.regret[table.row({})] > 0


def test_the_tables_are_those_of_the_checksums():
    for line in (TABLES / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((TABLES / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("name", ["sgd", "momentum", "adamw", "lion"])
def test_the_updates_of_the_tables_are_those_of_the_optimizers(name):
    pinned = {"momentum": {"momentum": 0.7}, "adamw": {"beta1": 0.9}, "lion": {"beta1": 0.9}}.get(name, {})
    start = [torch.randn(1, 4, 3), torch.randn(1, 1, 3)]
    theirs = [w.clone().requires_grad_() for w in start]
    groups = [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}]
    optimizer = find("optimizer", name).load()(groups, lr=0.01, weight_decay=0.1, **pinned)
    given = {"weight_decay": 0.1, **pinned}
    update = record.updating(name, lambda key, default: torch.tensor(given.get(key, default)).view(1, 1, 1))
    for _ in range(5):
        gradients = [torch.randn_like(w) for w in start]
        for w, g in zip(theirs, gradients, strict=True):
            w.grad = g.clone()
        optimizer.step()
        with torch.no_grad():
            update(start, gradients, torch.tensor(0.01).view(1, 1, 1))
    for ours, own in zip(start, theirs, strict=True):
        assert torch.allclose(ours, own, atol=1e-5)


@pytest.mark.slow
def test_networks_that_are_trained_together_are_trained_as_if_alone():
    grid = replace(GRIDS[0], epochs=2)
    rows = [dict(cell) for cell in cells(grid)]
    data = record.data_of(grid)
    shared = {"model.mlp.width": 16, "batches.size": 64, "optimizer": "adamw", "augmentation.mixup.use": False}
    alike = [values for values in rows if shared.items() <= values.items()][::40]

    def trained(values):
        blank = np.zeros((len(values), 3, 2), np.float32)
        table = Table(grid, blank, blank.copy(), blank[:, :, 0].copy())
        record.fill(table, data, list(range(len(values))), values, 16, 64, "adamw", "")
        return table.loss

    assert len({*map(str, alike)}) > 3
    assert np.allclose(trained(alike), np.concatenate([trained([values]) for values in alike]), rtol=1e-3)
