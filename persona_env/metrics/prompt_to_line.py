"""Prompt-to-line: does a line contradict the persona?"""

from __future__ import annotations

from persona_env.conversation import Conversation
from persona_env.judges.base import LineVsPersona
from persona_env.metrics.metric import LineMetric

__all__ = ["PromptToLine"]


class PromptToLine(LineMetric):
    """Share of the simulator's lines that do not contradict its persona, given what was just heard.

    The paper shows the judge the line alone; here it also sees the heard line, so that "Yes." means something.

    Source: arXiv 2511.00222, section 3 (prompt-to-line consistency).

    >>> from persona_env.persona import Persona
    >>> ann = Persona("p", "patient", "Ann", "You are Ann.")
    >>> talk = Conversation(ann).with_reply("Who are you?").with_line("Ann.")
    >>> PromptToLine().query(talk, 0).heard
    'Who are you?'
    """

    name = "prompt_to_line"
    title = "persona conflict (prompt-to-line)"
    mark = "contradicts its persona"
    group = "drift"

    def query(self, conversation: Conversation, index: int) -> LineVsPersona:
        """Returns the query whether line `index` contradicts the persona."""
        heard = conversation.heard_before(index)
        return LineVsPersona(conversation.persona_at(index), conversation.lines[index], heard)
