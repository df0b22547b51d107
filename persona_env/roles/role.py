"""A role: who is simulated, whom they talk to, and the texts that belong to this kind of conversation."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from os.path import expanduser
from pathlib import Path
from typing import Any

import msgspec

from persona_env.errors import InputError, shown

__all__ = ["Role", "env_name", "read_role"]

_TEXTS = ("key", "simulator", "task", "task_prompt", "instruction", "stock_line")
STOCK_LINE = "I see. Please go on."
_TABLES = ("judge", "interview")


@dataclass(frozen=True, slots=True)
class Role:
    """One kind of conversation: who is simulated and whom they talk to.

    >>> Role("customer", "customer", "agent", "You help customers.").env_name
    'Customer'
    """

    key: str  # the name used in environment keywords, files and on the command line
    simulator: str  # the noun for the learning side: `patient`
    task: str  # the noun for the frozen side: `therapist`
    task_prompt: str
    instruction: str = ""  # what the simulator is told before its persona
    judge: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)  # as in a `judge.toml`
    interview: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)  # as in an `interview.toml`
    personas: Traversable | None = field(default=None, repr=False, hash=False)  # a file of them in natural English
    stock_line: str = STOCK_LINE  # stands in for a line of the task agent that a filter withheld

    def __post_init__(self) -> None:
        if not self.key.isidentifier() or not self.key.islower():
            raise InputError(f"Expected a key such as chat_partner, got {shown(self.key)}: use small letters and _.")
        if not all(text.strip() for text in (self.simulator, self.task, self.task_prompt, self.stock_line)):
            raise InputError(
                f"Expected simulator, task, task_prompt and stock_line of the role {self.key!r}, got an empty text."
            )

    @property
    def env_name(self) -> str:
        """The CamelCase stem of the environment ids: `Patient` in `persona_env/Patient-v0`."""
        return env_name(self.key)


class _RoleFile(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    simulator: str
    task: str
    task_prompt: str
    instruction: str = ""
    stock_line: str = STOCK_LINE
    personas: str = ""
    judge: dict[str, Any] = {}
    interview: dict[str, Any] = {}


def env_name(key: str) -> str:
    """Returns a role's key in CamelCase: `ChatPartner` for `chat_partner`."""
    return "".join(part.capitalize() for part in key.split("_"))


def read_role(place: str | Path | Traversable) -> Role:
    """Returns the role of a folder, or of one TOML file.

    A folder holds `role.toml` (`key`, `simulator`, `task`, `task_prompt` and perhaps `instruction` and `stock_line`),
    and beside it perhaps `judge.toml`, `interview.toml` and `personas.json`. A single file may hold the tables
    `[judge]` and `[interview]`, and `personas`, the path of a file, seen from its own folder. A file that cannot be
    read, or lacks what a role needs, is named in an `InputError`.
    """
    path = Path(expanduser(place)) if isinstance(place, str) else place
    file = path / "role.toml" if path.is_dir() else path
    table = _table(file)
    if path.is_dir():
        table |= {name: _table(path / f"{name}.toml") for name in _TABLES if (path / f"{name}.toml").is_file()}
    try:
        found = msgspec.convert(table, _RoleFile)
    except msgspec.ValidationError as error:
        raise InputError(f"Expected what a role needs in {file}, got an error ({error}): correct it.") from None
    texts = {name: getattr(found, name).strip() for name in _TEXTS}
    personas = Path(str(path)).parent / found.personas if found.personas else None
    if path.is_dir():
        personas = path / "personas.json" if (path / "personas.json").is_file() else None
    return Role(**texts, judge=found.judge, interview=found.interview, personas=personas)


def _table(file: Traversable) -> dict[str, Any]:
    try:
        if not file.is_file():  # reading a pipe may never end
            raise FileNotFoundError("there is no such file")
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:160]
        raise InputError(f"Expected the TOML file of a role at {file}, got an error ({why}): correct it.") from None
