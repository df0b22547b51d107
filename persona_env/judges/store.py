"""Verdicts on disk: each is given once, checked whenever it is read, and shared by any number of processes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TypeVar

from persona_env.errors import printable
from persona_env.judges.base import Verdict
from persona_env.judges.row import Row, key_bytes, read_rows, row_of
from persona_env.judges.sqlite_file import (
    BUSY,
    UNWRITABLE,
    can_be_named,
    connect,
    error_code,
    identity,
    readable_rows,
    transaction,
)

__all__ = ["StoreBusy", "StoreDamaged", "StoreError", "StoreUnwritable", "VerdictStore"]

_APPLICATION, _SCHEMA = 0x50_45_56_31, 1
_TABLE = (
    "CREATE TABLE verdicts(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, mark BLOB NOT NULL, verdict TEXT NOT NULL)"
)
_ALL = "SELECT key, mark, verdict FROM verdicts ORDER BY id"
_BATCH = 500  # keys in one statement: SQLite may have been built with a limit of 999
_SCAN = 4  # where at least one row in so many is wanted, reading all of them in order costs less than looking up
_T = TypeVar("_T")


class StoreError(ValueError):
    """A verdict store that cannot be used: one line that names the file and the way out."""

    def __init__(self, message: str):
        super().__init__(printable(message))


class StoreDamaged(StoreError):  # noqa: N818 - reads better where it is caught
    """The file itself is damaged, not only some rows; nothing is served from it."""


class StoreUnwritable(StoreError):  # noqa: N818
    """A write did not happen: disk full, no permission, read-only. What was stored before is intact."""


class StoreBusy(StoreError):  # noqa: N818
    """Other processes held the store for longer than `patience`."""


class VerdictStore:
    """A file of verdicts by key: SQLite in WAL mode, with a checksum in every row and no pickle.

    - What `put_many` has returned from is on disk: a killed process loses none of it, nor does a power
      cut, as each batch is synced (a disk that reports that too early may lose the last batches).
    - The first verdict given under a key stays: a later one is not written, and the first is returned.
    - A row whose bytes have changed is never served: it counts in `damaged`, is warned of, reads as
      absent, and is written anew by the next `put_many` of its key.
    - Any number of threads and processes may use one file on a local disk, forked ones too.

    The checksum finds accidents, not forgery: keep the file where only you can write.

    Args:
        path: The file; made if there is none.
        read_only: Write nothing.
        check: Read the whole file once at the start (about 1 s for 1e5 verdicts), so that damage is
            told at once; else it is found when a row is read.
        patience: Seconds to wait while other processes write.

    Attributes:
        damaged: How many rows have been found damaged so far.

    Raises:
        StoreError: If the file is no store of ours, or damaged, or cannot be opened; one line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, VerdictStore(f"{folder}/verdicts.db") as store:
    ...     _ = store.put_many({"ab" * 32: Verdict("consistent")})
    ...     store.put_many({"ab" * 32: Verdict("inconsistent")})["ab" * 32].label
    'consistent'
    """

    def __init__(
        self, path: str | Path, *, read_only: bool = False, check: bool = True, patience: float = 60.0
    ) -> None:
        self.path, self.read_only, self.patience = Path(path), read_only, patience
        self._damaged = set[bytes]()
        self._lock, self._connection = threading.RLock(), None
        self._refuse_other_files()
        _OPEN.add(self)
        try:
            if not self._run(self._made) and check:
                self.check()
        except BaseException:
            self.close()
            raise

    @property
    def damaged(self) -> int:
        """How many rows have been found damaged so far."""
        return len(self._damaged)

    def get_many(self, keys: Iterable[str]) -> dict[str, Verdict]:
        """Returns the verdicts that are kept, by key; a key that has none is left out.

        Args:
            keys: From `verdict_key`; any number, in any order.
        """
        names = key_bytes(keys)
        found = self._run(lambda connection: self._found(connection, names))
        return {names[key]: verdict for key, verdict in found.items()}

    def put_many(self, verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
        """Keeps verdicts, all of them or none, and returns what is kept under these keys now.

        Raises:
            StoreUnwritable: If it cannot be written; what was stored is intact.
            ValueError: If one is no verdict, or too long.
        """
        if self.read_only:
            raise self._unwritable("it was opened read-only")
        names = key_bytes(verdicts)
        rows = {key: row_of(key, verdicts[name]) for key, name in names.items()}
        kept = self._run(lambda connection: self._write(connection, rows)) if rows else {}
        return {**verdicts, **{names[key]: verdict for key, verdict in kept.items()}}

    def __len__(self) -> int:
        """The number of rows."""
        return self._run(lambda connection: connection.execute("SELECT count(*) FROM verdicts").fetchone()[0])

    def check(self) -> int:
        """Reads the whole file and returns how many rows are damaged.

        Raises:
            StoreDamaged: If the file itself is.
        """
        return self._run(self._checked)

    @classmethod
    def salvage(cls, path: str | Path, target: str | Path) -> int:
        """Copies every verdict that can still be read from a damaged file to a new one; returns how many.

        The damaged file is left as it is. A row of more than a page (4 kB) is found only where SQLite
        still can read it.

        Raises:
            StoreError: If there is no such file, or the target exists.
        """
        if not Path(path).is_file():
            raise StoreError(f"Expected a damaged store at {path}, got no file: name another.")
        if Path(target).exists():
            raise StoreError(f"Expected a new file to salvage to, got {target}, which exists: name another.")
        rows = iter(readable_rows(Path(path), _ALL))
        with cls(target) as store:
            while batch := list(islice(rows, _BATCH)):
                found, _ = read_rows(batch)
                store.put_many({key.hex(): verdict for key, verdict in found.items()})
            return len(store)

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __enter__(self) -> VerdictStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VerdictStore({str(self.path)!r})"

    def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Returns what `work` does with the connection; tried again while others hold the file."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                with self._lock:
                    self._connection = self._connection or connect(self.path, read_only=self.read_only)
                    return work(self._connection)
            except sqlite3.Error as error:
                if error_code(error) not in BUSY or time.monotonic() > deadline:
                    raise self._named(error) from None
            time.sleep(0.002 + os.getpid() % 7 / 1000)  # not all at the same moment

    def _refuse_other_files(self) -> None:
        """Raises if the first bytes are not SQLite's, so that SQLite never touches the file."""
        head = b""
        if not can_be_named(self.path):
            raise StoreError(f"Expected a verdict store, got the path {str(self.path)!a:.80}: name a file that can be.")
        try:
            if self.read_only or self.path.exists() or not self.path.parent.is_dir():
                with open(self.path, "rb") as file:
                    head = file.read(16)
        except OSError as error:
            name = printable(str(self.path))[:1000]
            raise StoreError(f"Expected a verdict store at {name}, got {error.strerror}: name another.") from None
        if head and head != b"SQLite format 3\x00":
            raise self._unreadable("another kind of file, or one with a damaged head")

    def _made(self, connection: sqlite3.Connection) -> bool:
        """Returns whether the store was made just now; raises if the file is another program's, or newer."""
        with transaction(connection, "DEFERRED"):
            mark, schema, tables = identity(connection)
        is_new = (mark, schema, tables) == (0, 0, []) and not self.read_only
        if not is_new and mark != _APPLICATION:
            raise StoreError(f"Expected a verdict store at {self.path}, got another program's database: name another.")
        if not is_new and schema != _SCHEMA:
            raise StoreError(f"Expected a verdict store of version {_SCHEMA} at {self.path}, got {schema}: "
                             "move it away, or use the program that wrote it.")  # fmt: skip
        if not is_new and tables != [_TABLE]:
            raise self._unreadable("a damaged file (its table is not ours)")
        if not self.read_only:
            connection.execute("PRAGMA journal_mode=WAL")
        if is_new:
            self._make(connection)
        return is_new

    def _make(self, connection: sqlite3.Connection) -> None:
        with transaction(connection):
            if identity(connection) == (0, 0, []):  # nobody else was quicker
                connection.execute(f"PRAGMA application_id={_APPLICATION}")
                connection.execute(f"PRAGMA user_version={_SCHEMA}")
                connection.execute(_TABLE)

    def _found(self, connection: sqlite3.Connection, names: Mapping[bytes, str]) -> dict[bytes, Verdict]:
        """Returns what is kept under these keys: what a scan finds, where it pays, and the rest by the index."""
        found = self._scanned(connection, names) if len(names) > _BATCH else {}
        if len(found) < len(names):
            found |= self._read(connection, sorted(key for key in names if key not in found))
        return found

    def _scanned(self, connection: sqlite3.Connection, names: Mapping[bytes, str]) -> dict[bytes, Verdict]:
        """Returns the whole rows with these keys in the order of the file; nothing where most rows are others."""
        found = dict[bytes, Verdict]()
        (last,) = connection.execute("SELECT max(id) FROM verdicts").fetchone()
        if last is None or last > _SCAN * len(names):
            return found
        rows = connection.execute(_ALL)
        while batch := rows.fetchmany(_BATCH):
            found.update(read_rows([row for row in batch if row[0] in names])[0])
        return found

    def _read(self, connection: sqlite3.Connection, wanted: list[bytes]) -> dict[bytes, Verdict]:
        found = dict[bytes, Verdict]()
        for start in range(0, len(wanted), _BATCH):  # sorted: neighbours in the index take half the time
            keys = wanted[start : start + _BATCH]
            marks = ",".join("?" * len(keys))
            rows = connection.execute(f"SELECT key, mark, verdict FROM verdicts WHERE key IN ({marks})", keys)
            verdicts, damaged = read_rows(rows)
            found |= verdicts
            self._report(damaged)
        return found

    def _write(self, connection: sqlite3.Connection, rows: Mapping[bytes, Row]) -> dict[bytes, Verdict]:
        with transaction(connection):
            kept = self._read(connection, sorted(rows))
            new = [(row[0], row[1], row[2].decode("ascii")) for key, row in rows.items() if key not in kept]
            connection.executemany("INSERT OR REPLACE INTO verdicts(key, mark, verdict) VALUES (?, ?, ?)", new)
        return kept

    def _checked(self, connection: sqlite3.Connection) -> int:
        (result,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if result != b"ok":
            raise self._unreadable("a damaged file (" + " ".join(str(result, "ascii", "replace").split()) + ")")
        rows, damaged = connection.execute(_ALL), list[bytes]()
        while batch := rows.fetchmany(_BATCH):
            damaged += read_rows(batch)[1]
        self._report(damaged)
        return len(damaged)

    def _report(self, damaged: Iterable[bytes]) -> None:
        """Warns of rows that nobody has been warned of yet."""
        new = set(damaged) - self._damaged
        self._damaged |= new
        if new:
            warnings.warn(f"{len(new)} verdicts in {self.path} are damaged and will be asked again.", stacklevel=2)

    def _unreadable(self, got: str) -> StoreDamaged:
        return StoreDamaged(f"Expected a verdict store at {self.path}, got {got}: move it away, "
                            "or save what can be read with VerdictStore.salvage(path, target).")  # fmt: skip

    def _unwritable(self, why: str) -> StoreUnwritable:
        return StoreUnwritable(f"Expected to write to {self.path}, got {why}: "
                               "make room or name another file; what is stored is intact.")  # fmt: skip

    def _named(self, error: sqlite3.Error) -> StoreError:
        """Returns what SQLite says as an error of ours."""
        code = error_code(error)
        if code in BUSY:
            return StoreBusy(f"Expected {self.path} within {self.patience:g} s, got {error}: end what holds it.")
        return self._unwritable(str(error)) if code in UNWRITABLE else self._unreadable(f"a damaged file ({error})")


# A child must not inherit open files: SQLite would take the parent's locks for the child's own.
_OPEN: weakref.WeakSet[VerdictStore] = weakref.WeakSet()
_held = list[VerdictStore]()


def _before_fork() -> None:
    for store in list(_OPEN):
        store._lock.acquire()
        _held.append(store)
        store.close()


def _after_fork() -> None:
    while _held:
        _held.pop()._lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
