"""Replies of models on disk: an SQLite file that several processes may share."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b, sha256
from os.path import expanduser
from pathlib import Path
from typing import Any

from persona_env.errors import CannotWrite, InputError, printable

__all__ = ["KEY_FORMAT", "ReplyCache", "reply_key"]

KEY_FORMAT = "persona-env/reply-2"
"""Part of every key: raise it where the same request or the same stored text comes to mean something else."""

_APPLICATION = 0x70656E76
_TABLE = "CREATE TABLE replies (key BLOB PRIMARY KEY, reply TEXT NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID"
_BUSY_SECONDS = 30.0
_UNWRITABLE = {
    sqlite3.SQLITE_FULL: "a full disk",
    sqlite3.SQLITE_READONLY: "a file that may not be written",
    sqlite3.SQLITE_IOERR: "an error of the disk",
    sqlite3.SQLITE_CANTOPEN: "a place where no file can be opened",
    sqlite3.SQLITE_BUSY: "a file that another process keeps locked",
}
_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def reply_key(identity: Mapping[str, Any], request: Mapping[str, Any]) -> bytes:
    """Returns the key of a reply: SHA-256 over everything that can change it, as canonical JSON.

    `identity` says which model it is of, with server, precision and options, and `request` what that is asked.

    >>> reply_key({"model": "m"}, {"seed": 1}) == reply_key({"model": "m"}, {"seed": 2})
    False
    """
    return sha256(_encode((KEY_FORMAT, identity, request)).encode("ascii")).digest()


class ReplyCache:
    """Maps keys to replies; safe for several threads and processes.

    A write is done when `put` returns and survives the end of the process; only a power failure may lose the last
    ones. The first reply under a key stays. Each row has a checksum: a damaged one (`damaged` counts them) is missing.

    A run's own file is to `keep_rejected`: it then also takes replies of wrong form that were given up on, so that a
    resumed run does not pay for them again; in a shared one they would keep everybody from asking again. What was
    written since the last `settle` (in a run's own file: or read) can be taken back with `forget`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, ReplyCache(f"{folder}/replies.sqlite") as cache:
    ...     cache.put({b"k" * 32: "Hello."})
    ...     cache.get([b"k" * 32, b"l" * 32]) == {b"k" * 32: "Hello."}
    True
    """

    def __init__(self, path: str | Path, *, keep_rejected: bool = False):
        self.path, self.keep_rejected, self.damaged = Path(expanduser(path)), keep_rejected, 0
        self._lock, self._broken, self._unsettled = threading.Lock(), set[bytes](), set[bytes]()
        with self._errors(), contextlib.ExitStack() as on_error:
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            on_error.callback(self._connection.close)
            self._connection.text_factory = bytes  # a damaged text must not raise before its checksum is looked at
            self._prepare(self._connection.execute)
            on_error.pop_all()

    def _prepare(self, execute: Any) -> None:
        execute("PRAGMA trusted_schema=OFF")
        with self._connection:
            execute("BEGIN IMMEDIATE")
            mark = execute("PRAGMA application_id").fetchone()[0]
            if not mark and not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                execute(_TABLE)
                execute(f"PRAGMA application_id={_APPLICATION}")
            elif mark != _APPLICATION:
                raise self._unusable("the database of something else")
        execute("PRAGMA synchronous=NORMAL")
        until = time.monotonic() + _BUSY_SECONDS
        while execute("PRAGMA journal_mode").fetchone()[0] != b"wal" and time.monotonic() < until:
            with contextlib.suppress(sqlite3.OperationalError):  # busy: another process is just changing the mode
                if execute("PRAGMA journal_mode=WAL").fetchone()[0] != b"wal":
                    break  # some file systems cannot: slower, but as safe
            time.sleep(0.01)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        """Returns the replies that are known, by key."""
        found = dict[bytes, str]()
        with self._lock, self._errors():
            for wanted in set(keys):
                query = "SELECT reply, checksum FROM replies WHERE key = ?"
                for reply, checksum in self._connection.execute(query, (wanted,)):
                    if isinstance(reply, bytes) and checksum == _checksum(wanted, reply):
                        found[wanted] = reply.decode()
                    else:
                        self._note_damage(wanted)
        if self.keep_rejected:
            self._unsettled.update(found)
        return found

    def put(self, replies: Mapping[bytes, str]) -> None:
        """Writes replies; one that is there already stays. CannotWrite if there is no room, or no right to write."""
        rows = [(key, reply, _checksum(key, reply.encode())) for key, reply in replies.items()]
        with self._lock, self._errors(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for key in self._broken.intersection(replies):
                self._connection.execute("DELETE FROM replies WHERE key = ?", (key,))
            self._connection.executemany("INSERT OR IGNORE INTO replies VALUES (?, ?, ?)", rows)
            self._broken.difference_update(replies)
        self._unsettled.update(replies)

    def settle(self) -> None:
        """Keeps for good what was replied so far."""
        self._unsettled.clear()

    def forget(self) -> None:
        """Removes what was replied since the last `settle`: it is asked again."""
        with self._lock, self._errors(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("DELETE FROM replies WHERE key = ?", [(key,) for key in (*self._unsettled,)])
        self._unsettled.clear()

    def __len__(self) -> int:
        with self._lock, self._errors():
            return self._connection.execute("SELECT count(*) FROM replies").fetchone()[0]

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> ReplyCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _note_damage(self, key: bytes) -> None:
        if key not in self._broken:
            self._broken.add(key)
            self.damaged += 1
            if self.damaged == 1:
                warnings.warn(f"{self.path}: damaged replies are left out and asked again", stacklevel=4)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns SQLite's errors into ours; using a closed cache stays a bug."""
        try:
            yield
        except (sqlite3.ProgrammingError, InputError):
            raise
        except ValueError as error:
            raise self._unusable("a name that no file can have") from error
        except sqlite3.Error as error:
            why = _UNWRITABLE.get(error.sqlite_errorcode & 0xFF)
            raise CannotWrite(self.path, why) if why else self._unusable("a damaged or foreign file") from error

    def _unusable(self, what: str) -> InputError:
        return InputError(
            f"Expected a reply cache in {printable(str(self.path))}, got {what}: name another file, or move this one "
            "away (its replies are then asked again)."
        )


def _checksum(key: bytes, reply: bytes) -> bytes:
    return blake2b(key + reply, digest_size=16).digest()
