"""The dialogues of a run as our logs hold them: each line with its verdicts, each answer with its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from persona_env.evaluation.eval_suite import Dialogue
from persona_env.evaluation.scoring import Scores
from persona_env.io import LoggedDialogue, LoggedReply
from persona_env.judges.base import Label

__all__ = ["dialogue_records"]

_JUDGED = ("prompt_to_line", "line_to_line", "relevance")


def dialogue_records(stage: str, played: Sequence[Dialogue], scores: Scores) -> Iterator[LoggedDialogue]:
    """Yields each dialogue with what was found in it; its id is `<stage>/<persona id>`."""
    for place, dialogue in enumerate(played):
        talk = dialogue.conversation
        lines = [i for i, message in enumerate(talk.messages) if message.side == "simulator"]
        replies = [
            LoggedReply(name, lines[i], label=_label(value))
            for name in _JUDGED
            for i, value in enumerate(scores.dialogues[name][place].per_line)
        ]
        replies += _answers(dialogue, lines, scores.dialogues["question_answer"][place].per_line)
        yield LoggedDialogue.of(replace(talk, id=f"{stage}/{talk.persona.id}"), replies)


def _answers(dialogue: Dialogue, lines: Sequence[int], values: Sequence[float]) -> list[LoggedReply]:
    return [
        LoggedReply(
            "question_answer",
            lines[answer.line_index],
            label=_label(value),
            question=answer.probe.text,
            gold=answer.probe.gold,
            answer=answer.text,
            choices=answer.probe.choices,
        )
        for answer, value in zip(dialogue.answers, values, strict=True)
    ]


def _label(value: float) -> Label:
    if math.isnan(value):
        return "invalid"
    return "consistent" if value else "inconsistent"
