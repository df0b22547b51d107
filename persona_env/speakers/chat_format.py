"""How a dialogue becomes token ids: what a chat template puts around lines, found by difference.

Sentinels are rendered in one long conversation; what stands between them are the segments. Every context
in which the learner speaks must then be a prefix of the next, and awkward texts must compose to what the
template renders. The learner's lines are the template's `assistant`, heard lines its `user`, the persona
its `system`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from persona_env.conversation import ChatMessage, View

__all__ = ["CannotCompose", "ChatFormat"]

_SYSTEM = "Qsys0Q"
_LINES = ("Quser0Q", "Qown0Q", "Quser1Q", "Qown1Q", "Quser2Q", "Qown2Q", "Quser3Q")
_AWKWARD = {
    "a plain line": "I am a baker.",
    "line breaks": "I am\n\nso tired",
    "accents and emoji": "Ça va – 你好 😀",
    "HTML": '<b>a & b</b> "c"',
    "JSON": '{"name": "x"}',
    "Jinja": "{{ 7 * 7 }}",
    "a think block": "so <think>a</think> b",
}
_FROZEN_CLOCK = "{%- macro strftime_now(form) -%}01 Jan 2000{%- endmacro %}"
_RENDER_ERRORS = (TemplateError, TypeError, ValueError, AttributeError, LookupError)
_LOOKS_LIKE_CONTROL = re.compile(r"\s*(<.*>|\[.*\])\s*", re.DOTALL)
_REMEMBERED = 8192


class CannotCompose(ValueError):
    """The template has no fixed segments; the message says why, and the way out."""


class _Attempt(Exception):
    """One way of rendering has failed; `depth` tells how far it came."""

    def __init__(self, depth: int, what: str):
        super().__init__(what)
        self.depth = depth


@dataclass(frozen=True)
class _Rendering:
    """One way of asking a template for text."""

    tokenizer: PreTrainedTokenizerBase
    template: str
    kwargs: Mapping[str, Any]
    fold: bool = False
    parts: bool = False

    def text(
        self, system: str, lines: Sequence[str], *, prompt: bool = True, own_first: bool = False
    ) -> str:
        """Renders lines that alternate between heard and own."""
        roles = ("assistant", "user") if own_first else ("user", "assistant")
        messages: list[dict[str, Any]] = [
            {"role": roles[i % 2], "content": text} for i, text in enumerate(lines)
        ]
        if self.fold:
            messages[0]["content"] = f"{system}\n\n{lines[0]}"
        else:
            messages.insert(0, {"role": "system", "content": system})
        if self.parts:
            messages = [
                {**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages
            ]
        return str(
            self.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=prompt,
                chat_template=_FROZEN_CLOCK + self.template,
                **{"enable_thinking": False, **self.kwargs},
            )
        )


@dataclass(frozen=True)
class _Segments:
    """The texts between the texts.

    Attributes:
        head: Before the system text.
        between: From there to the first heard line.
        say: From a heard line to where the learner speaks.
        lead: White space with which the learner's line begins, in generation as in history.
        after: From an own line to the next heard line; begins with the end token.
        open_say: From the system text to where the learner speaks; None if it cannot open.
    """

    head: str
    between: str
    say: str
    lead: str
    after: str
    open_say: str | None = None

    def join(self, system: str, lines: Sequence[str]) -> str:
        """Composes lines that alternate between heard and own; the learner speaks next."""
        text = self.head + system + self.between + lines[0] + self.say
        for i, line in enumerate(lines[1:]):
            text += line + self.say if i % 2 else self.lead + line + self.after
        return text


def _find_segments(rendering: _Rendering) -> _Segments:
    """Finds the segments of a template.

    Raises:
        _Attempt: If there are none; says what the template does.
    """
    whole, marks = rendering.text(_SYSTEM, _LINES), (_SYSTEM, *_LINES)
    at = [whole.find(mark) for mark in marks]
    if -1 in at:
        raise _Attempt(1, f"drops {'the system message' if at[0] == -1 else 'a line'}")
    if any(whole.count(mark) != 1 for mark in marks):
        raise _Attempt(2, "renders a text twice")
    if at != sorted(at):
        raise _Attempt(3, "moves a text: the system message does not come first")
    gaps = [whole[a + len(m) : b] for a, m, b in zip(at, marks, [*at[1:], None], strict=True)]
    if len({gaps[1], gaps[3], gaps[5]}) > 1 or len({gaps[2], gaps[4], gaps[6]}) > 1:
        raise _Attempt(4, "rewrites history: what surrounds a line depends on its place")
    say = gaps[-1]
    if not gaps[1].startswith(say):
        raise _Attempt(
            5,
            f"rewrites history: it asks for a line with {say[-30:]!r} and shows it after {gaps[1][-30:]!r}",
        )
    lead = gaps[1].removeprefix(say)
    if (
        lead.strip()
    ):  # the prompt leaves open what history shows (a channel): it is said for the learner
        say, lead = say + lead, ""
    for own_lines in range(3):
        if not whole.startswith(rendering.text(_SYSTEM, _LINES[: 2 * own_lines + 1])):
            raise _Attempt(
                6, f"rewrites history: the context of line {own_lines + 1} is no prefix of the next"
            )
    segments = _Segments(whole[: at[0]], gaps[0], say, lead, gaps[2])
    return _Segments(*list(vars(segments).values())[:5], _find_opening(rendering, segments))


def _find_opening(rendering: _Rendering, segments: _Segments) -> str | None:
    """Returns what leads from the system text to a first own line, None where the template forbids it."""
    if rendering.fold:
        return None
    try:
        opened = rendering.text(_SYSTEM, ())
        whole = rendering.text(_SYSTEM, _LINES[1:3], own_first=True)
    except _RENDER_ERRORS:
        return None
    head = segments.head + _SYSTEM
    before, own, rest = whole.partition(_LINES[1])
    asked = segments.after + _LINES[2] + segments.say
    if not (
        opened.startswith(head) and before.startswith(opened) and own and asked.startswith(rest)
    ):
        return None
    open_say = before.removeprefix(head).removesuffix(segments.lead)
    return open_say if before == head + open_say + segments.lead else None


class ChatFormat:
    """A chat template as segments of token ids; made by `ChatFormat.derive`.

    `opening(system, heard) + own + heard(text) + own + heard(text) ...` is a context in which the learner
    speaks, where `own` are the ids that it sampled, its end token included.

    Attributes:
        tokenizer: The tokenizer.
        template: The chat template.
        end_id: The token that ends the learner's line in the template.
        end_ids: All tokens that end a line: `end_id`, the end of sequence, and what closes a dialogue.
        pad_id: A token that never stands in a context; the tokenizer's padding if it is such a one.
        forbidden_ids: What the learner may never say: control tokens and padding.
        vocabulary: The number of token ids; a model may have more logits.
        needs_stub: Whether the template does not let the learner open the dialogue.
        stub: The heard line with which such a dialogue opens.
        token_exact: Whether composed ids are those of the rendering encoded as a whole. Tokenizers that
            put a space before every piece of text cannot do that.

    Example, with the embedded model's tokenizer:
        `ChatFormat.derive(load_tokenizer("tiny")).opening("You are Ann.", "How are you?")`
    """

    stub = "Hello."

    def __init__(self, rendering: _Rendering, segments: _Segments):
        tokenizer = rendering.tokenizer
        self.tokenizer, self.template = tokenizer, rendering.template
        self._segments, self._remembered = segments, dict[str, tuple[int, ...]]()
        controls = _control_tokens(tokenizer, rendering.template)
        self._control_ids = frozenset(i for i in controls.values() if i is not None)
        texts = sorted(controls, key=len, reverse=True)
        self._control_pattern = re.compile("|".join(map(re.escape, texts)) or r"(?!)")
        self.end_id, self._end = self._find_end()
        self.end_ids = self._find_all_ends(rendering)
        ids = set(tokenizer.get_vocab().values())
        self.vocabulary = max(ids) + 1
        self.pad_id = self._find_padding()
        holes = set(range(self.vocabulary)) - ids
        self.forbidden_ids = tuple(
            sorted((self._control_ids | holes | {self.pad_id}) - self.end_ids)
        )
        self.needs_stub = segments.open_say is None
        self.token_exact = self._check(rendering)

    @classmethod
    def derive(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> ChatFormat:
        """Finds the format: as the template is; else with content as parts; else with the persona folded in.

        Args:
            tokenizer: Any transformers tokenizer.
            chat_template: Used instead of the tokenizer's own: Jinja, or the path of a `.jinja` file.
            template_kwargs: Passed on to the template, such as `{"enable_thinking": True}`.

        Raises:
            CannotCompose: If there is no template, or it has no fixed segments.
        """
        template = _template_text(tokenizer, chat_template)
        failed: list[_Attempt] = []
        for fold, parts in ((False, False), (False, True), (True, False), (True, True)):
            rendering = _Rendering(tokenizer, template, template_kwargs or {}, fold, parts)
            try:
                return cls(rendering, _find_segments(rendering))
            except _Attempt as attempt:
                failed.append(attempt)
            except _RENDER_ERRORS as error:
                failed.append(_Attempt(0, f"raises {' '.join(str(error).split())[:120]!r}"))
        what = max(failed, key=lambda attempt: attempt.depth)
        raise CannotCompose(
            f"Expected a chat template whose contexts grow by appending, got one that {what}: "
            "give a prefix-preserving one as chat_template=, or other template_kwargs=."
        ) from what

    def opening(self, system: str, heard: str | None) -> list[int]:
        """Returns everything up to where the learner speaks its first line.

        Args:
            system: The system prompt.
            heard: The first heard line; None if the learner opens (after `stub` where `needs_stub`).
        """
        s = self._segments
        if heard is None and s.open_say is not None:
            return self._encode(s.head + self._clean(system) + s.open_say)
        heard = self.stub if heard is None else heard
        return self._encode(s.head + self._clean(system) + s.between + self._clean(heard) + s.say)

    def heard(self, text: str) -> list[int]:
        """Returns what follows the learner's end token: the heard line and the prompt for the next own one."""
        s = self._segments
        return self._encode(s.after + self._clean(text) + s.say)[1:]

    def own(self, text: str) -> list[int]:
        """Returns an own line with its end token."""
        return self._encode(self._segments.lead + self._clean(text) + self._end)

    def context(self, view: View) -> list[int]:
        """Returns the context in which a side speaks, its own lines encoded from their texts.

        Lines of the same side that follow each other are joined with a line break.

        Raises:
            ValueError: If the view's last line is the side's own.
        """
        lines = joined(view.messages)
        if not lines or lines[0].own:
            ids = self.opening(view.system, None)
        else:
            ids = self.opening(view.system, lines.pop(0).text)
        for line in lines:
            ids += self.own(line.text) if line.own else self.heard(line.text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of an own line: without its end token, its lead and control tokens."""
        kept = [int(i) for i in ids if i not in self.end_ids]
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None:
            return str(backend.decode(kept, skip_special_tokens=True)).strip()
        text = self.tokenizer.decode(
            kept, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text).strip()

    def _encode(self, text: str) -> list[int]:
        found = self._remembered.get(text)
        if found is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            found = self._remembered[text] = tuple(_encoder(self.tokenizer)(text))
        return list(found)

    def _clean(self, text: str) -> str:
        """What somebody said cannot forge control tokens: `<|end|>` becomes `< |end|>`."""
        return self._control_pattern.sub(lambda m: f"{m[0][0]} {m[0][1:]}", text.strip()).strip()

    def _find_end(self) -> tuple[int, str]:
        after = self._segments.after
        for token, index in self.tokenizer.get_added_vocab().items():
            if after.startswith(token):
                return index, token
        first = self._encode(after)[:1]
        if first and first[0] in self._control_ids:
            return first[0], str(self.tokenizer.convert_ids_to_tokens(first[0]))
        raise _Attempt(7, f"has no end token right after an own line, only {after[:20]!r}")

    def _find_all_ends(self, rendering: _Rendering) -> frozenset[int]:
        ends = {self.end_id, self.tokenizer.eos_token_id}
        try:
            closed = rendering.text(_SYSTEM, _LINES[:2], prompt=False).partition(_LINES[1])[2]
        except _RENDER_ERRORS:
            closed = ""
        ends.update(i for i in self._encode(closed)[:1] if i in self._control_ids)
        return frozenset(i for i in ends if i is not None)

    def _find_padding(self) -> int:
        """A token that no context holds: texts are cleaned of control tokens, so one outside the segments."""
        used = {*self.end_ids, *self.opening("", ""), *self.heard(""), *self.own("")}
        used.update(self.opening("", None))
        vocabulary = self.tokenizer.get_vocab()
        impossible = [
            vocabulary.get(byte) for byte in ("ÿ", "<0xFF>")
        ]  # no UTF-8 text has this byte
        for i in (self.tokenizer.pad_token_id, *sorted(self._control_ids), *impossible):
            if i is not None and i not in used and i != self.tokenizer.unk_token_id:
                return int(i)
        raise _Attempt(8, "leaves no token for padding (give the tokenizer a pad token)")

    def _check(self, rendering: _Rendering) -> bool:
        """Composes awkward texts; returns whether the ids too are those of the whole rendering."""
        exact = True
        for name, text in _AWKWARD.items():
            lines = [self._clean(x) for x in ("How are you?", text, text, "Fine.", text)]
            composed = self._segments.join("You are Ann.", lines)
            if not composed.startswith(rendering.text("You are Ann.", lines)):
                raise _Attempt(9, f"changes a line with {name} in it")
            ids = self.opening("You are Ann.", lines[0])
            for i, line in enumerate(lines[1:]):
                ids += self.heard(line) if i % 2 else self.own(line)
            if self.decode(self.own(text)) != lines[1] and name == "a plain line":
                raise _Attempt(10, f"gives {self.decode(self.own(text))!r} back for {text!r}")
            exact = exact and ids == self._encode(composed)
        return exact


def joined(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Returns the messages with lines of the same side that follow each other joined.

    Raises:
        ValueError: If the last one is the side's own.
    """
    lines: list[ChatMessage] = []
    for message in messages:
        if lines and lines[-1].own == message.own:
            lines[-1] = ChatMessage(message.own, f"{lines[-1].text}\n{message.text}")
        else:
            lines.append(message)
    if lines and lines[-1].own:
        raise ValueError(
            "Expected a heard line last, got the speaker's own: ask when it is its turn."
        )
    return lines


def _encoder(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[int]]:
    """The tokenizer without its wrapper, which takes longer than the encoding of a line."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.truncation is None and backend.padding is None:
        return lambda text: backend.encode(text, add_special_tokens=False).ids
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False))


def _template_text(tokenizer: PreTrainedTokenizerBase, chat_template: str | None) -> str:
    if chat_template is not None and chat_template.endswith(".jinja") and "{" not in chat_template:
        path = Path(chat_template)
        if not path.is_file():
            raise CannotCompose(
                f"Expected a template file, got {chat_template!r}: there is no such file."
            )
        return path.read_text(encoding="utf-8")
    template: Any = chat_template or getattr(tokenizer, "chat_template", None)
    if isinstance(template, Mapping):
        template = template.get("default")
    if not isinstance(template, str) or not template.strip():
        raise CannotCompose(
            "Expected a tokenizer with a chat template, got one without: give one as chat_template=."
        )
    return template


def _control_tokens(tokenizer: PreTrainedTokenizerBase, template: str) -> dict[str, int | None]:
    """Texts that a line may not hold, with their ids: special tokens and added ones that look like it."""
    found: dict[str, int | None] = {}
    if "</think>" in template:
        found.update({"<think>": None, "</think>": None})
    for index, token in tokenizer.added_tokens_decoder.items():
        if token.special or _LOOKS_LIKE_CONTROL.fullmatch(token.content):
            found[token.content] = index
    found.update(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    return {text: index for text, index in found.items() if len(text) > 1}
