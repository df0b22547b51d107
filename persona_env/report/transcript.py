"""A dialogue in plain text with the lines that drift marked."""

from __future__ import annotations

import math
from collections.abc import Sequence

from persona_env.evaluation.eval_suite import Dialogue
from persona_env.evaluation.scoring import Scores
from persona_env.report.terminal import plain
from persona_env.roles import role_named

__all__ = ["telling_example", "transcript"]

_MARKS = {
    "prompt_to_line": "against its persona",
    "line_to_line": "against its own words",
    "relevance": "beside the point",
}


def transcript(played: Dialogue, scores: Scores, place: int) -> str:
    """Returns a dialogue as text; a line that drifts ends with what is wrong with it.

    A line of several is indented, and what cannot be printed is escaped: no line can pass for another.

    Args:
        played: The dialogue.
        scores: The scores of the set it belongs to.
        place: Its place in the set.
    """
    talk = played.conversation
    role = role_named(talk.persona.role)
    names = {
        "simulator": role.simulator,
        "task": role.task if role.task != role.simulator else "other",
    }
    width = max(map(len, names.values())) + 1
    rows = [plain(talk.persona.prompt), ""]
    index = 0
    for message in talk.messages:
        row = f"{names[message.side] + ':':<{width}} {plain(message.text, width + 1)}"
        if message.side == "simulator":
            wrong = [mark for name, mark in _MARKS.items() if scores.dialogues[name][place].per_line[index] == 0]
            row += f"   <-- {', '.join(wrong)}" if wrong else ""
            index += 1
        rows.append(row)
    return "\n".join(rows)


def telling_example(before: Scores, after: Scores) -> int:
    """Returns the place of the dialogue in which the most changed; among equals the first."""

    def drop(place: int) -> float:
        return sum(_bad(before, place)) - sum(_bad(after, place))

    return max(range(len(before.personas)), key=lambda place: (drop(place), -place))


def _bad(scores: Scores, place: int) -> Sequence[float]:
    values = (scores.dialogues[name][place].per_line for name in ("prompt_to_line", "line_to_line"))
    return [1 - value for row in values for value in row if not math.isnan(value)]
