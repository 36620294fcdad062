"""The MLflow store, as `autoopt doctor` checks it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from autoopt.commands.stores import check_store


def change(path, *commands):
    with closing(sqlite3.connect(path)) as database:
        for command in commands:
            database.execute(command)
        database.commit()


@pytest.mark.slow
def test_a_store_of_this_version(store):
    assert check_store(store) == ("ok", f"MLflow store {store} answers")


@pytest.mark.slow
def test_a_store_of_another_version(store):
    change(store.removeprefix("sqlite:///"), "update alembic_version set version_num = '0a8213491aaa'")
    old = check_store(store)
    assert old.state == "broken" and old.text.endswith(f"make a copy, then run: mlflow db upgrade '{store}'")


def test_a_store_that_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change("other.db", "create table runs (x)")
    before = Path("other.db").read_bytes()
    assert check_store("sqlite:///other.db") == (
        "broken",
        f"MLflow store sqlite:///{tmp_path}/other.db is another database: give another tracking.uri=",
    )
    assert Path("other.db").read_bytes() == before
    Path("text.db").write_text("no database, but long enough to be taken for a header of one" * 9)
    assert "file is not a database" in check_store("sqlite:///text.db").text


def test_a_store_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check_store("sqlite:///new.db").text.startswith(f"MLflow store sqlite:///{tmp_path}/new.db can be made")
    assert list(tmp_path.iterdir()) == []
    far = check_store("http://user:secret@127.0.0.1:9")
    assert far.state == "broken" and "nothing answers there" in far.text and "secret" not in far.text
    assert "its driver is not installed: pip install psycopg" in check_store("postgresql+psycopg:///runs").text
