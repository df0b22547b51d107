"""A speaker's own line: a reply that goes on for the other side is cut where that begins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from persona_env.conversation import Line, View
from persona_env.roles import ROLES, role_named
from persona_env.speakers.base import withheld_line

__all__ = ["own_line"]

_Whose = Literal["own", "other", "either"]  # `either`: one's own as a reply begins, the other's after that
_NEUTRAL: Mapping[str, _Whose] = {
    **dict.fromkeys(("user", "human"), "other"),
    **dict.fromkeys(("assistant", "ai", "ai assistant", "chatbot", "model"), "either"),
    **{f"{noun} {mark}": "either" for noun in ("person", "speaker", "participant", "partner") for mark in "12ab"},
}
_NAME = r"((?:(?:Dr|Mr|Mrs|Ms|Prof)\.? )?[^\W\d_a-z][\w'-]+(?: [^\W\d_a-z][\w'-]+){0,2})"
_TOLD = re.compile(rf"(?:\bYou are|\bYou're|\b[Yy]our name is|^Name:) {_NAME}", re.MULTILINE)
_SAID = re.compile(rf"(?:\bI am|\bI'm|\b[Mm]y name is|\b[Mm]y name's|\b[Cc]all me) {_NAME}")
_LABEL = re.compile(  # a name with a colon, perhaps set in bold or brackets, as the beginning of what somebody says
    r"(?:\A|[\n\r\u2028]|(?P<stop>[.!?\u2026][\"\u201d\u00bb')*_]*(?=\s)|[\u3002\uff01\uff1f]))"
    r"[ \t#>*_(\[-]*(?P<name>(?:(?:Dr|Mr|Mrs|Ms|Prof)\.? )?[^\W_][\w' \t-]{0,60}?)"
    r"(?: ?\([^()\n]{1,40}\))?[\])*_]*[ \t]*(?:\uff1a|:(?=[\s*_\"\u201c]|\Z))[*_]*\s*",
    re.IGNORECASE,
)

_OTHER_TURN = re.compile(
    r"\s*(?:<[|\uff5c](?:user|User)[|\uff5c]>|\[INST\]|(?:<\|im_start\|>|<start_of_turn>|<\|turn>|"
    r"<\|start_header_id\|>)user\b)"
)
_CONTROL = re.compile(
    r"<\|(?:im_start|im_end|user|assistant|system|end|endoftext|end_of_text|eot|eot_id|start_header_id|end_header_id)\|>"
    r"|<\uff5c(?:User|Assistant|end\u2581of\u2581sentence)\uff5c>|\A<s>|</s>|\[/?INST\]|<\|turn>|<turn\|>"
    r"|<(?:start_of|end_of)_turn>"
)
_NO_WORDS = re.compile(r"\s*(?:(?:user|assistant|model|system)\b)?\s*")


def own_line(text: str, view: View) -> Line:
    """Returns a reply as the line of the side that speaks: without its own name, cut where the other side's begins.

    Names are the nouns of the role, those by which one of the two was introduced, and words of chat templates; they
    count with a colon, at the start of a line or after the end of a sentence. The note says whether a line was cut;
    where nothing is left, it is what stands for a withheld line.

    >>> view = View("patient", "simulator", "You are Ann.", (), 0)
    >>> line = own_line("Ann: I slept badly. Therapist: Since when?", view)
    >>> line, line.note
    ('I slept badly.', 'cut')
    """
    text, is_cut = _before_control(text)
    whose = _names(view) if _LABEL.search(text) else {}
    while (label := _LABEL.match(text)) and whose.get(_name(label), "other") != "other":
        text = text[label.end() :].lstrip()
    said, place = "", 0
    for label in _LABEL.finditer(text):
        if _name(label) not in whose or (label["stop"] and label["name"].islower()):
            continue  # a word before a colon, not a speaker
        said += text[place : label.start()] + (label["stop"] or "\n")
        place = label.end()
        if whose[_name(label)] != "own":
            return Line(said.strip() or withheld_line(view), "cut")
    said = (said + text[place:]).strip()
    return Line(said or withheld_line(view), "cut") if is_cut else Line(said)


def _before_control(text: str) -> tuple[str, bool]:
    """The reply up to a control token that a server let through, and whether it goes on after that."""
    if _OTHER_TURN.match(text):
        return "", True
    pieces = _CONTROL.split(text)
    while len(pieces) > 1 and _NO_WORDS.fullmatch(pieces[0]):
        pieces.pop(0)
    begins = _CONTROL.match(text.lstrip()) is not None
    first = re.sub(r"\A(?:assistant|model)\n", "", pieces[0]) if begins else pieces[0]
    return first.strip(), any(not _NO_WORDS.fullmatch(piece) for piece in pieces[1:])


def _names(view: View) -> dict[str, _Whose]:
    """The names of both sides, in small letters, and whose they are."""
    heard = [message.text for message in view.messages if not view.is_own(message)]
    said = [message.text for message in view.messages if view.is_own(message)]
    others: dict[str, _Whose] = dict.fromkeys(_introduced(_SAID, heard), "other")
    owns: dict[str, _Whose] = dict.fromkeys(_introduced(_TOLD, [view.system]) | _introduced(_SAID, said), "own")
    return {**_NEUTRAL, **others, **owns, **_nouns(view)}


def _nouns(view: View) -> dict[str, _Whose]:
    if view.role not in ROLES:
        return {}
    role = role_named(view.role)
    simulator, task = role.simulator.casefold(), role.task.casefold()
    if simulator == task:
        return {task: "either"}
    own, other = (simulator, task) if view.side == "simulator" else (task, simulator)
    return {own: "own", other: "other"}


def _introduced(pattern: re.Pattern[str], texts: Iterable[str]) -> set[str]:
    names = [found.casefold() for text in texts for found in pattern.findall(text)]
    return {part for name in names for part in (name, name.split()[0])}


def _name(label: re.Match[str]) -> str:
    return " ".join(label["name"].casefold().split())
