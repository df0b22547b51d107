"""The command line in this process, what it said, and what it left on disk."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from unittest import mock

from persona_env import cli

__all__ = ["TINY_RUN", "Ran", "run", "tree"]

TINY_RUN = """
envs = 2
steps = 8
tokens = 16
batch = 16
lines = 1
dialogues = 2
extended_dialogues = 0
split = "dev"
threads = 1
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended: its exit code, and what it wrote to standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def is_one_line(self) -> bool:
        """Whether it refused with exit code 2 and one line that says what was expected."""
        lines = self.err.splitlines()
        return self.code == 2 and len(lines) == 1 and lines[0].startswith("persona-env: Expected ")


def run(arguments: Sequence[str | Path], said: str = "", env: Mapping[str, str] | None = None) -> Ran:
    """Runs a command with what somebody types and more environment; what it does not catch is told with its locals."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["persona-env", *map(str, arguments)]
    with (
        mock.patch.multiple(sys, argv=argv, stdin=io.StringIO(said), stdout=out, stderr=err),
        mock.patch.dict(os.environ, {"COLUMNS": "200", **(env or {})}),
    ):
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except Exception as error:
            code = 1
            err.writelines(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return Ran(code, out.getvalue(), err.getvalue())


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
