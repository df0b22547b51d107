"""Evasion, a guard: does the simulator dodge questions that its persona answers?"""

from __future__ import annotations

from persona_env.conversation import Conversation
from persona_env.judges.base import LineVsQuestion, Verdict
from persona_env.metrics.metric import LineMetric, QueryOrVerdict

__all__ = ["Evasion"]

_NOTHING_ASKED = Verdict("consistent", reason="nothing was asked", is_asked=False, applies=False)


class Evasion(LineMetric):
    """Share of the questions in the dialogue itself that the persona's text answers and the simulator answers, too.

    An answer may be wrong: other metrics say so. A refusal is none: who declines whatever is asked contradicts nothing,
    and `relevance` lets it pass. Where nothing is asked, or nothing that the persona's text answers, there is nothing
    to judge.

    >>> from persona_env.persona import Persona
    >>> ann = Persona("p", "patient", "Ann", "You are Ann.")
    >>> talk = Conversation(ann).with_reply("Who are you?").with_line("I'd rather not say.")
    >>> Evasion().query(talk, 0).heard
    'Who are you?'
    """

    name = "evasion"
    title = "answerable questions dodged"
    mark = "dodges"
    is_penalty = True

    def query(self, conversation: Conversation, index: int) -> QueryOrVerdict:
        """Returns the query whether line `index` answers what was asked before it."""
        heard = conversation.heard_before(index)
        query = LineVsQuestion(conversation.persona_at(index), heard, conversation.lines[index])
        return query if heard.strip() else _NOTHING_ASKED
