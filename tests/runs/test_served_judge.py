"""A run with a simulator and a judge that are language models, the judge behind a real server: killed and resumed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from persona_env.evaluation.eval_log import load_eval_log
from persona_env.runs.run_judge import JOURNAL
from tests.reliability.processes import wait_until
from tests.runs.runs import contents
from tests.runs.small_judge import make_parts

pytestmark = pytest.mark.slow

ENVS, STEPS, ROLLOUTS = 8, 32, 3
ROLLOUT = ENVS * STEPS
TRAINED = "metrics.jsonl"
IN_FLIGHT = 2 * 2 * 32
"""Twice the most requests in flight: those that were sent, and those that were replied to since the last booking."""
PATIENCE = 900.0
"""Seconds, on a machine that is busy with something else."""


class Served:
    """`transformers serve` with a judge, at a port that stays the same."""

    def __init__(self, model: str, folder: Path):
        self.model, self._folder = model, folder
        (folder / "home" / "hub").mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port: int = found.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def spec(self) -> str:
        """The judge's."""
        return f"openai:{self.model}@http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Starts it and waits until it listens."""
        run = [str(Path(sys.executable).with_name("transformers")), "serve", self.model, "--device", "cpu"]
        run += ["--dtype", "float32", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self._folder / "log.txt").open("a") as log:
            env = {**environment(), "HF_HOME": str(self._folder / "home")}
            self._process = subprocess.Popen(run, stdout=log, stderr=log, env=env)
        wait_until(self._listens, most=PATIENCE)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log.txt").read_text()[-2000:]
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1.0):
            return True
        return False

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The models of a run."""
    return make_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def server(parts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The judge's."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    served = Served(parts["judge"], tmp_path_factory.mktemp("served"))
    try:
        served.start()
        yield served
    finally:
        served.kill()


@pytest.fixture(scope="module")
def command(parts: dict[str, str], server: Served, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run in which everything is short."""
    config = tmp_path_factory.mktemp("config") / "short.toml"
    config.write_text(
        f"tokens = {ROLLOUTS * ROLLOUT}\nenvs = {ENVS}\nsteps = {STEPS}\nbatch = 128\nlines = 3\nmax_tokens = 8\n"
        'split = "dev"\ndialogues = 4\nextended_dialogues = 0\ncheckpoint_every = 1\nthreads = 1\n'
        'judge_budget = "calls=1e5"\nmax_invalid = 0.2\n'
        f"personas = {json.dumps(parts['people'])}\njudge_prompts = {json.dumps(parts['prompts'])}\n"
    )
    return ["--config", str(config), "--simulator", f"hf:{parts['simulator']}", "--judge", server.spec]


@pytest.fixture(scope="module")
def unbroken(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    finished(train(*command, "--out", folder))
    return folder


def train(*arguments: str | Path) -> subprocess.Popen[str]:
    """Starts `persona-env train`."""
    run = [sys.executable, "-m", "persona_env", "train", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(run, stdout=pipe, stderr=pipe, text=True, env=environment())


def finished(run: subprocess.Popen[str], code: int = 0) -> str:
    """Waits for a run's end and returns what it printed."""
    out, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == code, f"{out[-2000:]}\n{errors[-2000:]}"
    return out + errors


def killed(run: subprocess.Popen[str], when: Callable[[], bool]) -> None:
    """Ends a run with SIGKILL as soon as something is true."""
    wait_until(lambda: when() or run.poll() is not None, most=PATIENCE)
    assert run.poll() is None, run.communicate()
    run.kill()
    run.communicate()
    assert run.returncode == -signal.SIGKILL


def replies(folder: Path) -> dict[bytes, str]:
    """What stands in a run's journal."""
    path = folder / JOURNAL
    if not path.is_file():
        return {}
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(path)) as journal:
        return dict(journal.execute("SELECT key, reply FROM replies"))
    return {}


def rollouts(folder: Path) -> int:
    """How many rollouts a run has noted; the update comes right after that."""
    path = folder / TRAINED
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def used(folder: Path) -> dict[str, int]:
    """What a finished run says it has used."""
    return json.loads((folder / "summary.json").read_text())["judge_usage"]


def equal(folder: Path, unbroken: Path) -> bool:
    """Whether two runs left the same: every file but for clocks and costs, and every reply."""
    assert contents(folder).keys() == contents(unbroken).keys()
    differing = [name for name, digest in contents(unbroken).items() if contents(folder)[name] != digest]
    return not differing and replies(folder) == replies(unbroken)


def test_the_judge_behind_the_server_tells_good_lines_from_bad_ones(unbroken: Path):
    summary = json.loads((unbroken / "summary.json").read_text())
    texts = [json.loads(reply)[0] for reply in replies(unbroken).values()]
    assert summary["status"] == "complete"
    assert min(sum('"A"' in text for text in texts), sum('"B"' in text for text in texts)) > 20
    assert 0 < summary["before"]["prompt_to_line"]["value"] < 1
    costs = summary["judge_usage"]
    assert costs["calls"] >= len(texts)
    assert (costs["canaries"] > 5, costs["canaries_failed"], costs["budget"]) == (True, 0, {"calls": 100_000})


def test_a_run_killed_twice_ends_as_the_unbroken_one(command: list[str], unbroken: Path, tmp_path: Path):
    run, resume = tmp_path / "run", ("--resume", tmp_path / "run")
    killed(train(*command, "--out", run), lambda: len(replies(run)) >= 32)
    judging = len(replies(run))
    assert judging < len(replies(unbroken))
    assert not (run / "eval.jsonl").exists()  # it was being judged
    killed(train(*resume), lambda: rollouts(run) >= 2)
    assert load_eval_log(run).arm("before")
    assert not load_eval_log(run).arm("after")
    said = finished(train(*resume))
    assert " of 100,000 calls, " in " ".join(said.split())
    assert equal(run, unbroken)
    # what was in flight at a kill is asked again, and may not have been booked
    assert abs(used(run)["calls"] - used(unbroken)["calls"]) <= 2 * IN_FLIGHT


def test_a_run_outlives_the_server_and_the_server_the_run(
    command: list[str], server: Served, unbroken: Path, tmp_path: Path
):
    run, resume = tmp_path / "run", ("--resume", tmp_path / "run")
    begun = train(*command, "--out", run)
    wait_until(lambda: len(replies(run)) >= 32, most=PATIENCE)
    server.kill()
    killed(begun, lambda: True)
    said = finished(train(*resume, "--judge-outage-timeout", "1"), code=75)
    assert "start it, then resume" in " ".join(said.split())
    waiting = train(*resume, "--judge-outage-timeout", "600")  # as it was; it stands in the run's config
    server.start()
    killed(waiting, lambda: rollouts(run) >= 1)
    finished(train(*resume))
    assert equal(run, unbroken)
