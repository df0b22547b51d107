import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.errors import CannotWrite
from persona_env.models.chat import ChatReply
from persona_env.models.faults import BadReply
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache, reply_key
from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import status, well
from tests.models.fault_server import FaultServer

KEYS = [bytes([i]) * 32 for i in range(8)]
REPLIES = {key: f"reply {i} café" for i, key in enumerate(KEYS)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replies.sqlite"


def change(path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)
    connection.close()


def test_replies_are_there_when_the_file_is_opened_again(path: Path):
    with ReplyCache(path) as cache:
        cache.put(REPLIES)
        assert len(cache) == 8
    with ReplyCache(path) as cache:
        assert cache.get([*KEYS, b"x" * 32]) == REPLIES
        assert cache.get([]) == {}


def test_the_first_reply_under_a_key_stays(path: Path):
    with ReplyCache(path) as one, ReplyCache(path) as other:
        one.put({KEYS[0]: "first"})
        other.put({KEYS[0]: "second", KEYS[1]: "new"})
        assert one.get(KEYS) == {KEYS[0]: "first", KEYS[1]: "new"}


@pytest.mark.parametrize("column", ["reply", "checksum"])
def test_a_damaged_row_counts_as_missing_and_is_written_anew(path: Path, column: str):
    with ReplyCache(path) as cache:
        cache.put(REPLIES)
    change(path, f"UPDATE replies SET {column} = ? WHERE key = ?", b"z" * 32, KEYS[3])
    with ReplyCache(path) as cache:
        with pytest.warns(UserWarning, match="damaged"):
            assert KEYS[3] not in cache.get(KEYS)
        assert cache.get(KEYS).keys() == set(KEYS) - {KEYS[3]}  # told once
        assert cache.damaged == 1
        cache.put({KEYS[3]: "asked again"})
        assert cache.get(KEYS) == {**REPLIES, KEYS[3]: "asked again"}


def test_a_row_under_another_key_is_not_believed(path: Path):
    with ReplyCache(path) as cache:
        cache.put({KEYS[0]: "yes"})
    change(path, "UPDATE replies SET key = ?", KEYS[1])
    with ReplyCache(path) as cache, pytest.warns(UserWarning, match="damaged"):
        assert cache.get(KEYS) == {}


@pytest.mark.parametrize("found", [b"no database, but longer than a header of SQLite's" * 30, b"SQLite format 3", b""])
def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path, found: bytes):
    path.write_bytes(found)
    if not found:
        change(path, "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"^Expected a reply cache in .*replies.sqlite, got .*: name another file"):
        ReplyCache(path)
    assert path.read_bytes() == before


def test_a_place_without_room_or_right_is_one_line_and_an_os_error(path: Path, tmp_path: Path):
    with pytest.raises(CannotWrite, match=r"^Expected a file that can be written at"):
        ReplyCache(tmp_path / "missing" / "replies.sqlite")
    with ReplyCache(path) as cache:
        cache.put({KEYS[0]: "kept"})
        limit = cache._connection.execute("PRAGMA page_count").fetchone()[0] + 2
        cache._connection.execute(f"PRAGMA max_page_count={limit}")
        with pytest.raises(CannotWrite, match="got a full disk"):
            cache.put(dict.fromkeys(KEYS, "x" * 100000))
        assert cache.get(KEYS) == {KEYS[0]: "kept"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(one=st.dictionaries(st.text(max_size=3), JSON, max_size=3), other=st.dictionaries(st.text(max_size=3), JSON))
def test_keys_are_equal_exactly_where_everything_is(one: dict[str, object], other: dict[str, object]):
    same = repr(sorted(one.items(), key=str)) == repr(sorted(other.items(), key=str))
    assert not same or reply_key(one, {}) == reply_key(other, {})
    assert one == other or reply_key(one, {}) != reply_key(other, {})
    assert not one or reply_key(one, {}) != reply_key({}, one)


def test_a_client_asks_what_no_cache_knows_and_copies_what_a_later_one_has(tmp_path: Path):
    with FaultServer() as server, ReplyCache(tmp_path / "own") as own, ReplyCache(tmp_path / "shared") as shared:
        with client(server) as asked:
            asked.use(ModelResources((shared,)))
            assert outcomes(asked.complete(requests(30))) == {"right": 30}
        with client(server) as asked:
            asked.use(ModelResources((own, shared)))
            assert outcomes(asked.complete(requests(40))) == {"right": 40}
            assert (asked.usage.calls, asked.usage.cached) == (10, 30)
            assert outcomes(asked.complete(requests(40))) == {"right": 40}
            assert asked.usage.calls == 10
        assert (len(own), len(shared), len(server.calls)) == (40, 40, 40)


def test_what_arrived_is_not_paid_again_and_a_fault_is_not_kept(path: Path):
    server = FaultServer(lambda call: status(400) if call.prompt == "line 7" else well)
    with server, ReplyCache(path) as cache, client(server, max_retries=0) as asked:
        asked.use(ModelResources((cache,)))
        assert outcomes(asked.complete(requests(20))) == {"right": 19, "Refused": 1}
        server.behave = lambda call: well
        assert outcomes(asked.complete(requests(20))) == {"right": 20}
        assert asked.usage.calls == 21


def test_equal_requests_with_a_cache_are_asked_once(path: Path):
    with FaultServer() as server, ReplyCache(path) as cache, client(server) as asked:
        asked.use(ModelResources((cache,)))
        assert len({reply.text for reply in asked.complete(requests(1) * 5)}) == 1  # type: ignore[union-attr]
        assert (asked.usage.calls, asked.usage.cached) == (1, 4)


def never(reply: ChatReply) -> None:
    raise BadReply("of wrong form")


def test_a_reply_of_wrong_form_is_kept_by_a_run_and_not_by_a_shared_cache(tmp_path: Path):
    own, shared = ReplyCache(tmp_path / "own", keep_rejected=True), ReplyCache(tmp_path / "shared")
    wrong = [replace(request, accept=never) for request in requests(3)]
    with FaultServer() as server, own, shared:
        for _ in range(2):
            with client(server, max_retries=1) as asked:
                asked.use(ModelResources((own, shared)))
                assert [str(fault) for fault in asked.complete(wrong)] == ["of wrong form"] * 3
        assert (len(own), len(shared), len(server.calls)) == (3, 0, 6)
        with client(server) as asked:  # a caller that takes it gets it
            asked.use(ModelResources((own, shared)))
            assert outcomes(asked.complete(requests(3))) == {"right": 3}
        assert len(server.calls) == 6
