"""What is played in an evaluation: data only."""

from __future__ import annotations

from dataclasses import dataclass

from persona_env.errors import InputError
from persona_env.metrics import METRICS
from persona_env.roles import role_named

__all__ = ["EvalSuite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSuite:
    """A set of dialogues: the same personas, task agent, probes and randomness for every simulator.

    Attributes:
        role: Key of the role, or its path, of which the key is kept.
        personas: `bundled` (the embedded world's), `natural` (real English) or a file of personas.
        split: Which of them.
        dialogues: How many, one for each persona; personas are used again where there are fewer.
        lines: The simulator's lines in each.
        seed: The randomness of task agent and simulator.
        questions_every: A question about the persona is asked after each of so many lines.
        task_agent: Spec of the other side.
        max_tokens: Bound on a line's tokens; None: the simulator's own, where it has one.
        metrics: Specs of the metrics that are computed.
    """

    role: str
    personas: str = "bundled"
    split: str = "heldout"
    dialogues: int = 128
    lines: int = 8
    seed: int = 0
    questions_every: int = 2
    task_agent: str = "scripted"
    max_tokens: int | None = None
    metrics: tuple[str, ...] = METRICS.builtins

    def __post_init__(self) -> None:
        object.__setattr__(self, "role", role_named(self.role).key)
        counts = {"dialogues": self.dialogues, "lines": self.lines, "questions_every": self.questions_every}
        if self.max_tokens is not None:
            counts["max_tokens"] = self.max_tokens
        for name, number in counts.items():
            if number < 1:
                raise InputError(f"Expected {name} >= 1, got {number}: give at least one.")
