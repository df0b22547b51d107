"""The command line in this process, what it said, and what it left on disk."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from unittest import mock

from persona_env import cli

__all__ = ["Ran", "run", "tree", "within"]


@dataclass(frozen=True)
class Ran:
    """How a command ended.

    Attributes:
        code: The exit code.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    code: int
    out: str
    err: str

    @property
    def is_one_line(self) -> bool:
        """Whether it refused with exit code 2 and one line that says what was expected."""
        lines = self.err.splitlines()
        return self.code == 2 and len(lines) == 1 and lines[0].startswith("persona-env: Expected ")


def run(arguments: Sequence[str | Path], said: str = "", env: Mapping[str, str] | None = None) -> Ran:
    """Runs a command; an exception that leaves it is the caller's.

    Args:
        arguments: Those of the command line.
        said: What somebody types.
        env: Added to the environment.
    """
    out, err = io.StringIO(), io.StringIO()
    argv = ["persona-env", *map(str, arguments)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", argv))
        stack.enter_context(mock.patch.object(sys, "stdin", io.StringIO(said)))
        stack.enter_context(mock.patch.dict(os.environ, {"COLUMNS": "200", **(env or {})}))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def within(folder: Path) -> Iterator[Path]:
    """Works in a folder, and goes back."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


def tree(folder: Path) -> dict[str, str]:
    """Returns what stands in a folder: each path with the digest of its bytes, or what it is."""
    found = dict[str, str]()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            what = f"link to {os.readlink(path)}"
        elif path.is_file():
            what = sha256(path.read_bytes()).hexdigest()
        else:
            what = "folder" if path.is_dir() else "other"
        found[str(path.relative_to(folder))] = what
    return found
