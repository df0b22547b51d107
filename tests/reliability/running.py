"""R5, R8 and R9: runs whose judge goes down, that are killed, or whose disk fills up, end as unbroken ones do."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from typing import Any

import transformers.models.llama.modeling_llama  # noqa: F401 - here, and not in each child

import persona_env.runs.training  # noqa: F401 - likewise
from persona_env.cli.train import resume_training, run_training
from persona_env.errors import InputError
from persona_env.judges import LineVsPersona, Query
from persona_env.models.reply_cache import ReplyCache
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.config import RunConfig
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.run_judge import REPLIES, RunJudge
from persona_env.world import personas
from tests.models.fault_server import FaultProcess
from tests.reliability.demands import Measured, demand, few
from tests.runs.runs import SMALL, contents, go

_ORACLE = ("--answer", "tests.judges.backends:reply")
_DOWN, _PATIENCE, _ENDED = 4.0, 4.0, 75

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the tokenizers' threads do not survive a fork


def wait_until(true: Callable[[], bool], most: float = 300.0) -> float:
    """Waits until something is true; returns the seconds that took."""
    begin = time.monotonic()
    while not true():
        if time.monotonic() - begin > most:
            raise TimeoutError(f"Expected it within {most:.0f} s, got nothing: the run hangs.")
        time.sleep(0.02)
    return time.monotonic() - begin


def fork(work: Callable[[], int]) -> Process:
    """Starts a child process that does the work and exits with what it returns, or with 1 after an error."""
    process = get_context("fork").Process(target=lambda: sys.exit(work()))
    process.start()
    return process


def ended(process: Process) -> int:
    """Waits for a process and returns its exit code; minus the signal if one ended it."""
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def trained(run: Path, server: FaultProcess | None = None, **more: Any) -> Process:
    """Starts a run, or one that goes on, in a process of its own."""
    judged = {"judge": f"openai:{server.spec}"} if server else {}
    return fork(lambda: go(run, **judged, **more).exit_code)


def note_connections(port: int, file: Path) -> None:
    """Has this process write down when it tries to connect to the server, whether somebody is there or not."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and arguments[1][1] == port:
            os.write(handle, f"{time.monotonic()}\n".encode())

    sys.addaudithook(note)


def probes(file: Path, begin: float, end: float) -> tuple[int, float]:
    """Returns how often the server was tried between two moments, after the first half second, and for how long."""
    tried = [float(line) for line in file.read_text().splitlines()]
    first = min((one for one in tried if one > begin), default=begin) + 0.5
    return sum(first < one < end for one in tried), end - first


def replies(run: Path) -> int:
    """Returns how many replies a run's cache has."""
    with ReplyCache(run / REPLIES) as cache:
        return len(cache)


def killed_and_restarted(server: FaultProcess, run: Path) -> tuple[float, float]:
    """Returns how long the run took to go on once the server was back, and how often a second it had tried."""
    tried = run.with_suffix(".tried")

    def work() -> int:
        note_connections(server.port, tried)
        return go(run, judge=f"openai:{server.spec}").exit_code

    child = fork(work)
    wait_until((run / "metrics.jsonl").is_file)
    server.kill()
    killed = time.monotonic()
    wait_until(lambda: probes(tried, killed, time.monotonic())[1] > _DOWN)
    before, end = replies(run), time.monotonic()
    server.start()
    waited = wait_until(lambda: replies(run) > before)
    assert ended(child) == 0
    count, seconds = probes(tried, killed, end)
    return waited, count / seconds


@demand(
    "R5",
    "judge's server killed in mid-training: started again, and for good (the run is resumed)",
    f"equal to the unbroken run; <= 1 probe/s; goes on <= 5 s after, else checkpoint and exit code {_ENDED}",
)
def judge_gone() -> Measured:
    with tempfile.TemporaryDirectory() as name, FaultProcess(*_ORACLE) as server:
        root = Path(name)
        assert ended(trained(root / "unbroken", server)) == 0
        unbroken = contents(root / "unbroken")
        waited, rate = killed_and_restarted(server, root / "outage")
        same = contents(root / "outage") == unbroken
        child = trained(root / "stopped", server, judge_outage_timeout=_PATIENCE)
        wait_until((root / "stopped" / "metrics.jsonl").is_file)
        server.kill()
        code = ended(child)
        server.start()
        assert ended(trained(root / "stopped", server)) == 0
        resumed = contents(root / "stopped") == unbroken
    told = f"{'equal' if same else 'NOT equal'}; {rate:.2f} probes/s; went on after {waited:.1f} s"
    met = same and resumed and rate <= 1 and waited <= 5 and code == _ENDED
    return met, f"{told}; for good: exit code {code}, resumed {'equal' if resumed else 'NOT equal'}"


_KILLS, _IN_FLIGHT = 20, 64
_FILES = ("metrics.jsonl", "eval.jsonl", "model/model.safetensors")


def killed_runs(root: Path, start: Callable[[Path], Process]) -> list[Path]:
    """Starts runs and kills each until it is done, 20 times in all; returns them, an unbroken one first."""
    begin, runs, kills, rng = time.monotonic(), [root / "unbroken"], 0, random.Random(8)
    assert ended(start(runs[0])) == 0
    length = time.monotonic() - begin
    while kills < _KILLS:
        runs.append(root / f"run-{len(runs)}")
        while kills < _KILLS:
            child = start(runs[-1])
            time.sleep(rng.uniform(0.05, 0.6) * length)
            if not child.is_alive():
                break
            child.kill()
            ended(child)
            kills += 1
        else:
            assert ended(start(runs[-1])) == 0
    return runs


@demand("R8", f"SIGKILL x {_KILLS} at random moments of trainings", "SHA-256 of all files equal to the unbroken run's")
def killed_trainings() -> Measured:
    with tempfile.TemporaryDirectory() as name:
        unbroken, *broken = (contents(run) for run in killed_runs(Path(name), trained))
    assert all(name in unbroken for name in _FILES)
    equal = sum(found == unbroken for found in broken)
    return equal == len(broken), f"{equal} of {len(broken)} equal ({len(unbroken)} files each)"


def judged(folder: Path, server: FaultProcess) -> str:
    """Judges a thousand questions with a run's judge and returns the verdicts as text."""
    people, lines = personas("patient", "train"), [f"I sleep {n} hours." for n in range(20)]
    asked: list[Query] = [LineVsPersona(one, line, "How do you sleep?") for one in people[:50] for line in lines]
    folder.mkdir(exist_ok=True)
    judge = RunJudge(f"openai:{server.spec}", personas=people)
    judge.open(folder)
    try:
        return repr(judge.judge(asked))
    finally:
        judge.close()


@demand(
    "R8",
    f"SIGKILL x {_KILLS} at random moments of judgings of 1,000 questions",
    f"log equal to the unbroken one; repeats <= {_IN_FLIGHT} in flight x kills = {_IN_FLIGHT * _KILLS}",
)
def killed_judgings() -> Measured:
    with tempfile.TemporaryDirectory() as name, FaultProcess(*_ORACLE) as server:
        runs = killed_runs(Path(name), lambda path: fork(lambda: len(judged(path, server)) and 0))
        asked, once = server.asked, replies(runs[0])
        unbroken, *broken = (judged(run, server) for run in runs)
        assert server.asked == asked, "what a run was told is not asked again"
    repeated, equal = asked - len(runs) * once, sum(found == unbroken for found in broken)
    met = equal == len(broken) and repeated <= _IN_FLIGHT * _KILLS
    return met, f"{equal} of {len(broken)} equal; {repeated} of {once * len(broken):,} requests repeated"


_HALFWAY = 2 * SMALL["envs"] * SMALL["steps"]
_BIG = 64 << 10  # between the small files of a run and its weights, which are written past Python
_SITES = {
    **{"config.json": 0, "timing.jsonl": 0, "metrics.jsonl": 0, "tensors.safetensors": _BIG, "state.json": 0},
    **{"checksums.json": 0, "model.safetensors": _BIG, "tokenizer_config.json": 0},
    **{"eval.jsonl": 0, "summary.json": 0, "sample.txt": 0},
}
"""Where a run writes, and how many bytes of a file there is still room for."""


class Disk:
    """Lets no file grow beyond `room` bytes once `site` is opened to be written (or, past Python, from now on)."""

    def __init__(self) -> None:
        self.site, self.room = "", 0
        self._usual, self._most = resource.getrlimit(resource.RLIMIT_FSIZE)
        sys.addaudithook(self._watch)  # which stays for good

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes and self.site and self.site in Path(str(arguments[0])).name:
            self._limit(self.room)

    def _limit(self, room: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, self._most))

    @contextlib.contextmanager
    def full(self, site: str, room: int) -> Iterator[None]:
        """The disk is full inside; there is room again after."""
        # The checkpoints before the model must still have room: the first file of its folder is near.
        self.site, self.room = "config.json" if site == "model.safetensors" else site, room
        if site == "tensors.safetensors":
            self._limit(room)
        try:
            yield
        finally:
            self.site = ""
            self._limit(self._usual)


def _run(path: Path) -> int:
    """Runs the command's own function on a folder; returns its exit code, 2 where the disk was full."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            if (path / "config.json").is_file():
                return resume_training(path, {})
            return run_training(RunConfig.from_flat(SMALL), path)
        except (InputError, OSError) as error:
            return 2 if str(error).startswith("Expected ") and str(error).isprintable() else 3
        finally:
            gc.collect()  # a command leaves it to the end of the process to unlock its folder


def _interrupt(path: Path) -> None:
    """Makes a run that was stopped with Ctrl-C: it has every artefact once, for the disk to spoil."""

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "training" and done >= _HALFWAY:
            raise KeyboardInterrupt

    assert go(path, progress).exit_code == 130


def _intact(path: Path, old: dict[str, str], new: dict[str, str]) -> bool:
    """Whether each artefact is the old or the new one, whole, and each checkpoint as it was written."""
    grows = ("metrics.jsonl", "timing.jsonl")
    written = {name: digest for name, digest in contents(path).items() if not name.startswith(("checkpoints/", *grows))}
    lines = [
        line
        for name in grows
        if (path / name).is_file()
        for line in (path / name).read_text().splitlines(keepends=True)
    ]
    whole = all(line.endswith("\n") and json.loads(line) for line in lines)
    checkpoints = Checkpoints(RunFolder(path, resume=(path / "config.json").is_file()))
    same = all(digest in (old.get(name), new.get(name)) for name, digest in written.items())
    return same and whole and all(map(checkpoints.is_whole, (path / "checkpoints").glob("*")))


@demand(
    "R9",
    f"disk full at {len(_SITES)} write sites of a run",
    "a one-line error; old artefacts intact; identical after space returns",
)
def disk_full() -> Measured:
    with tempfile.TemporaryDirectory() as name:
        root, disk, counted = Path(name), Disk(), dict[str, tuple[bool, bool, bool]]()
        assert _run(root / "unbroken") == 0
        _interrupt(root / "begun")
        new, old = contents(root / "unbroken"), contents(root / "begun")
        for site, room in _SITES.items():
            path = root / f"run-{site}"
            if site != "config.json":  # which is written once, before all
                shutil.copytree(root / "begun", path)
            with disk.full(site, room):
                told = _run(path) == 2
            counted[site] = told, _intact(path, old, new), _run(path) == 0 and contents(path) == new
    told, intact, equal = (sum(column) for column in zip(*counted.values(), strict=True))
    failed = [site for site, good in counted.items() if not all(good)]
    return not failed, f"{told} told, {intact} intact, {equal} identical of {len(_SITES)}{few(failed)}"
