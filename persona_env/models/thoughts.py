"""What a model says once it has thought aloud: thoughts of every published form are cut out of a reply."""

from __future__ import annotations

import re

__all__ = ["without_thought"]

_NAME = (
    "(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflect(?:ion)?|analysis|scratch_?pad|monologue|cot|chain_of_thought"
    "|cot_budget_reflect)"
)
_WORD = rf"(?:[\w.-]{{1,24}}[:_.-])?{_NAME}(?::\w+)?"  # also <seed:think>, <longcat_think>, <think:fast>
_BAR = r"[|\uff5c]"
_IN_BARS = rf"[^<>|\uff5c\s]{{0,24}}{_NAME}[^<>|\uff5c\s]{{0,24}}{_BAR}>"  # <|begin_of_thought|>, <|START_THINKING|>
_CLOSES = (
    rf"(?:<|&lt;)\\?/\s*{_WORD}\s*(?:>|&gt;)",
    rf"<{_BAR}(?=[^<>]*(?:/|end|close|stop)){_IN_BARS}",
    r"\[/(?-i:THINK)\]|\[unused17\]|\u25c1/think\u25b7|<\|inner_suffix\|>|<channel\|>",
    r"\[(?-i:BEGIN FINAL RESPONSE)\]|(?:<\|end\|>\s*)?(?:<\|begin\|>assistant)?<\|content\|>",
)
_OPENS = (
    rf"(?:<|&lt;){_WORD}(?:\s[^<>]*)?(?:>|&gt;)",
    rf"<{_BAR}{_IN_BARS}",
    r"\[(?-i:THINK)\]|\[unused16\]|\u25c1think\u25b7|<\|inner_prefix\|>|<\|channel>",
    r"\A\s*(?-i:thought|thinking)\n",  # what is left of a channel where control tokens were dropped
    r"\A\s*Here(?:'s|\u2019s| is| are) my (?:thought process|reasoning steps):"
    r"(?=\s*\n|.*Here(?:'s|\u2019s| is) my response:)",
)
_TAG = re.compile(
    rf"(?P<empty><{_WORD}\s*/>)|(?P<closes>{'|'.join(_CLOSES)})|(?P<opens>{'|'.join(_OPENS)})"
    r"|(?P<closes_open>Here(?:'s|\u2019s| is) my response:)",
    re.IGNORECASE | re.DOTALL,
)
_REFLECTS = re.compile("reflect", re.IGNORECASE)
_WHOLE_TAGS = (
    *("<think>", "</think>", "<thinking>", "</thinking>", "<thought>", "</thought>", "<reasoning>", "</reasoning>"),
    *("<seed:think>", "</seed:think>", "[THINK]", "[/THINK]", "\u25c1think\u25b7", "\u25c1/think\u25b7", "<|channel|>"),
)
_LAST_TAG = re.compile(r"[<\[\u25c1][^\s<>\[\]\u25b7]{2,}\Z|\u25c1\Z")

_HEADER = re.compile(r"(?:\A\s*[\w.=-]+\s*)?(?:<\|(?:start|channel|constrain)\|>[^<]*){0,4}<\|message\|>")
_END_OF_MESSAGE = re.compile(r"<\|(?:end|return|call|eom|eot|start|channel)\|>")
_RESIDUE = re.compile(r"\s*(?:assistant)?(?:analysis|commentary)(?=[A-Z\"'(]|\s*\n|\s(?:The|We|User|Need)\b)")
_FINAL = re.compile(r"\s*(?:assistant)?final(?=[A-Z])")

_ANSWER = re.compile(
    r"(?P<before>.*)<(?P<name>answer|response|output|final|final_answer|final_response|solution|conclusion)>"
    r"(?P<said>.*?)(?P<closed></(?P=name)>\s*)?",
    re.IGNORECASE | re.DOTALL,
)
_ANSWER_MARKS = re.compile(
    rf"<{_BAR}(?:begin|start|end)_(?:of_)?(?:response|solution|answer|text|box){_BAR}>|\[END FINAL RESPONSE\]"
    r"|<\|(?:end|return|eom|eot)\|>",
    re.IGNORECASE,
)


def without_thought(text: str) -> str | None:
    """Returns what a reply says after, between and before its thoughts, stripped; None where a thought was cut off.

    A tag that closes a thought which nothing opened ends one that began with the reply: templates open it.

    >>> without_thought("<think>She asks for my job.</think> I am a baker.")
    'I am a baker.'
    >>> without_thought("<think>She asks for") is None
    True
    """
    before = None
    while text != before:  # what was around a thought may form a tag
        before, said = text, _in_final_channel(text)
        said = None if said is None else _outside_tags(said)
        if said is None:
            return None
        text = _in_answer(said).strip()
    return text


def _in_final_channel(text: str) -> str | None:
    """What stands in the final channel (harmony), also where the control tokens around channels were dropped."""
    if re.search(r"<\|(?:start|channel|message)\|>", text):
        headers = list(_HEADER.finditer(text))
        ends = [header.start() for header in headers[1:]] + [len(text)]
        bodies = [text[header.end() : end] for header, end in zip(headers, ends, strict=False) if _is_said(header[0])]
        return "\n".join(_END_OF_MESSAGE.split(body, maxsplit=1)[0].strip() for body in bodies) if bodies else None
    if "assistantfinal" in text:
        return text.rpartition("assistantfinal")[2]
    return None if _RESIDUE.match(text) else _FINAL.sub("", text, count=1) if _FINAL.match(text) else text


def _is_said(header: str) -> bool:
    """Whether a message with this header is said to the other side; the template may have begun the first one."""
    named = re.match(r"\s*([\w.=-]+)", header) or re.search(r"<\|channel\|>\s*(\w*)", header)
    if named:
        return named[1] in ("final", "to=user")
    return "to=self" not in header and not re.search(r"<\|start\|>\s*(?!assistant)\w", header)


def _outside_tags(text: str) -> str | None:
    said, place, opened = "", 0, ""
    for tag in _TAG.finditer(text):
        if opened and _REFLECTS.search(tag[0]) and not _REFLECTS.search(opened):
            continue  # a remark inside a thought
        if not opened:
            said = "" if tag["closes"] else said + text[place : tag.end() if tag["closes_open"] else tag.start()]
        place = tag.end()
        opened = tag["opens"] or (opened if tag["empty"] else "")
    last = _LAST_TAG.search(text, place)
    if opened or (last and any(tag.startswith(last[0]) for tag in _WHOLE_TAGS)):
        return None
    return said + text[place:]


def _in_answer(text: str) -> str:
    """The text inside the tags that some models put around what they say."""
    text = _ANSWER_MARKS.sub("", text)
    answer = _ANSWER.fullmatch(text)
    return answer["said"] if answer and (answer["closed"] or not answer["before"].strip()) else text
