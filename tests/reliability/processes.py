"""The oracle's server as a process of its own, forks, and waiting for what other processes do."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable
from typing import Any

import transformers.models.llama.modeling_llama  # noqa: F401 - here, and not in each child

import persona_env.runs.training  # noqa: F401 - likewise

__all__ = ["Server", "ended", "fork", "wait_until"]

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the tokenizers' threads do not survive a fork


class Server:
    """The oracle's server in a process of its own, at a port that stays the same."""

    def __init__(self) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def judge(self) -> str:
        """The judge's spec."""
        return f"openai:oracle@http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Starts it and waits until it listens."""
        path = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, "-m", "tests.reliability.oracle_server", str(self.port)]
        self._process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
        wait_until(self._listens)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    @property
    def asked(self) -> int:
        """How many completions it was asked for since it was started."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/") as reply:
            return json.loads(reply.read())["asked"]

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def wait_until(true: Callable[[], bool], most: float = 300.0) -> float:
    """Waits until something is true; returns the seconds that took."""
    begin = time.monotonic()
    while not true():
        if time.monotonic() - begin > most:
            raise TimeoutError(f"Expected it within {most:.0f} s, got nothing: the run hangs.")
        time.sleep(0.02)
    return time.monotonic() - begin


def fork(work: Callable[[], Any]) -> int:
    """Starts a child process that does the work; it exits with what the work returns, 0 for None, 1 after an error."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Waits for a child and returns its exit code; minus the signal if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
