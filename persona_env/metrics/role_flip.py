"""Role flip, a guard: does the simulator leave its role, for that of the other side or of a language model?"""

from __future__ import annotations

import re

from persona_env.conversation import Conversation, View
from persona_env.judges.base import LineVsRole, Verdict
from persona_env.metrics.metric import LineMetric, QueryOrVerdict
from persona_env.speakers.own_line import own_line

__all__ = ["RoleFlip"]

_MODEL = (
    r"(?:AI|A\.I\.|artificial intelligence|(?:large |AI )*language model|LLM|chat ?bot|virtual assistant"
    r"|digital assistant|computer program)(?: (?:language )?(?:model|assistant|chat ?bot|system|program))?"
)
_MAKERS = r"(?:OpenAI|Anthropic|Google|DeepMind|Meta(?: AI)?|Alibaba(?: Cloud)?|DeepSeek|Mistral(?: AI)?|Microsoft|xAI)"
_CLAUSE = r"(?:\A|[.!?,;:\n(]\s{0,2}|\b(?:but|because|since|sorry|remember|well|and) )"
_AS_A_MODEL = re.compile(
    rf"\b(?:as|being) (?:just |only )?an? {_MODEL}(?=[,.;:!]|\s+(?:I|my|and)\b|\s*\Z)"
    rf"|{_CLAUSE}I(?:'m|\u2019m| am) (?:(?:just|only|actually|really|merely|simply) )*(?:an? |your )?{_MODEL}"
    r"(?=\s*(?:[,.;:!)\u2014-]|\Z)|\s+(?:and|so|here|trained|developed|created|designed|made|built|without|not)\b)"
    rf"|\bI(?: was|'ve been| have been| am|'m) (?:trained|developed|created|built|made|programmed) by {_MAKERS}\b"
    r"|\bmy (?:training data|knowledge cut-?off|training cut-?off)\b"
    r"|\bI (?:do not|don't|don\u2019t) have (?:a physical (?:body|form)|personal (?:experiences|emotions))\b"
    r"|\b(?:continue|engage in|participate in|go on with|leave|end|stop) (?:this|the|our) role-?play",
    re.IGNORECASE,
)

_PLAYS_A_MODEL = re.compile(
    rf"\b(?:you are|you're|I am|I'm) (?:an? )?(?:[\w-]+ ){{0,2}}{_MODEL}"
    r"(?=[,.;:!)\s]*\Z|\s*[,.;:!)]|\s+(?:that|who|which|called|named|for|on|in|of|and)\b)",
    re.IGNORECASE,
)


_NOTHING_SAID = Verdict("consistent", reason="nothing was said", is_asked=False, applies=False)


class RoleFlip(LineMetric):
    """Share of the simulator's lines in which it keeps to its role.

    A line that goes on for the other side, or in which it speaks as a language model, in well-known words and against
    its persona's text, needs no judge.

    >>> from persona_env.persona import Persona
    >>> ann = Persona("p", "patient", "Ann", "You are Ann.")
    >>> talk = Conversation(ann).with_line("As an AI language model, I do not sleep.")
    >>> RoleFlip().query(talk, 0).reason
    'speaks as a language model'
    """

    name = "role_flip"
    title = "lines out of the role"
    mark = "left the role"
    is_penalty = True

    def query(self, conversation: Conversation, index: int) -> QueryOrVerdict:
        """Returns `inconsistent` where the text of line `index` shows it, else the query whether it left the role."""
        place = [i for i, message in enumerate(conversation.messages) if message.side == "simulator"][index]
        message, persona = conversation.messages[place], conversation.persona_at(index)
        view = View(persona.role, "simulator", persona.prompt, conversation.messages[:place], seed=0)
        if not message.text.strip() and message.note != "cut":
            return _NOTHING_SAID
        if message.note == "cut" or own_line(message.text, view).note == "cut":
            return Verdict("inconsistent", reason="speaks for the other side", is_asked=False)
        if _AS_A_MODEL.search(message.text) and not _PLAYS_A_MODEL.search(persona.prompt):
            return Verdict("inconsistent", reason="speaks as a language model", is_asked=False)
        return LineVsRole(persona, conversation.heard_before(index), message.text)
