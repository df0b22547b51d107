"""What is played in an evaluation: data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from persona_env.errors import InputError
from persona_env.metrics import METRICS
from persona_env.roles import role_named
from persona_env.settings import Setting, check

__all__ = ["EvalSuite"]


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSuite:
    """A set of dialogues: the same personas, task agent, probes and randomness for every simulator.

    There is a dialogue for each persona; personas are used again where there are fewer. Of a role's path the key is
    kept. `max_tokens` bounds a line; None: the simulator's own bound, where it has one.

    >>> EvalSuite(role="student", dialogues=24).lines
    8
    """

    role: Annotated[str, Setting("Who is simulated: patient, student, chat_partner, or a path of a role.")] = "patient"
    personas: Annotated[str, Setting("bundled (the embedded world's), natural (real English), or a file.")] = "bundled"
    split: Annotated[str, Setting("The personas that are measured: heldout, dev, train or all.")] = "heldout"
    dialogues: Annotated[int, Setting("Dialogues with each simulator.", ge=1)] = 128
    lines: Annotated[int, Setting("The simulator's lines in a dialogue.", ge=1)] = 8
    seed: Annotated[int, Setting("Everything random follows from it.", ge=0)] = 0
    questions_every: Annotated[int, Setting("A question about the persona follows each of so many lines.", ge=1)] = 2
    task_agent: Annotated[str, Setting("The frozen other side: scripted, interview, hf: or openai:.")] = "scripted"
    max_tokens: int | None = None
    metrics: Annotated[tuple[str, ...], Setting("Metrics, separated by commas.", parse=_names)] = METRICS.builtins

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "role", role_named(self.role).key)
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InputError(f"Expected max_tokens >= 1, got {self.max_tokens}: give at least one.")
