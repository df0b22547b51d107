"""R10 and R11: a reply cache whose file is damaged, and whose writers are killed; nothing wrong is ever served."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from persona_env.errors import CannotWrite, InputError
from persona_env.models.reply_cache import ReplyCache, reply_key
from tests.reliability.demands import Measured, demand, few

_FLIPS, _CUTS = 500, 300
_WRITERS, _KILLS, _BATCH = 4, 48, 24
_REPLIES = {
    reply_key({"model": "m"}, {"line": i}): f'["{{\\"answer\\": \\"A\\"}}", "stop", {i}, 10]' for i in range(400)
}

_LAST = b"l" * 32
_EXPECTED = {**_REPLIES, _LAST: "last"}


def result(path: Path, data: bytes) -> str:
    """Opens a cache that may be damaged and says what a reader gets.

    `detected`: an error, or rows that are left out; `whole`: every reply is right; `wrong`: another reply is served.
    """
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with ReplyCache(path) as cache:
                found = cache.get(_EXPECTED)
        except (InputError, CannotWrite):
            return "detected"
    if any(found[key] != _EXPECTED[key] for key in found):
        return "wrong"
    return "whole" if _REPLIES.keys() <= found.keys() else "detected"


def filled(path: Path) -> bytes:
    """Returns the bytes of a file with replies."""
    with ReplyCache(path) as cache:
        cache.put(_REPLIES)
    return path.read_bytes()


@demand(
    "R10",
    f"{_FLIPS} bits flipped in the replies of a cache, {_FLIPS} anywhere in its file",
    "100 % detected, 0 wrong served",
)
def flips() -> Measured:
    rng, rows, anywhere = random.Random(10), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "replies"
        data, texts = filled(path), [text.encode() for text in _REPLIES.values()]

        def flipped(place: int) -> bytes:
            return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]

        for _ in range(_FLIPS):
            text = rng.choice(texts)
            rows[result(path, flipped(data.index(text) + rng.randrange(len(text))))] += 1
            anywhere[result(path, flipped(rng.randrange(len(data))))] += 1
    wrong = rows["wrong"] + anywhere["wrong"]
    told = f"{rows['detected']} detected; anywhere: {anywhere['detected']}, {anywhere['whole']} in unused bytes"
    return rows["detected"] == _FLIPS and anywhere["detected"] > 0 and not wrong, f"{told}; {wrong} wrong"


@demand(
    "R10",
    f"the file cut off at {_CUTS} places, its write-ahead log in its last record",
    "100 % detected, 0 wrong served; the log keeps all that came before",
)
def cuts() -> Measured:
    with tempfile.TemporaryDirectory() as name:
        path, live = Path(name) / "replies", Path(name) / "live"
        data = filled(path)
        cut = Counter(result(path, data[: len(data) * i // _CUTS]) for i in range(_CUTS))
        with ReplyCache(live) as cache:
            cache.put(_REPLIES)
            size = live.with_name("live-wal").stat().st_size
            cache.put({_LAST: "last"})
            data, logged = live.read_bytes(), live.with_name("live-wal").read_bytes()
        ends = range(size, len(logged), 7)
        log = Counter[str]()
        for end in ends:
            path.with_name("replies-wal").write_bytes(logged[:end])
            path.with_name("replies-shm").unlink(missing_ok=True)
            log[result(path, data)] += 1
    told = f"{cut['detected']} of {_CUTS} detected; log: {log['whole']} of {len(ends)} keep all"
    met = not (cut["wrong"] or log["wrong"]) and log["whole"] == len(ends)
    return met, f"{told}; {cut['wrong'] + log['wrong']} wrong"


def batch(writer: str, number: int) -> dict[bytes, str]:
    """Returns a batch: a writer's own keys, and some that the others write as well, with what they write there."""
    own = {reply_key({"writer": writer}, {"n": number, "i": i}): f"{writer} {number} {i}" for i in range(_BATCH)}
    return own | {reply_key({}, {"n": number, "i": i}): f"shared {number} {i}" for i in range(4)}


def write(path: str, name: str, start: int) -> None:
    """Writes batches for ever; says the number of each once it is acknowledged, or why it was not."""
    try:
        cache = ReplyCache(path)
        for number in range(start, sys.maxsize):
            cache.put(batch(name, number))
            os.write(1, f"ok {number}\n".encode())
    except Exception as error:
        os.write(1, f"error {type(error).__name__} {error}\n".encode())


class Writer:
    """A process that writes, and the file that its words go to."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name, self.words = path, name, path.with_name(f"{name}.txt")
        self.words.touch()
        self.start()

    def told(self, kind: str) -> list[str]:
        """Returns what it said of a kind, whole lines only."""
        return [line for line in self.words.read_text().split("\n")[:-1] if line.startswith(kind)]

    def start(self) -> None:
        """Goes on after the last batch that was acknowledged, which may repeat one that was cut off."""
        run = [sys.executable, "-m", __name__, str(self.path), self.name, str(len(self.told("ok")))]
        with open(self.words, "a") as out:
            self.process = subprocess.Popen(run, stdout=out, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def killed(path: Path) -> list[Writer]:
    """Runs the writers and kills one after the other, at moments drawn by chance, once it has written."""
    rng, writers = random.Random(11), [Writer(path, f"w{i}") for i in range(_WRITERS)]
    try:
        for _ in range(_KILLS):
            writer = rng.choice(writers)
            before, until = len(writer.told("ok")), time.monotonic() + 30
            while len(writer.told("ok")) == before and not writer.told("error") and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.03))
            writer.kill()
            writer.start()
    finally:
        for writer in writers:
            writer.kill()
    return writers


@demand("R11", f"{_WRITERS} processes on one cache, {_KILLS} SIGKILLs", "0 acknowledged replies lost, 0 lock errors")
def killed_writers() -> Measured:
    right = lost = other = 0
    with tempfile.TemporaryDirectory() as folder:
        writers = killed(Path(folder) / "replies.sqlite")
        with ReplyCache(Path(folder) / "replies.sqlite") as cache:
            for writer in writers:
                written = len(writer.told("ok"))
                for number in {*range(0, written, 10), *range(max(written - 100, 0), written)}:
                    told = batch(writer.name, number)
                    found = cache.get(told)
                    same = sum(found[key] == told[key] for key in found)
                    right, lost, other = right + same, lost + len(told) - len(found), other + len(found) - same
        errors = [line for writer in writers for line in writer.told("error")]
    told = f"{right} acknowledged and there, {lost} lost, {other} changed, {len(errors)} errors{few(errors)}"
    return right > 0 and not (lost or other or errors), told


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]))
