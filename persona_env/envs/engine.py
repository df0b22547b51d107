"""What the rows of an environment share: who may be simulated, who answers, who asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from persona_env.conversation import Conversation, Probe
from persona_env.envs.episode import HEARD_CHARACTERS, Episode, Info
from persona_env.envs.persona_source import PersonaSource, chosen_personas, resolve_personas
from persona_env.errors import InputError
from persona_env.persona import Persona
from persona_env.roles import role_named
from persona_env.speakers import Speaker, load_speaker

__all__ = ["DialogueEngine", "ProbeFn", "StepCallback", "check_count"]

ProbeFn: TypeAlias = Callable[[Sequence[Conversation]], Sequence[Probe | None]]

StepCallback: TypeAlias = Callable[[Mapping[int, Info]], None]
"""Is told what each row has completed, by row: the info of the line or of the answer, to be read only."""


def check_count(name: str, number: int) -> None:
    """Checks that a number of things is a whole number, at least one.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(number, int) or number < 1:
        raise InputError(f"Expected {name} >= 1, got {number!r}: give a whole number from 1 on.")


class DialogueEngine:
    """What the rows of an environment share: who may be simulated, who answers, who asks.

    Args:
        role: Key of a `Role`, or the path of one.
        personas: `"bundled"`, `"natural"`, the path of a file, or a list of personas.
        split: `train`, `dev` or `heldout`.
        task_agent: Spec of the speaker that answers, or the speaker; None if it acts from outside.
        max_lines: The simulator's lines in one dialogue, at least 1.
        max_tokens: The length of a line, at least 1.

    Raises:
        ValueError: If one of them is unknown or too small.
    """

    def __init__(
        self,
        role: str,
        personas: PersonaSource,
        split: str,
        task_agent: str | Speaker | None,
        max_lines: int,
        max_tokens: int,
    ):
        for name, number in (("max_lines", max_lines), ("max_tokens", max_tokens)):
            check_count(name, number)
        self.role, self.max_lines, self.max_tokens = role_named(role).key, max_lines, max_tokens
        self.cast = resolve_personas(self.role, personas, split)
        self.task_agent = None if task_agent is None else load_speaker(task_agent)
        self.probe_fns: tuple[ProbeFn, ...] = ()
        self.step_callbacks: tuple[StepCallback, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no step_callbacks: they belong to the wrappers around this one, and join at a reset."""
        return {**self.__dict__, "step_callbacks": ()}

    def prepare(self, rows: Sequence[Episode], options: Mapping[str, Any] | None) -> None:
        """Starts a dialogue in each row as reset's options ask; nobody speaks yet."""
        chosen = chosen_personas(self.role, self.cast, options, len(rows))
        self.probe_fns = tuple((options or {}).get("probe_fns", self.probe_fns))
        self.step_callbacks = tuple((options or {}).get("step_callbacks", ()))
        for row, persona in zip(rows, chosen, strict=True):
            row.start(persona or self.draw(row))

    def draw(self, row: Episode) -> Persona:
        """Draws a persona with the row's generator."""
        return self.cast[int(row.rng.integers(len(self.cast)))]

    def finish(self, rows: Sequence[Episode], texts: Sequence[str]) -> list[Info]:
        """Completes one line of each row and puts the questions that follow it.

        Returns:
            One info for each row: of the line, or of the answer.
        """
        infos = [row.complete(text) for row, text in zip(rows, texts, strict=True)]
        self._interview([row for row, info in zip(rows, infos, strict=True) if "line" in info])
        for row, info in zip(rows, infos, strict=True):
            skipped = row.take_probe()
            if skipped:
                info["skipped_probes"] = skipped
        return infos

    def _interview(self, rows: Sequence[Episode]) -> None:
        if not rows:
            return
        conversations = [row.conversation for row in rows]
        for place, ask in enumerate(self.probe_fns):
            for row, question in zip(rows, ask(conversations), strict=True):
                if question is not None:
                    text = question.text.strip()[:HEARD_CHARACTERS]
                    row.pending_probes.append(replace(question, text=text, source=place))

    def tell(self, completed: Mapping[int, Info]) -> None:
        """Tells the step_callbacks what rows have completed: that of the innermost wrapper first, which joined last."""
        for listener in reversed(self.step_callbacks):
            listener(completed)

    def reply(self, rows: Sequence[Episode]) -> None:
        """Lets the task agent speak to all of these rows, in one call."""
        if not rows or self.task_agent is None:
            return
        views = [row.conversation.view("task", row.draw_seed()) for row in rows]
        for row, text in zip(rows, self.task_agent.reply(views), strict=True):
            row.hear(text)

    def settle(self, rows: Sequence[Episode], texts: Sequence[str]) -> list[Info]:
        """Completes a line of each row, asks, and lets the task agent answer where it may."""
        infos = self.finish(rows, texts)
        self.reply([row for row in rows if row.probe is None and not row.over])
        return infos
