"""Forks, and waiting for what other processes do."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from typing import Any

import transformers.models.llama.modeling_llama  # noqa: F401 - here, and not in each child

import persona_env.runs.training  # noqa: F401 - likewise

__all__ = ["ended", "fork", "wait_until"]

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the tokenizers' threads do not survive a fork


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
