"""The segments that a chat template puts around lines: the texts between the sentinels of a rendered conversation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

__all__ = ["RENDER_ERRORS", "Misfit", "Rendering", "Segments", "find_segments", "self_contained", "with_thought_closed"]

# Raised by templates: their own refusals, and errors on input of the wrong form.
RENDER_ERRORS = (TemplateError, TypeError, ValueError, AttributeError, LookupError)
_SYSTEM = "Qsys0Q"
_LINES = ("Quser0Q", "Qown0Q", "Quser1Q", "Qown1Q", "Quser2Q", "Qown2Q", "Quser3Q")
_THOUGHT = re.compile(r"\s*(?P<open><[\w:]*think>|\[THINK\])\s*(?P<close></[\w:]*think>|\[/THINK\])?\s*")
_OPEN_THOUGHT = re.compile(r"(<[\w:]*think>|\[THINK\])\s*\Z")
_FROZEN_CLOCK = "{%- macro strftime_now(form) -%}01 Jan 2000{%- endmacro %}"


class Misfit(Exception):  # noqa: N818 - never leaves this package
    """One way of rendering does not compose; `depth` is the number of the check that failed."""

    def __init__(self, depth: int, what: str):
        super().__init__(what)
        self.depth = depth


def self_contained(template: str, arguments: Mapping[str, Any]) -> str:
    """Returns the template with its arguments at its head, and with a frozen date.

    Whoever renders it, without knowing of arguments, gets the same text: a server says what training said. They are
    defaults: who passes others gets those. Unless they say otherwise, the template is asked not to think.

    >>> self_contained("{{ greeting }}", {"greeting": "Hi"})
    "{%- set greeting = 'Hi' if greeting is not defined or greeting is none else greeting %}{{ greeting }}"
    """
    head = _FROZEN_CLOCK if "strftime_now" in template else ""
    for name, value in ({"enable_thinking": False, "thinking": False} | dict(arguments)).items():
        choice = f" if {name} is not defined or {name} is none else {name} %}}"
        if name in template and (name in arguments or choice not in template):
            head += f"{{%- set {name} = {value!r}{choice}"
    return template if template.startswith(head) else head + template


@dataclass(frozen=True)
class Rendering:
    """One way of rendering a template: the system text folded into the first line or not, content in parts or not."""

    tokenizer: PreTrainedTokenizerBase
    template: str
    fold: bool = False
    parts: bool = False

    def text(self, system: str, lines: Sequence[str], *, prompt: bool = True, own_first: bool = False) -> str:
        """Renders lines that alternate between incoming and own."""
        roles = ("assistant", "user") if own_first else ("user", "assistant")
        texts = list(lines)
        if self.fold:
            texts[0] = f"{system}\n\n{lines[0]}"
        pairs = [] if self.fold else [("system", system)]
        pairs += [(roles[i % 2], text) for i, text in enumerate(texts)]
        messages = [{"role": role, "content": [{"type": "text", "text": x}] if self.parts else x} for role, x in pairs]
        return str(
            self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=prompt, chat_template=self.template
            )
        )

    def closing(self) -> str:
        """Returns the text after the last own line of a finished dialogue; "" if it cannot be rendered."""
        try:
            return self.text(_SYSTEM, _LINES[:2], prompt=False).partition(_LINES[1])[2]
        except RENDER_ERRORS:
            return ""


@dataclass(frozen=True)
class Segments:
    """What the template puts before, between and after the lines."""

    head: str  # before the system text
    between: str  # from the system text to the first incoming line
    say: str  # from an incoming line to the learner's
    lead: str  # white space with which the learner's line begins, in generation as in history
    after: str  # from an own line to the next incoming one; begins with the end token
    open_say: str | None = None  # from the system text to the learner's first line; None where it cannot open
    opened: str = ""  # a thought, empty or only opened, that ends a prompt and does not stand before earlier lines

    @property
    def thought(self) -> str:
        """The empty thought that ends `say`: it stands before every line, so that contexts grow by appending."""
        return with_thought_closed(self.opened)

    @property
    def shown(self) -> Segments:
        """These segments as the template renders them, without a thought before lines."""
        return replace(self, say=self.say.removesuffix(self.thought))

    def join(self, system: str, lines: Sequence[str]) -> str:
        """Composes lines that alternate between incoming and own; the learner speaks next."""
        text = self.head + system + self.between + lines[0] + self.say
        for i, line in enumerate(lines[1:]):
            text += line + self.say if i % 2 else self.lead + line + self.after
        return text


def with_thought_closed(prompt: str) -> str:
    """Returns a prompt in which the thought that it opens, if it does, is an empty one."""
    tag = _OPEN_THOUGHT.search(prompt)
    return f"{prompt.rstrip()}\n\n{tag[1][0]}/{tag[1][1:]}\n\n" if tag else prompt


def find_segments(rendering: Rendering) -> Segments:
    """Finds the segments of a template; raises Misfit, which says what the template does, if it has no fixed ones."""
    whole, marks = rendering.text(_SYSTEM, _LINES), (_SYSTEM, *_LINES)
    at = [whole.find(mark) for mark in marks]
    if -1 in at:
        raise Misfit(1, "drops the system message" if at[0] == -1 else "drops a line")
    if any(whole.count(mark) != 1 for mark in marks):
        raise Misfit(2, "renders a text twice")
    if at != sorted(at):
        raise Misfit(3, "moves a text: the system message does not come first")
    gaps = [whole[a + len(m) : b] for a, m, b in zip(at, marks, [*at[1:], None], strict=True)]
    if len({gaps[1], gaps[3], gaps[5]}) > 1 or len({gaps[2], gaps[4], gaps[6]}) > 1:
        raise Misfit(4, "rewrites history: what surrounds a line depends on its place")
    say, lead, opened = _find_prompt(gaps[-1], gaps[1])
    for turn in range(3):
        if not whole.startswith(rendering.text(_SYSTEM, _LINES[: 2 * turn + 1]).removesuffix(opened)):
            raise Misfit(6, f"rewrites history: the context of line {turn + 1} is no prefix of the next")
    segments = Segments(whole[: at[0]], gaps[0], say, lead, gaps[2], opened=opened)
    open_say = _find_open_say(rendering, segments)
    return replace(segments, say=say + segments.thought, open_say=open_say)


def _find_prompt(asked: str, shown: str) -> tuple[str, str, str]:
    """Splits the text before an own line into the prompt, the white space that begins the line, and `opened`."""
    if asked.startswith(shown) and _THOUGHT.fullmatch(asked.removeprefix(shown)):
        return shown, "", asked.removeprefix(shown)
    if not shown.startswith(asked):
        what = f"rewrites history: it asks for a line with {asked[-24:]!r} and later shows {shown[-24:]!r} before it"
        raise Misfit(5, what)
    lead = shown.removeprefix(asked)
    if lead.strip():  # history shows more than the prompt (a channel): make it part of the prompt
        return shown, "", ""
    return asked, lead, ""


def _find_open_say(rendering: Rendering, segments: Segments) -> str | None:
    if rendering.fold:
        return None
    try:
        asked = rendering.text(_SYSTEM, ()).removesuffix(segments.opened)
        whole = rendering.text(_SYSTEM, _LINES[1:3], own_first=True)
    except RENDER_ERRORS:
        return None
    head = segments.head + _SYSTEM
    before, own, rest = whole.partition(_LINES[1])
    fits = own and asked.startswith(head) and before.startswith(asked) and before.endswith(segments.lead)
    if not fits or not (segments.after + _LINES[2] + segments.say).startswith(rest.removesuffix(segments.opened)):
        return None
    return before.removeprefix(head).removesuffix(segments.lead) + segments.thought
