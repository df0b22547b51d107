"""How an SQLite file is opened, written in one piece, told from others, and read when it is damaged."""

from __future__ import annotations

import contextlib
import mmap
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from persona_env.judges.row import carved

__all__ = ["BUSY", "UNWRITABLE", "can_be_named", "connect", "error_code", "identity", "readable_rows", "transaction"]

BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
"""Others hold the file: worth another try."""

UNWRITABLE = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOLFS),
)
"""The disk or the rights on it are in the way; the file itself is as it was."""

_WAIT = 5.0  # seconds that SQLite itself waits for a lock
_SETTINGS = ("synchronous=FULL", "cache_size=-16384", "cell_size_check=ON", "trusted_schema=OFF")


def error_code(error: sqlite3.Error) -> int:
    """Returns SQLite's primary code of an error; 0 where the error is Python's own."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def can_be_named(path: Path) -> bool:
    """Returns whether a file can be called so: no NUL, and nothing that the file system cannot spell."""
    try:
        return b"\x00" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Returns a connection on which each commit is synced; texts come as bytes."""
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    if read_only and not os.access(path.parent, os.W_OK) and not _wal(path).exists():
        uri += "&immutable=1"  # no room for lock files beside it, so nobody can be writing
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_WAIT)
    connection.text_factory = bytes  # a damaged text is not to raise before its checksum is looked at
    try:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    return connection


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def identity(connection: sqlite3.Connection) -> tuple[int, int, list[str]]:
    """Returns whose file it is (`application_id`), its version, and the statements that made what is in it.

    Others may be making it just now: read it in a `transaction`.
    """
    mark, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    made = connection.execute("SELECT coalesce(sql, '') FROM sqlite_master WHERE substr(name, 1, 7) <> 'sqlite_'")
    return mark, version, [str(sql, "utf-8", "replace") for (sql,) in made]


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All that is written within is kept at the end, or nothing of it; all that is read is of one moment.

    Args:
        connection: Any.
        kind: `IMMEDIATE` to write, `DEFERRED` to read only.
    """
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # the first error tells more
                connection.execute("ROLLBACK")
        raise


def readable_rows(path: Path, query: str) -> Iterator[tuple[Any, Any, Any]]:
    """Yields the rows of a damaged file: by SQLite from either end, then wherever its bytes hold one.

    Args:
        path: The file; the `-wal` beside it is read as well.
        query: Selects key, checksum and payload, and ends in a column to order by.
    """
    for order in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(path, read_only=True)) as connection:
            yield from connection.execute(f"{query} {order}")
    for file in (path, _wal(path)):
        if file.exists() and file.stat().st_size:
            with open(file, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield from carved(data)
