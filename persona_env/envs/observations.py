"""What one side reads and says in the text forms: spaces, observations, the check of an action."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from persona_env.conversation import Line, View
from persona_env.envs.engine import DialogueEngine
from persona_env.envs.episode import INCOMING_CHARACTERS
from persona_env.envs.persona_source import PROMPT_CHARACTERS
from persona_env.errors import InputError
from persona_env.roles import role_named
from persona_env.spaces import Utterance

__all__ = ["LINE_CHARACTERS", "checked_line", "line_space", "reading", "reading_space", "transcript"]

LINE_CHARACTERS = 16
"""Characters in a line of text for each of its `max_tokens`; the rest of a longer line is cut."""


def line_space(max_tokens: int) -> Utterance:
    """Returns the space of one line."""
    return Utterance(LINE_CHARACTERS * max_tokens)


def reading_space(engine: DialogueEngine) -> spaces.Dict:
    """Returns the space of what one side reads: its prompt, and the dialogue so far."""
    role = role_named(engine.role)
    label = 2 + max(len(role.task), len(role.simulator))
    own = LINE_CHARACTERS * engine.max_tokens + label
    incoming = INCOMING_CHARACTERS + label
    prompts = (role.task_prompt, role.instruction, engine.scenario.task_prompt)  # besides the persona or the scene
    prompt = PROMPT_CHARACTERS + max(map(len, prompts)) + 1
    lines = engine.max_lines + 2 + len(engine.scenario.updates)  # two more: one that closes the dialogue, and a probe
    dialogue = lines * (own + incoming + 2)
    return spaces.Dict(prompt=Utterance(prompt), dialogue=Utterance(dialogue))


def reading(view: View) -> dict[str, str]:
    """Returns what one side reads, as the observation."""
    return {"prompt": view.system, "dialogue": transcript(view)}


def transcript(view: View) -> str:
    r"""Returns the dialogue as one side sees it, a line each; a line break forges none.

    >>> from persona_env.conversation import Message
    >>> heard = Message("task", "How are you?")
    >>> own = Message("simulator", "Well,\nyou see")
    >>> transcript(View("patient", "simulator", "", (heard, own), seed=0))
    'therapist: How are you?\nyou: Well, you see'
    """
    role = role_named(view.role)
    other = role.task if view.side == "simulator" else role.simulator
    names = {view.side: "you"}
    return "\n".join(f"{names.get(m.side, other)}: {' '.join(m.text.splitlines())}" for m in view.messages)


def checked_line(action: Any, space: Utterance) -> Line:
    """Returns an action as a line, cut where the space ends; InputError if it is no string that UTF-8 can hold."""
    if not isinstance(action, str):
        raise InputError(f"Expected a line of text as the action, got {type(action).__name__}: give a string.")
    line = Line.like(action, action[: space.max_length])
    if not (line.isascii() or space.contains(line)):
        raise InputError("Expected a line of Unicode text, got a lone surrogate in it: decode it first.")
    return line
