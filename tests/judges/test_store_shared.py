"""Threads, processes and forked children share a store; what one was told is kept, is kept."""

import multiprocessing
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from persona_env.judges import Verdict, sqlite_file
from persona_env.judges.store import StoreBusy, VerdictStore
from tests.judges.test_store import KEY, NO, YES, key, made
from tests.reliability import r11_killed_writers


def test_a_store_that_others_hold_is_waited_for_and_named(tmp_path: Path):
    with VerdictStore(tmp_path / "v.db", patience=0.2) as store:
        other = sqlite3.connect(tmp_path / "v.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        store.put_many({})
        assert store.get_many([KEY]) == {}, "readers need not wait"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("persona_env.judges.sqlite_file._WAIT", 0.05)
            store.close()
            with pytest.raises(StoreBusy, match=r"Expected .*v\.db within 0.2 s, got database is locked"):
                store.put_many({KEY: YES})
        other.execute("ROLLBACK")
        other.close()
        assert store.put_many({KEY: YES}) == {KEY: YES}


def test_a_store_that_others_hold_for_longer_than_sqlite_waits_is_tried_again(tmp_path: Path):
    with VerdictStore(tmp_path / "v.db", patience=30) as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr("persona_env.judges.sqlite_file._WAIT", 0.01)
        store.close()
        other = sqlite3.connect(tmp_path / "v.db", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
        release.start()
        assert store.put_many({KEY: YES}) == {KEY: YES}
        release.join()
        other.close()


def test_a_store_that_another_makes_while_it_is_looked_at_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, others = tmp_path / "v.db", list[threading.Thread]()

    def make_another(statement: str) -> None:
        if statement == "PRAGMA user_version" and not others:
            others.append(threading.Thread(target=lambda: made(path, 3)))
            others[0].start()
            others[0].join(1)  # it is done by then, or waits until this has been read

    def connect(*args: object, **settings: object) -> sqlite3.Connection:
        connection = sqlite_file.connect(*args, **settings)  # pyright: ignore[reportArgumentType]
        if threading.current_thread() is threading.main_thread():
            connection.set_trace_callback(make_another)
        return connection

    monkeypatch.setattr("persona_env.judges.store.connect", connect)
    with VerdictStore(path) as store:
        others[0].join()
        assert len(store) == 3


def test_threads_share_a_store(tmp_path: Path):
    with VerdictStore(tmp_path / "v.db") as store:

        def write(start: int) -> None:
            for i in range(start, start + 50):
                store.put_many({key(i): Verdict("consistent", reason=str(i))})

        threads = [threading.Thread(target=write, args=(start,)) for start in (0, 25, 50, 75)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = store.get_many(key(i) for i in range(125))
        assert [found[key(i)].reason for i in range(125)] == [str(i) for i in range(125)]


def _child_puts(store: VerdictStore, go: object) -> None:
    store.put_many({KEY: NO})
    go.recv()  # pyright: ignore[reportAttributeAccessIssue]
    store.put_many({key(2): NO})
    os._exit(0)


def test_a_forked_child_loses_nothing_when_its_parent_closes_first(tmp_path: Path):
    store = VerdictStore(tmp_path / "v.db")
    store.put_many({key(1): YES})
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_child_puts, args=(store, theirs))
    child.start()
    store.put_many({key(3): YES})
    while not store.get_many([KEY]):
        pass
    store.close()
    ours.send("go")
    child.join()
    assert child.exitcode == 0
    with VerdictStore(tmp_path / "v.db") as again:
        assert again.get_many([KEY, *map(key, range(4))]) == {KEY: NO, key(1): YES, key(2): NO, key(3): YES}


@pytest.mark.slow
def test_writers_that_are_killed_lose_nothing_that_was_acknowledged():
    (row,) = r11_killed_writers.measure(kills=6)
    assert row.met, row.achieved
