"""R11: four processes write to one reply cache and are killed again and again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from persona_env.models.reply_cache import ReplyCache, reply_key
from tests.reliability.rows import Row

_WRITERS, _KILLS, _BATCH = 4, 48, 24


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
        lines = self.words.read_text().splitlines(keepends=True)
        return [line.strip() for line in lines if line.startswith(kind) and line.endswith("\n")]

    def start(self) -> None:
        """Goes on after the last batch that was acknowledged, which may repeat one that was cut off."""
        run = [sys.executable, "-m", __name__, str(self.path), self.name, str(len(self.told("ok")))]
        with open(self.words, "a") as out:
            self.process = subprocess.Popen(run, stdout=out, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        """Kills it where it stands."""
        self.process.kill()
        self.process.wait()


def killed(path: Path, kills: int) -> list[Writer]:
    """Runs the writers and kills one after the other, at moments drawn by chance, once it has written."""
    rng, writers = random.Random(11), [Writer(path, f"w{i}") for i in range(_WRITERS)]
    try:
        for _ in range(kills):
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


def measure(kills: int = _KILLS) -> list[Row]:
    """Returns the row."""
    counted = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        writers = killed(Path(folder) / "replies.sqlite", kills)
        with ReplyCache(Path(folder) / "replies.sqlite") as cache:
            for writer in writers:
                counted["errors"] += len(writer.told("error"))
                written = len(writer.told("ok"))
                for number in {*range(0, written, 10), *range(max(written - 100, 0), written)}:
                    told = batch(writer.name, number)
                    found = cache.get(told)
                    counted["lost"] += len(told) - len(found)
                    counted["right"] += sum(found[key] == told[key] for key in found)
                    counted["other"] += sum(found[key] != told[key] for key in found)
        errors = [line for writer in writers for line in writer.told("error")]
    return [
        Row(
            "R11",
            f"{_WRITERS} processes on one reply cache, {kills} SIGKILLs",
            "0 acknowledged replies lost, 0 lock errors",
            f"{counted['right']} acknowledged and there, {counted['lost']} lost, {counted['other']} changed, "
            f"{len(errors)} errors{': ' + errors[0][:200] if errors else ''}",
            met=counted["right"] > 0 and not (counted["lost"] or counted["other"] or errors),
        )
    ]


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]))
