"""A store gives back what was put in, or says that it cannot; it never gives anything else."""

import gc
import multiprocessing
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.judges import Verdict
from persona_env.judges.row import MAX_PAYLOAD, read_rows, row_of
from persona_env.judges.store import StoreDamaged, StoreError, StoreUnwritable, VerdictStore

KEY = "ab" * 32
YES, NO = Verdict("consistent"), Verdict("inconsistent", (0, 2), "contradicts", 0.25, "NO")


def key(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


def made(path: Path, count: int = 300) -> dict[str, Verdict]:
    """Fills a store and returns what is in it."""
    verdicts = {key(i): Verdict("consistent", (), f"because {i}", i / count, f'{{"n": {i}}}') for i in range(count)}
    with VerdictStore(path) as store:
        store.put_many(verdicts)
    return verdicts


def flipped(path: Path, found: bytes, bit: int = 1) -> None:
    """Flips a bit of the first byte of these bytes in a file."""
    data = bytearray(path.read_bytes())
    place = data.index(found)
    data[place] ^= bit
    path.write_bytes(data)


VERDICTS = st.builds(
    Verdict,
    st.sampled_from(["consistent", "inconsistent", "invalid"]),
    st.lists(st.integers(0, 10**6)).map(tuple),
    st.text(st.characters(exclude_categories=())),
    st.none() | st.floats(0, 1),
    st.text(st.characters(exclude_categories=())),
)


@given(VERDICTS)
def test_any_verdict_comes_back_as_it_was(verdict: Verdict):
    name = bytes(range(32))
    assert read_rows([row_of(name, verdict)]) == ({name: verdict}, [])


def test_a_row_holds_every_field_of_a_verdict():
    compared = [field.name for field in fields(Verdict) if field.compare]  # what is `lost` is never kept
    assert compared == ["label", "conflicts", "reason", "probability", "raw"], (
        "a new field must go into row.py, and _SCHEMA of store.py and KEY_FORMAT of kept.py must change"
    )


def test_thousands_of_verdicts_come_back_in_another_process_whatever_the_order(tmp_path: Path):
    verdicts = made(tmp_path / "v.db", 5000)
    probe = (
        "import sys; from persona_env.judges.store import VerdictStore\n"
        "s = VerdictStore(sys.argv[1]); print(len(s), len(s.get_many(sys.stdin.read().split())))"
    )
    run = [sys.executable, "-c", probe, str(tmp_path / "v.db")]
    out = subprocess.run(run, input="\n".join(reversed(verdicts)), capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["5000", "5000"]
    with VerdictStore(tmp_path / "v.db") as store:
        assert store.get_many([*verdicts, KEY]) == verdicts


def test_the_first_verdict_stays(tmp_path: Path):
    with VerdictStore(tmp_path / "v.db") as store:
        assert store.put_many({KEY: NO}) == {KEY: NO}
        assert store.put_many({KEY: YES, key(1): YES}) == {KEY: NO, key(1): YES}
        assert store.get_many([KEY, key(1), key(2)]) == {KEY: NO, key(1): YES}
        assert len(store) == 2


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path):
    with VerdictStore(tmp_path / "v.db") as store:
        for bad in (
            Verdict("maybe"),  # pyright: ignore[reportArgumentType]
            Verdict("consistent", raw="x" * MAX_PAYLOAD),
            Verdict("invalid", probability=1.5),
        ):
            with pytest.raises(ValueError, match="Expected a verdict"):
                store.put_many({KEY: YES, key(1): bad})
        assert len(store) == 0


@pytest.mark.parametrize("bad", ["", "ab", "zz" * 32, "ab " * 32, " " + "ab" * 32])
def test_what_is_no_key_is_refused(tmp_path: Path, bad: str):
    with VerdictStore(tmp_path / "v.db") as store:
        for use in (lambda: store.get_many([bad]), lambda: store.put_many({bad: YES})):
            with pytest.raises(ValueError, match="Expected keys of 64 hexadecimal digits"):
                use()


@pytest.mark.parametrize("part", ["payload", "checksum"])
def test_a_damaged_row_is_told_is_absent_and_is_written_anew(tmp_path: Path, part: str):
    path, verdicts = tmp_path / "v.db", made(tmp_path / "v.db")
    name = bytes.fromhex(key(7))
    flipped(path, {"payload": b"because 7", "checksum": row_of(name, verdicts[key(7)])[1]}[part])
    with pytest.warns(UserWarning, match="1 verdicts in .* are damaged and will be asked again"):
        store = VerdictStore(path)
    assert store.damaged == 1
    found = store.get_many(verdicts)
    assert found == {k: v for k, v in verdicts.items() if k != key(7)}
    assert store.put_many({key(7): NO}) == {key(7): NO}
    assert store.get_many([key(7)]) == {key(7): NO}
    store.close()


def test_a_damaged_key_is_damage_to_the_file_as_its_index_no_longer_fits(tmp_path: Path):
    verdicts = made(tmp_path / "v.db")
    flipped(tmp_path / "v.db", bytes.fromhex(key(7)))
    with pytest.raises(StoreDamaged, match="missing from index"):
        VerdictStore(tmp_path / "v.db")
    with VerdictStore(tmp_path / "v.db", check=False) as store:
        assert store.get_many(verdicts) == verdicts, "the index has the key as it was"
    assert VerdictStore.salvage(tmp_path / "v.db", tmp_path / "new.db") == 299


def test_a_damaged_row_is_found_when_it_is_read_where_the_whole_file_was_not(tmp_path: Path):
    made(tmp_path / "v.db")
    flipped(tmp_path / "v.db", b"because 7")
    with VerdictStore(tmp_path / "v.db", check=False) as store:
        assert store.get_many([key(6)])
        assert store.damaged == 0
        with pytest.warns(UserWarning, match="damaged"):
            assert store.get_many([key(7)]) == {}
        assert store.damaged == 1


def test_two_rows_that_change_places_are_not_served(tmp_path: Path):
    made(tmp_path / "v.db")
    connection = sqlite3.connect(tmp_path / "v.db")
    (one,), (two,) = connection.execute("SELECT verdict FROM verdicts WHERE id IN (1, 2)").fetchall()
    connection.execute("UPDATE verdicts SET verdict = CASE id WHEN 1 THEN ? ELSE ? END WHERE id IN (1, 2)", (two, one))
    connection.commit()
    connection.close()
    with pytest.warns(UserWarning, match="2 verdicts"), VerdictStore(tmp_path / "v.db") as store:
        assert store.get_many([key(0), key(1)]) == {}


def test_a_row_with_a_right_checksum_that_is_no_verdict_is_damaged():
    name = bytes(32)
    from persona_env.judges.row import _check_of

    rows = [row_of(bytes([1] * 32), YES)]
    for payload in (b'["maybe",[],"",null,""]', b"[],[]", b"[" * 5000, b"{}", b"", b'["consistent",[true],"",null,""]'):
        found, damaged = read_rows([*rows, (name, _check_of(name, payload), payload)])
        assert (list(found.values()), damaged) == ([YES], [name])


@pytest.mark.parametrize("content", [b"hello, this is no database at all", b"{}", b"SQLite format 2\x00" * 9])
def test_a_file_of_another_kind_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes):
    path = tmp_path / "v.db"
    path.write_bytes(content)
    with pytest.raises(
        StoreDamaged, match=r"Expected a verdict store at .*another kind of file.*: move it away"
    ) as found:
        VerdictStore(path)
    assert "\n" not in str(found.value)
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path):
    connection = sqlite3.connect(tmp_path / "v.db")
    connection.execute("CREATE TABLE stamps(country)")
    connection.commit()
    connection.close()
    before = (tmp_path / "v.db").read_bytes()
    with pytest.raises(StoreError, match="another program's database: name another"):
        VerdictStore(tmp_path / "v.db")
    assert (tmp_path / "v.db").read_bytes() == before


def test_a_store_of_a_later_version_or_with_a_table_too_many_is_refused(tmp_path: Path):
    made(tmp_path / "v.db")
    connection = sqlite3.connect(tmp_path / "v.db", isolation_level=None)
    connection.execute("PRAGMA user_version=2")
    with pytest.raises(StoreError, match=r"version 1 at .*, got 2: move it away"):
        VerdictStore(tmp_path / "v.db")
    connection.execute("PRAGMA user_version=1")
    connection.execute("CREATE TRIGGER t AFTER INSERT ON verdicts BEGIN DELETE FROM verdicts; END")
    with pytest.raises(StoreDamaged, match="its table is not ours"):
        VerdictStore(tmp_path / "v.db")
    connection.close()


def test_places_that_cannot_hold_a_store_are_refused(tmp_path: Path):
    for path, why in ((tmp_path / "no" / "v.db", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(StoreError, match=f"Expected a verdict store at .*{why}"):
            VerdictStore(path)
    with pytest.raises(StoreError, match="No such file"):
        VerdictStore(tmp_path / "v.db", read_only=True)
    assert not (tmp_path / "v.db").exists()


@pytest.mark.parametrize("name", ["a\x00b", "a\ud800b", "a\nb\x1b[2J/v.db", "\U0010ffff" * 3000])
def test_a_name_that_no_file_can_have_is_one_line(tmp_path: Path, name: str):
    with pytest.raises(StoreError, match=r"^Expected a verdict store") as refused:
        VerdictStore(f"{tmp_path}/{name}")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 2000


def test_an_empty_file_is_a_store_that_was_killed_while_it_was_made(tmp_path: Path):
    (tmp_path / "v.db").touch()
    with VerdictStore(tmp_path / "v.db") as store:
        store.put_many({KEY: YES})
    with VerdictStore(tmp_path / "v.db") as store:
        assert store.get_many([KEY]) == {KEY: YES}


def test_a_read_only_store_reads_and_writes_nothing(tmp_path: Path):
    verdicts = made(tmp_path / "v.db")
    before = (tmp_path / "v.db").read_bytes()
    with VerdictStore(tmp_path / "v.db", read_only=True) as store:
        assert store.get_many(verdicts) == verdicts
        with pytest.raises(StoreUnwritable, match="opened read-only"):
            store.put_many({KEY: YES})
    assert (tmp_path / "v.db").read_bytes() == before


def test_a_damaged_file_names_itself_and_the_rest_is_salvaged(tmp_path: Path):
    path, verdicts = tmp_path / "v.db", made(tmp_path / "v.db", 2000)
    data = bytearray(path.read_bytes())
    data[8 * 4096 : 12 * 4096] = os.urandom(4 * 4096)
    path.write_bytes(data)
    with pytest.raises(StoreDamaged, match=r"Expected a verdict store at .*v\.db, got a damaged file \(.*salvage"):
        VerdictStore(path)
    kept = VerdictStore.salvage(path, tmp_path / "new.db")
    assert 2000 - 4 * 40 <= kept < 2000
    with VerdictStore(tmp_path / "new.db") as store:
        found = store.get_many(verdicts)
    assert len(found) == kept
    assert all(verdicts[name] == verdict for name, verdict in found.items())
    assert path.read_bytes() == data


def test_a_file_without_its_head_is_salvaged_whole(tmp_path: Path):
    path, verdicts = tmp_path / "v.db", made(tmp_path / "v.db", 500)
    data = path.read_bytes()
    path.write_bytes(bytes(100) + data[100:])
    with pytest.raises(StoreDamaged, match="damaged head"):
        VerdictStore(path)
    assert VerdictStore.salvage(path, tmp_path / "new.db") == 500
    with VerdictStore(tmp_path / "new.db") as store:
        assert store.get_many(verdicts) == verdicts
    with pytest.raises(StoreError, match="which exists"):
        VerdictStore.salvage(path, tmp_path / "new.db")
    with pytest.raises(StoreError, match="got no file"):
        VerdictStore.salvage(tmp_path / "none.db", tmp_path / "newer.db")


def _full_disk(path: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store, many = VerdictStore(path), {key(i): YES for i in range(10_000, 15_000)}
    with pytest.raises(StoreUnwritable, match=r"Expected to write to .*make room.*; what is stored is intact"):
        store.put_many(many)
    assert store.get_many(many) == {}, "all of a batch or nothing"
    os._exit(0)


def test_a_full_disk_is_one_clear_error_and_what_was_stored_is_intact(tmp_path: Path):
    verdicts = made(tmp_path / "v.db")
    child = multiprocessing.get_context("fork").Process(target=_full_disk, args=(str(tmp_path / "v.db"),))
    child.start()
    child.join()
    assert child.exitcode == 0
    with VerdictStore(tmp_path / "v.db") as store:
        assert store.get_many(verdicts) == verdicts
        assert store.put_many({KEY: NO}) == {KEY: NO}, "it goes on where there is room again"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_read(tmp_path: Path):
    verdicts = made(tmp_path / "v.db")
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with VerdictStore(tmp_path / "v.db", read_only=True) as store:
            assert store.get_many(verdicts) == verdicts
    finally:
        tmp_path.chmod(stat.S_IRWXU)


@pytest.mark.parametrize("wanted", [600, 1400, 3000])
def test_many_keys_give_the_same_by_a_scan_as_one_by_one(tmp_path: Path, wanted: int):
    """Of 3000 rows, 600 are looked up; for more than a quarter of them all are read in order."""
    verdicts = made(tmp_path / "v.db", 3000)
    asked = [key(i) for i in range(3000 - wanted, 3000)] + [key(-i) for i in range(1, 50)]
    with VerdictStore(tmp_path / "v.db") as store:
        found = store.get_many(asked)
        assert found == {name: verdicts[name] for name in asked if name in verdicts}
        assert list(store.get_many(asked[:1]).values()) == [verdicts[asked[0]]]
    assert gc.isenabled()


def test_a_damaged_row_is_found_by_a_scan_too_and_only_where_it_is_wanted(tmp_path: Path):
    verdicts = made(tmp_path / "v.db", 1000)
    flipped(tmp_path / "v.db", b'because 7"')
    with VerdictStore(tmp_path / "v.db", check=False) as store:
        others = {name: verdict for name, verdict in verdicts.items() if name != key(7)}
        assert store.get_many(others) == others
        assert store.damaged == 0
        with pytest.warns(UserWarning, match="1 verdicts in .* are damaged"):
            assert store.get_many(verdicts) == others
        assert store.damaged == 1
        assert store.put_many({key(7): NO}) == {key(7): NO}
        assert store.get_many(verdicts) == {**verdicts, key(7): NO}


def test_rows_that_are_not_bytes_are_damaged_not_an_error():
    name = bytes(range(32))
    row = row_of(name, YES)
    for odd in ((1, row[1], row[2]), (None, row[1], row[2]), (name, None, row[2]), (name, row[1], 2.5), (name, 1, "x")):
        assert read_rows([row, odd]) == ({name: YES}, [odd[0] if isinstance(odd[0], bytes) else b""])
