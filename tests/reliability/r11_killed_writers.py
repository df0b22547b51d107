"""R11: four processes write to one verdict store and are killed again and again."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from persona_env.judges import Verdict
from persona_env.judges.store import StoreDamaged, StoreError, VerdictStore
from tests.reliability.rows import Row

_WRITERS, _KILLS, _BATCH, _SHARED = 4, 48, 24, 4


def key(name: str) -> str:
    """Returns a key."""
    return sha256(name.encode()).hexdigest()


def verdict(writer: str, place: str) -> Verdict:
    """Returns what a writer says; under the keys that all writers share, each says something else."""
    return Verdict("consistent", reason=f"said by {writer}", raw=f"{place} {'x' * 200}")


def batch(writer: str, number: int) -> dict[str, Verdict]:
    """Returns a batch of a writer: its own keys, and some that the other writers want as well."""
    own = {key(f"{writer}/{number}/{i}"): verdict(writer, f"{number}/{i}") for i in range(_BATCH)}
    return own | {key(f"shared/{number}/{i}"): verdict(writer, f"{number}/{i}") for i in range(_SHARED)}


def write(path: str, name: str, start: int) -> None:
    """Writes batches for ever; says the number of each once it is acknowledged, or why it was not."""
    try:
        store = VerdictStore(path, check=False)
        for number in range(start, sys.maxsize):
            kept = store.put_many(batch(name, number))
            shared = [kept[key(f"shared/{number}/{i}")].reason.removeprefix("said by ") for i in range(_SHARED)]
            os.write(1, f"ok {number} {' '.join(shared)}\n".encode())
    except StoreError as error:
        os.write(1, f"error {error}\n".encode())


class Writer:
    """A process that writes, and the file that its words go to."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name, self.words = path, name, path.with_name(f"{name}.txt")
        self.start()

    def acknowledged(self) -> list[list[str]]:
        """Returns the number of each batch it was told is kept, and who was first under the shared keys."""
        said = self.words.read_text().splitlines(keepends=True) if self.words.exists() else []
        return [line.split()[1:] for line in said if line.startswith("ok") and line.endswith("\n")]

    def errors(self) -> list[str]:
        """Returns what went wrong in it."""
        return [line for line in self.words.read_text().splitlines() if not line.startswith("ok")]

    def start(self) -> None:
        """Goes on after the last batch that was acknowledged, which may repeat one that was cut off."""
        run = [sys.executable, "-m", __name__, str(self.path), self.name, str(len(self.acknowledged()))]
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
            before, deadline = len(writer.acknowledged()), time.monotonic() + 30
            while len(writer.acknowledged()) == before and not writer.errors() and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.03))
            writer.kill()
            writer.start()
    finally:
        for writer in writers:
            writer.kill()
    return writers


def found(path: Path, writers: Sequence[Writer]) -> Counter[str]:
    """Reads everything that was acknowledged; counts what is there, what is lost and what is another."""
    counted = Counter[str]()
    with VerdictStore(path) as store:
        for writer in writers:
            counted["errors"] += len(writer.errors())
            for number, *shared in writer.acknowledged():
                told = batch(writer.name, int(number))
                told |= {key(f"shared/{number}/{i}"): verdict(who, f"{number}/{i}") for i, who in enumerate(shared)}
                kept = store.get_many(told)
                counted["lost"] += len(told) - len(kept)
                counted["other"] += sum(kept[name] != told[name] for name in kept)
                counted["right"] += sum(kept[name] == told[name] for name in kept)
    return counted


def measure(kills: int = _KILLS) -> list[Row]:
    """Returns the row."""
    folder = Path(tempfile.mkdtemp())
    try:
        writers = killed(folder / "v.db", kills)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            counted = found(folder / "v.db", writers)
        told = [line for writer in writers for line in writer.errors()]
    except (StoreDamaged, UserWarning) as error:
        counted, told = Counter(lost=1), [str(error)]
    finally:
        shutil.rmtree(folder)
    return [
        Row(
            "R11",
            f"{_WRITERS} processes on one verdict store, {kills} SIGKILLs",
            "0 acknowledged verdicts lost, 0 lock errors",
            f"{counted['right']} acknowledged and there, {counted['lost']} lost, {counted['other']} changed, "
            f"{counted['errors']} errors{': ' + told[0][:200] if told else ''}",
            met=counted["right"] > 0 and not (counted["lost"] or counted["other"] or counted["errors"] or told),
        )
    ]


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]))
