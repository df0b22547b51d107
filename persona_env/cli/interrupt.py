"""Ctrl-C in a command that has written a folder: it says how to go on there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from persona_env.runs.run_folder import CONFIG, RunFolder

__all__ = ["resumable"]


@contextlib.contextmanager
def resumable(folder: RunFolder | None, way_on: str) -> Iterator[None]:
    """Gives a KeyboardInterrupt inside it `way_on` as its text, where there is a run to go on with.

    Args:
        folder: Where the run is written; None for nowhere.
        way_on: What to do to go on with it.

    Raises:
        KeyboardInterrupt: The one inside it.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if folder and (folder.path / CONFIG).is_file():
            interrupt.args = (way_on,)
        raise
