"""The dialogues of a run as plain records, each line with its verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from persona_env.bench.cases import Played
from persona_env.bench.score import Scores

__all__ = ["dialogue_records"]


def dialogue_records(stage: str, played: Sequence[Played], scores: Scores) -> Iterator[dict[str, Any]]:
    """Yields one record a dialogue: who, what was said, what was asked on the side, and what was found.

    Verdicts are 1.0 (good), 0.0 or null (the judge's reply could not be read).
    """
    for place, dialogue in enumerate(played):
        talk = dialogue.conversation
        yield {
            "stage": stage,
            "persona": talk.persona.id,
            "role": talk.persona.role,
            "prompt": talk.persona.prompt,
            "messages": [{"seat": message.seat, "text": message.text} for message in talk.messages],
            "answers": [
                {
                    "after": a.line_index,
                    "question": a.question.text,
                    "gold": a.question.gold,
                    "answer": a.text,
                }
                for a in dialogue.answers
            ],
            "verdicts": {
                name: [None if math.isnan(value) else value for value in rows[place].per_line]
                for name, rows in scores.dialogues.items()
            },
        }
