"""R10: bits flipped in a reply cache, and its file cut off; nothing wrong is ever served."""

from __future__ import annotations

import random
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from persona_env.errors import InputError
from persona_env.models.reply_cache import CannotWriteCache, ReplyCache, reply_key
from tests.reliability.rows import Row

_FLIPS = 500
_ROWS = 400


def replies(count: int) -> dict[bytes, str]:
    """Returns replies such as a model gives."""
    return {
        reply_key({"model": "m"}, {"line": i}): f'["{{\\"answer\\": \\"A\\"}}", "stop", {i}, 10]' for i in range(count)
    }


def result(path: Path, expected: Mapping[bytes, str]) -> str:
    """Opens a cache that may be damaged and says what a reader gets.

    - detected: an error, or rows that are left out;
    - whole: every reply is right, so that the damage hit bytes that mean nothing;
    - wrong: another reply is served.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with ReplyCache(path) as cache:
                found = cache.get(expected)
        except (InputError, CannotWriteCache):
            return "detected"
    if any(found[key] != expected[key] for key in found):
        return "wrong"
    return "whole" if len(found) == len(expected) else "detected"


def filled(path: Path) -> tuple[bytes, dict[bytes, str]]:
    """Returns the bytes of a file with replies, and these."""
    expected = replies(_ROWS)
    with ReplyCache(path) as cache:
        cache.put(expected)
    return path.read_bytes(), expected


def flips(path: Path, in_rows: bool) -> Counter[str]:
    """Flips one bit at a time, in the replies or anywhere in the file."""
    rng, counted = random.Random(10), Counter[str]()
    data, expected = filled(path)
    for _ in range(_FLIPS):
        text = rng.choice(list(expected.values())).encode()
        start, size = (data.index(text), len(text)) if in_rows else (0, len(data))
        place = start + rng.randrange(size)
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        counted[result(path, expected)] += 1
    return counted


def cuts(path: Path) -> Counter[str]:
    """Cuts the file off at 300 places."""
    data, expected = filled(path)
    counted = Counter[str]()
    for end in range(0, len(data), len(data) // 300):
        path.write_bytes(data[:end])
        counted[result(path, expected)] += 1
    return counted


def log_cuts(path: Path) -> Counter[str]:
    """Cuts the write-ahead log of a killed process in its last record: all that came before stays."""
    before, after = replies(_ROWS), {b"l" * 32: "last"}
    counted, log = Counter[str](), path.with_name(f"{path.name}-wal")
    with ReplyCache(path) as cache:
        cache.put(before)
        size = log.stat().st_size
        cache.put(after)
        data, logged = path.read_bytes(), log.read_bytes()
    for end in range(size, len(logged), 7):
        copy = path.with_name("copy")
        copy.write_bytes(data)
        copy.with_name("copy-wal").write_bytes(logged[:end])
        copy.with_name("copy-shm").unlink(missing_ok=True)
        with ReplyCache(copy) as cache:
            found = cache.get([*before, *after])
        right = all(found[key] == {**before, **after}[key] for key in found)
        counted["whole" if right and before.keys() <= found.keys() else "wrong"] += 1
    return counted


def measure() -> list[Row]:
    """Returns the rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows, anywhere = flips(folder / "rows", in_rows=True), flips(folder / "file", in_rows=False)
        cut, log = cuts(folder / "cut"), log_cuts(folder / "log")
    return [
        Row(
            "R10",
            f"{_FLIPS} bits flipped in the replies of a cache, {_FLIPS} anywhere in its file",
            "100 % detected, 0 wrong served",
            f"{rows['detected']} detected; anywhere: {anywhere['detected']} detected, {anywhere['whole']} in unused "
            f"bytes; {rows['wrong'] + anywhere['wrong']} wrong",
            met=rows["detected"] == _FLIPS and not anywhere["wrong"] and anywhere["detected"] > 0,
        ),
        Row(
            "R10",
            f"the file cut off at {cut.total()} places, its log at {log.total()} of its last record",
            "100 % detected, 0 wrong served; the log keeps all that came before",
            f"{cut['detected']} of {cut.total()} detected; log: {log['whole']} of {log.total()} keep all; "
            f"{cut['wrong'] + log['wrong']} wrong",
            met=not cut["wrong"] and log["whole"] == log.total(),
        ),
    ]
