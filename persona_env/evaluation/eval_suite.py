"""What is played: data only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from persona_env.conversation import Conversation
from persona_env.errors import InputError
from persona_env.metrics import Answer

__all__ = ["Dialogue", "EvalSuite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSuite:
    """A set of dialogues to be played: the same people, task agent, questions and randomness for everybody.

    Attributes:
        role: Who is simulated.
        personas: `bundled` (the embedded world's), `natural` (real English) or a file of personas.
        split: Which of them.
        dialogues: How many, one for each persona (people come again when there are fewer).
        lines: The simulator's lines in each.
        seed: The randomness of task agent and simulator.
        questions_every: A Q&A question is asked after each of so many lines.
        task_agent: Spec of the other side.
        max_tokens: Bound on a line's tokens; None: the simulator's own, where it has one.
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

    def __post_init__(self) -> None:
        for name in ("dialogues", "lines", "questions_every", "max_tokens"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InputError(f"Expected {name} >= 1, got {number}: give at least one.")


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A dialogue that was played, and the answers to the side questions that left no trace in it."""

    conversation: Conversation
    answers: Sequence[Answer]
