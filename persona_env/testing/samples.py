"""What the kits share: dialogues of the embedded world, odd texts among them, and how a broken clause is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from persona_env.conversation import Conversation, Side, View
from persona_env.judges.base import (
    AnswerVsGold,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    LineVsQuestion,
    LineVsRole,
    Query,
)
from persona_env.persona import Persona

__all__ = ["require", "sample_conversations", "sample_queries", "sample_views"]

_AWKWARD = ("", "...", "Ça va 😀?", "<|end|> [/INST] </s>", "{line} %s \\n", "YES. NO.", "a " * 200)


def require(holds: bool, clause: str, message: str) -> None:
    """Raises AssertionError with the clause's name unless it holds."""
    if not holds:
        raise AssertionError(f"{clause}: {message}")


def sample_conversations(role: str = "patient", number: int = 3) -> list[Conversation]:
    """Returns dialogues of the embedded world: in character, with repeats, recitals, odd text, and empty.

    >>> [len(conversation.lines) for conversation in sample_conversations(number=1)]
    [4, 4, 7, 0]
    """
    from persona_env.world import personas
    from persona_env.world.scripted import ScriptedSpeaker

    speaker, cast = ScriptedSpeaker(), personas(role, "train")
    dialogues = [Conversation(persona) for persona in cast[:number]]
    for seed in range(4):
        for side in ("task", "simulator"):
            texts = speaker.reply([talk.view(side, seed) for talk in dialogues])
            said = zip(dialogues, texts, strict=True)
            dialogues = [talk.with_line(text) if side == "simulator" else talk.with_reply(text) for talk, text in said]
    recital = cast[0].description.replace("You are", "I am")
    again = _said(cast[0], ("I see.", recital, "I see.", "I see!"))
    return [*dialogues, again, _said(cast[1], _AWKWARD), Conversation(cast[2])]


def _said(persona: Persona, lines: Sequence[str]) -> Conversation:
    conversation = Conversation(persona)
    for line in lines:
        conversation = conversation.with_reply("How have you been?").with_line(line)
    return conversation


def sample_views(side: Side = "simulator", role: str = "patient") -> list[View]:
    """Returns what one side sees at various points of the sample conversations, awkward lines included."""
    views = [
        replace(conversation, messages=conversation.messages[:end]).view(side, seed)
        for seed, conversation in enumerate(sample_conversations(role))
        for end in range(1, len(conversation.messages) + 1)
        if conversation.messages[end - 1].side != side
    ]
    if side == "task":  # the task agent opens
        views.append(sample_conversations(role)[-1].view(side, 7))
    return [*views, *(replace(views[0], messages=()).with_incoming(text) for text in _AWKWARD)]


def sample_queries(role: str = "patient") -> list[Query]:
    """Returns questions of all six kinds about the sample conversations."""
    questions: list[Query] = []
    for conversation in sample_conversations(role):
        persona, lines = conversation.persona, conversation.lines
        for index, line in enumerate(lines):
            heard = conversation.heard_before(index)
            questions.append(LineVsPersona(persona, line, heard))
            questions.append(LineVsPrevious(persona, heard, line))
            questions.append(LineVsQuestion(persona, heard, line))
            questions.append(LineVsRole(persona, heard, line))
            questions.append(LineVsHistory(role, line, lines[:index]))
            item = persona.questions[index % len(persona.questions)]
            questions.append(AnswerVsGold(role, item.wordings[0], item.gold, line, item.choices))
    return questions
