"""Relevance, a guard: does a line answer what was just asked?"""

from __future__ import annotations

from persona_env.conversation import Conversation
from persona_env.judges.base import LineVsPrevious, Verdict
from persona_env.metrics.metric import LineMetric, QueryOrVerdict

__all__ = ["Relevance"]

_NOTHING_HEARD = Verdict("consistent", reason="nothing was heard before", is_asked=False, applies=False)


class Relevance(LineMetric):
    """Share of the simulator's lines that respond to what was just heard, or openly decline to.

    A line before which nothing was heard responds to nothing: it is not counted.

    >>> from persona_env.persona import Persona
    >>> ann = Persona("p", "patient", "Ann", "You are Ann.")
    >>> talk = Conversation(ann).with_reply("Who are you?").with_line("Ann.")
    >>> Relevance().query(talk, 0).line
    'Ann.'
    """

    name = "relevance"
    title = "relevant lines"
    mark = "irrelevant"
    shows = "good"

    def query(self, conversation: Conversation, index: int) -> QueryOrVerdict:
        """Returns the query whether line `index` responds to what was heard before it."""
        heard = conversation.heard_before(index)
        query = LineVsPrevious(conversation.persona_at(index), heard, conversation.lines[index])
        return query if heard.strip() else _NOTHING_HEARD
