"""R10: bits flipped in a verdict store, and its last record cut off at every byte."""

from __future__ import annotations

import random
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from persona_env.judges import Verdict
from persona_env.judges.row import row_of
from persona_env.judges.store import StoreError, VerdictStore
from tests.reliability.rows import Row

_FLIPS = 500
_ROWS = 400


def verdicts(count: int) -> dict[str, Verdict]:
    """Returns verdicts such as a model gives."""
    return {
        sha256(str(i).encode()).hexdigest(): Verdict(
            "inconsistent" if i % 3 else "consistent", (), f"line {i} fits", i / count, f'{{"contradicts": {i}}}'
        )
        for i in range(count)
    }


def result(path: Path, expected: Mapping[str, Verdict]) -> str:
    """Opens a store that may be damaged and says what a reader gets: told, wrong, silent or whole.

    - told: an error, or a warning with the damaged row left out;
    - whole: every verdict is right, so that the damage hit bytes that mean nothing;
    - silent: a verdict is missing and nobody was told;
    - wrong: another verdict is served.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            with VerdictStore(path) as store:
                found = store.get_many(expected)
        except StoreError:
            return "told"
    if any(found[key] != expected[key] for key in found):
        return "wrong"
    if told:
        return "told"
    return "whole" if len(found) == len(expected) else "silent"


def flipped(data: bytes, place: int, bit: int) -> bytes:
    """Returns the bytes with one bit flipped."""
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def flips(folder: Path, where: str, rng: random.Random) -> Counter[str]:
    """Flips one bit at a time, in the rows or anywhere in the file, and counts what a reader gets."""
    path, expected, counted = folder / "flip.db", verdicts(_ROWS), Counter[str]()
    with VerdictStore(path) as store:
        store.put_many(expected)
    data = path.read_bytes()
    rows = [row_of(bytes.fromhex(key), verdict) for key, verdict in expected.items()]
    for _ in range(_FLIPS):
        row = b"".join(rng.choice(rows))
        start, size = (data.index(row), len(row)) if where == "rows" else (0, len(data))
        path.write_bytes(flipped(data, start + rng.randrange(size), rng.randrange(8)))
        counted[result(path, expected)] += 1
    path.unlink()
    return counted


def cuts(folder: Path) -> Counter[str]:
    """Cuts the file at every byte of its last record, and of the rest of its page."""
    path, expected, counted = folder / "cut.db", verdicts(_ROWS), Counter[str]()
    with VerdictStore(path) as store:
        store.put_many(expected)
    data = path.read_bytes()
    last = max(data.index(b"".join(row_of(bytes.fromhex(key), verdict))) for key, verdict in expected.items())
    for end in range(last, len(data)):
        path.write_bytes(data[:end])
        counted[result(path, expected)] += 1
    return counted


def log_cuts(folder: Path) -> Counter[str]:
    """Cuts the write-ahead log of a store that was killed at every byte of its last record.

    What was written last is then as if it had never been: it is asked again. The rest stays.
    """
    path, before, after = folder / "killed.db", verdicts(_ROWS), {"ff" * 32: Verdict("consistent", raw="last")}
    counted = Counter[str]()
    store = VerdictStore(path)
    store.put_many(before)
    size = path.with_name("killed.db-wal").stat().st_size
    store.put_many(after)
    data, log = path.read_bytes(), path.with_name("killed.db-wal").read_bytes()
    store.close()
    for end in range(size, len(log), 7):
        copy = folder / "copy.db"
        copy.write_bytes(data)
        copy.with_name("copy.db-wal").write_bytes(log[:end])
        copy.with_name("copy.db-shm").unlink(missing_ok=True)
        with VerdictStore(copy) as store:
            found = store.get_many([*before, *after])
        right = all(found[key] == {**before, **after}[key] for key in found)
        counted["whole" if right and before.keys() <= found.keys() else "wrong"] += 1
    return counted


def measure() -> list[Row]:
    """Returns the rows."""
    folder = Path(tempfile.mkdtemp())
    try:
        rng = random.Random(10)
        in_rows, anywhere = flips(folder, "rows", rng), flips(folder, "file", rng)
        cut, log = cuts(folder), log_cuts(folder)
    finally:
        shutil.rmtree(folder)
    bad = sum(counted["wrong"] + counted["silent"] for counted in (anywhere, cut, log))
    return [
        Row(
            "R10",
            f"{_FLIPS} bits flipped in the rows of a verdict store",
            "100 % detected, 0 wrong served",
            f"{in_rows['told']} detected, {in_rows['wrong']} wrong served",
            met=in_rows["told"] == _FLIPS,
        ),
        Row(
            "R10",
            f"{_FLIPS} bits flipped anywhere in its file",
            "every one that means anything detected, 0 wrong served",
            f"{anywhere['told']} detected, {anywhere['whole']} in unused bytes (all verdicts right), "
            f"{anywhere['silent']} unnoticed, {anywhere['wrong']} wrong",
            met=bad == 0 and anywhere["told"] > 0,
        ),
        Row(
            "R10",
            f"the file cut at {cut.total()} bytes of its last record, its log at {log.total()}",
            "100 % detected, 0 wrong served",
            f"{cut['told']} of {cut.total()} detected; log: {log['whole']} of {log.total()} keep all that came before; "
            f"{cut['wrong'] + log['wrong']} wrong",
            met=cut["told"] == cut.total() and log["whole"] == log.total(),
        ),
    ]
