"""Strict parsing of judge replies in free text: a reply without a verdict at a defined place is invalid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from persona_env.judges.base import Verdict

__all__ = ["Kind", "parse_verdict", "read_yes_no"]

Kind: TypeAlias = Literal["prompt_to_line", "line_to_line", "question_answer", "relevance"]

_BOTH, _TWO_LISTS = "says both YES and NO", "has lists that differ"
_QUOTES = "\"'\u2018\u2019\u201c\u201d"
_DASHES = "\u2013\u2014"
_MARKUP = "*_`#()[]"  # no quotes and no ">": the word that they mark may be the judged line's
_FIRST = re.compile(r"(YES|NO)(?![\w'\u2019-])", re.IGNORECASE)
_LAST = re.compile(rf"(?<![\w{_QUOTES}-])(YES|NO)\Z", re.IGNORECASE)
_REMARK = re.compile(rf"(?<![\w{_QUOTES}-])(YES|NO)\s*\([^(]*\)[.!* \t\n]*\Z", re.IGNORECASE)
_LOUD = re.compile(r"(?<![\w'\u2019-])(YES|NO)(?![\w'\u2019-])")
_LEAD = re.compile(r"\b(?:so|thus|hence|therefore|(?:answer|verdict) is)\Z", re.IGNORECASE)
_TITLE = re.compile(r"\b(?:answer|verdict)(?: is)?\Z", re.IGNORECASE)
_QUOTED = re.compile(r"[\"\u201c](YES|NO)[.!]?[\"\u201d]\Z")
_NUMBERED = re.compile(r"\.\s*\d")
_LISTS = re.compile(r"\[([^\[\]]*)\]")
_NUMBERS = re.compile(r"\s*(?:(?:None)?|[0-9]{1,9}\s*(?:,\s*[0-9]{1,9}\s*)*,?)\s*")


def parse_verdict(reply: str, kind: Kind, own_lines: Sequence[int] = ()) -> Verdict:
    """Returns the verdict that a judge's reply states. Never raises on any text.

    A reply that states two is `undecided`, one that states none `invalid`.
    YES is inconsistent for `prompt_to_line`, consistent for `question_answer` and `relevance`. For `line_to_line` the
    reply lists numbers: `own_lines` are those under which the judge was shown the speaker's own earlier lines, oldest
    first; `conflicts` of the verdict are places in this.

    >>> parse_verdict("It fits the background. NO", "prompt_to_line").label
    'consistent'
    >>> parse_verdict("It does not contradict the background.", "prompt_to_line").label
    'invalid'
    >>> parse_verdict("Not what they said. [5, 3, 3, 4]", "line_to_line", (1, 3, 5)).conflicts
    (1, 2)
    """
    if kind == "line_to_line":
        listed = _listed(reply)
        if isinstance(listed, str):
            return Verdict("undecided" if listed == _TWO_LISTS else "invalid", reason=listed, raw=reply)
        conflicts = tuple(place for place, number in enumerate(own_lines) if number in listed)
        if listed and not conflicts:
            return Verdict("invalid", reason="lists no earlier line of the speaker", raw=reply)
        return Verdict("inconsistent" if listed else "consistent", conflicts, raw=reply)
    said, reason = read_yes_no(reply)
    if said is None:
        return Verdict("undecided" if reason == _BOTH else "invalid", reason=reason, raw=reply)
    return Verdict("consistent" if said == (kind != "prompt_to_line") else "inconsistent", raw=reply)


def read_yes_no(reply: str) -> tuple[bool | None, str]:
    """Returns whether a reply says YES (True) or NO, or None and why neither can be read.

    The verdict is the first or the last word, set off by punctuation, in capitals unless it stands alone; a closing
    remark in parentheses is passed over. What stands in quotes or after a colon may be the judged line: it counts at
    the end of a reply that names it "answer" or "verdict", and in quotes only in capitals.

    >>> read_yes_no("**No**"), read_yes_no("YES, it does."), read_yes_no("It fits, so NO (mostly).")
    ((False, ''), (True, ''), (False, ''))
    >>> read_yes_no('The patient says: "No."')
    (None, 'says neither YES nor NO at its start or end')
    """
    text = reply.strip()
    placed = {word.upper() for word in (_first_word(text), _last_word(text)) if word}
    if len(placed | set(_LOUD.findall(text))) > 1:
        return None, _BOTH
    if not placed:
        return None, "says neither YES nor NO at its start or end"
    return placed == {"YES"}, ""


def _first_word(text: str) -> str:
    """Returns YES or NO if the text opens with it, set off; "No, I cannot." is a refusal, "No. 3" a number."""
    text = text.lstrip(_MARKUP + " \t\n")
    match = _FIRST.match(text)
    if not match:
        return ""
    word, rest = match.group(), text[match.end() :].lstrip(_MARKUP.replace("(", "") + " \t")
    if word.isupper():
        is_set_off = not rest or (rest[0] in ".,;:!(\n" + _DASHES and not _NUMBERED.match(rest))
    else:
        is_set_off = not rest.partition("\n")[0].strip(_MARKUP + ".,;:! \t\r")
    return word if is_set_off else ""


def _last_word(text: str) -> str:
    """Returns YES or NO if the text closes with it, as a sentence or clause of its own."""
    text = _REMARK.sub(r"\1", text).rstrip(_MARKUP + ".,;:! \t\n")
    quoted = _QUOTED.search(text[-8:])
    if quoted:
        return quoted.group(1) if _names_verdict(text[: -len(quoted.group())]) else ""
    match = _LAST.search(text[-4:])
    if not match:
        return ""
    word = match.group()
    before = text[: -len(word)].rstrip(_MARKUP + _QUOTES + " \t")
    if before.rstrip(_MARKUP + " \t\r\n").endswith(":"):
        return word if _names_verdict(before) else ""
    if not before or before[-1] in "\n.;:!?" or (word.isupper() and before[-1] in ",)" + _DASHES):
        return word
    return word if word.isupper() and _LEAD.search(before[-20:]) else ""


def _names_verdict(before: str) -> bool:
    """Returns whether the text before a word says that the word is the verdict."""
    return bool(_TITLE.search(before.rstrip(_MARKUP + ": \t\r\n")[-20:]))


def _listed(reply: str) -> frozenset[int] | str:
    """Returns the line numbers in square brackets at the end of a line of a reply, or why they cannot be read."""
    found = list(_LISTS.finditer(reply))
    if len(found) != reply.count("[") or len(found) != reply.count("]"):
        return "has brackets in brackets or left open"
    if not all(_NUMBERS.fullmatch(match.group(1)) for match in found):
        return "has brackets that hold no list of numbers"
    lists = {frozenset(map(int, re.findall("[0-9]+", match.group(1)))) for match in found}
    if len(lists) > 1:
        return _TWO_LISTS
    rests = [reply[match.end() :].partition("\n")[0] for match in found]
    if all(rest.strip(_MARKUP + ".;! \t\r") for rest in rests):
        return "has no list at the end of a line"
    return lists.pop()
