"""Turns a dialogue into token ids, with any tokenizer that has a chat template.

The learner's own lines are the template's `assistant`, incoming lines its `user`, the persona its `system`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from functools import lru_cache
from os import PathLike
from os.path import expanduser
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from persona_env.conversation import View
from persona_env.errors import InputError
from persona_env.models.thoughts import without_thought
from persona_env.speakers.chat_segments import RENDER_ERRORS, Misfit, Rendering, Segments, find_segments, self_contained

__all__ = ["CannotCompose", "ChatFormat"]

_PLAIN = "I am a baker."
_DIFFICULT = {
    "a plain line": _PLAIN,
    "line breaks": "I am\n\nso tired",
    "accents and emoji": "Ça va, 你好 😀",
    "HTML": '<b>a & b</b> "c"',
    "JSON": '{"name": "x"}',
    "Jinja": "{{ 7 * 7 }}",
    "a think block": "so <think>a</think> b",
}
_LOOKS_LIKE_CONTROL = re.compile(r"\s*(<.*>|\[.*\])\s*", re.DOTALL)
_HALF = re.compile("[\ud800-\udfff]")
_IMPOSSIBLE_BYTES = ("ÿ", "<0xFF>")  # how vocabularies spell the byte that no UTF-8 text has


class CannotCompose(InputError):  # noqa: N818 - reads better where it is caught
    """The template has no fixed segments; the message says why, and what to do."""


class ChatFormat:
    """A chat template as segments of token ids; made by `ChatFormat.derive`.

    `opening(system, first) + own + incoming(text) + own + incoming(text) ...` is a context in which the
    learner speaks, where `own` are the ids that it sampled, the end token included.

    Attributes:
        template: The template with the `template_kwargs` in it; see `self_contained`.
        end_ids: All tokens that end a line: the template's `end_id`, the end of sequence, what closes a dialogue.
        pad_id: A token that no context contains; the tokenizer's padding where it is one.
        forbidden_ids: Tokens that the learner may never sample: control tokens and padding.
        vocabulary: The number of token ids; a model may have more logits.
        token_exact: Whether composed ids are those of the whole rendering. They are not with tokenizers that put a
            space before every piece of text.

    Example:
        `ChatFormat.derive(load_tokenizer("tiny")).opening("You are Ann.", "How are you?")`
    """

    stub = "Hello."  # the incoming line that opens a dialogue where the template does not let the learner open it

    def __init__(self, rendering: Rendering, segments: Segments):
        self.tokenizer: Any = rendering.tokenizer  # typed more widely than it is
        self.template = rendering.template
        self._segments = segments
        controls = _control_tokens(rendering)
        self._control_ids = frozenset(i for i in controls.values() if i is not None)
        longest_first = sorted(controls, key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self.end_id, self._end = self._find_end()
        closing = self._control_ids & set(self._encode(rendering.closing())[:1])
        ends = {self.end_id, self.tokenizer.eos_token_id, *closing}
        self.end_ids = frozenset(int(i) for i in ends if i is not None)
        ids = set(self.tokenizer.get_vocab().values())
        self.vocabulary = max(ids) + 1
        self.pad_id = self._find_padding()
        holes = set(range(self.vocabulary)) - ids
        unsayable = self._control_ids | holes | {self.pad_id}
        self.forbidden_ids = tuple(sorted(unsayable - self.end_ids))
        self.token_exact = self._check(rendering)

    @classmethod
    def derive(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> ChatFormat:
        """Finds the format of a template: as it is, or with content in parts, or with the persona in the first line.

        A `chat_template` (Jinja, or the path of a `.jinja` file) is used instead of the tokenizer's own.

        Raises:
            CannotCompose: If there is no template, or it has no fixed segments.
        """
        template = self_contained(_template_text(tokenizer, chat_template), template_kwargs or {})
        misfits: list[Misfit] = []
        for fold, parts in ((False, False), (False, True), (True, False), (True, True)):
            rendering = Rendering(tokenizer, template, fold, parts)
            try:
                return cls(rendering, find_segments(rendering))
            except Misfit as misfit:
                misfits.append(misfit)
            except (*RENDER_ERRORS, ArithmeticError, RecursionError, MemoryError) as error:  # the last: hostile ones
                misfits.append(Misfit(0, f"raises {(' '.join(str(error).split())[:120] or type(error).__name__)!r}"))
        what = max(misfits, key=lambda misfit: misfit.depth)
        raise CannotCompose(
            f"Expected a chat template whose contexts grow by appending, got one that {what}: "
            "give a prefix-preserving one as chat_template=, or other template_kwargs=."
        ) from what

    def opening(self, system: str, first: str | None) -> list[int]:
        """Returns the ids before the learner's first line; without a first incoming line the learner opens."""
        s, system = self._segments, self._clean(system)
        if first is None and s.open_say is not None:
            return self._encode(s.head + system + s.open_say)
        first = self._clean(self.stub if first is None else first)
        return self._encode(s.head + system + s.between + first + s.say)

    def incoming(self, text: str) -> list[int]:
        """Returns the ids from the learner's end token to its next line, with an incoming line between."""
        s = self._segments
        return self._encode(s.after + self._clean(text) + s.say)[1:]

    def own(self, text: str) -> list[int]:
        """Returns an own line with its end token."""
        return self._encode(self._segments.lead + self._clean(text) + self._end)

    def context(self, view: View) -> list[int]:
        """Returns the context in which a side speaks; raises InputError if the view's last line is the side's own."""
        lines = view.chat()[1:]
        opened = bool(lines) and lines[0]["role"] == "user"
        return self.opening(view.system, lines.pop(0)["content"] if opened else None) + self.continuation(lines)

    def continuation(self, chat: Sequence[Mapping[str, str]]) -> list[int]:
        """Returns the ids of further messages of a chat (see `View.chat`)."""
        lines = [(self.own if line["role"] == "assistant" else self.incoming)(line["content"]) for line in chat]
        return [token for line in lines for token in line]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns what an own line says, without control tokens, thoughts and the white space around it.

        A thought that was cut off says nothing.
        """
        return without_thought(self.written(ids)) or ""

    def written(self, ids: Sequence[int]) -> str:
        """Returns the text of an own line, thoughts included."""
        line = [int(i) for i in ids if i not in self.end_ids]
        if isinstance(self.tokenizer, PreTrainedTokenizerFast):  # its own `decode` adds much time
            return self.tokenizer.backend_tokenizer.decode(line, skip_special_tokens=True).strip()
        return self.tokenizer.decode(line, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Saves the tokenizer with this template, whatever its own is."""
        tokenizer = copy(self.tokenizer)
        tokenizer.chat_template = self.template
        tokenizer.save_pretrained(folder)

    def _encode(self, text: str) -> list[int]:
        return _encoded(self, text).tolist()

    def _clean(self, text: str) -> str:
        """The text without control tokens, which nobody may forge: `<|end|>` becomes `< |end|>`."""
        return self._controls.sub(lambda m: f"{m[0][0]} {m[0][1:]}", _HALF.sub("\ufffd", text).strip()).strip()

    def _find_end(self) -> tuple[int, str]:
        after = self._segments.after
        added: dict[str, int] = self.tokenizer.get_added_vocab()
        token = max((x for x in added if x and after.startswith(x)), key=len, default="")
        if not token or self._encode(after)[:1] != [added[token]]:
            raise Misfit(7, f"has no end token right after an own line, only {after[:20]!r}")
        return added[token], token

    def _find_padding(self) -> int:
        used = {*self.opening("", ""), *self.opening("", None), *self.incoming(""), *self.own("")}
        used |= self.end_ids
        # Texts are cleaned of control tokens: no context contains one that no segment contains.
        vocabulary = self.tokenizer.get_vocab()
        rest = (*sorted(self._control_ids), *(vocabulary.get(byte) for byte in _IMPOSSIBLE_BYTES))
        for i in (self.tokenizer.pad_token_id, *rest):
            if i is not None and i not in used and i != self.tokenizer.unk_token_id:
                return int(i)
        raise Misfit(8, "leaves no token for padding (add a pad token to the tokenizer)")

    def _check(self, rendering: Rendering) -> bool:
        """Composes difficult texts; returns whether the ids, too, are those of the whole rendering."""
        exact = True
        for name, text in _DIFFICULT.items():
            lines = [self._clean(x) for x in ("How are you?", text, text, "Fine.", text)]
            composed, shown = (s.join("You are Ann.", lines) for s in (self._segments, self._segments.shown))
            if not shown.startswith(rendering.text("You are Ann.", lines).removesuffix(self._segments.opened)):
                raise Misfit(9, f"changes a line with {name} in it")
            ids = self.opening("You are Ann.", lines[0])
            for i, line in enumerate(lines[1:]):
                ids += self.incoming(line) if i % 2 else self.own(line)
            exact = exact and ids == self._encode(composed)
        back = self.decode(self.own(_PLAIN))
        if not {self.tokenizer.unk_token_id} & set(self.own(_PLAIN)) and back != _PLAIN:
            raise Misfit(10, f"gives {back!r} back for {_PLAIN!r} (use another tokenizer)")
        return exact


@lru_cache(maxsize=2048)
def _encoded(chat: ChatFormat, text: str) -> NDArray[np.int32]:
    """Encodes without transformers' wrapper where it can: that takes longer than the encoding itself."""
    tokenizer = chat.tokenizer
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        backend = tokenizer.backend_tokenizer
        if backend.truncation is None and backend.padding is None:
            return np.array(backend.encode(text, add_special_tokens=False).ids, np.int32)
    return np.array(tokenizer.encode(text, add_special_tokens=False), np.int32)


def _template_text(tokenizer: PreTrainedTokenizerBase, chat_template: str | None) -> str:
    if chat_template is not None and chat_template.endswith(".jinja"):
        try:
            return Path(expanduser(chat_template)).read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise CannotCompose(
                f"Expected a template file in UTF-8 as chat_template=, got {chat_template!a:.200}: no such file."
            ) from None
    template: Any = chat_template or tokenizer.chat_template
    if isinstance(template, Mapping):
        template = template.get("default")
    if not isinstance(template, str) or not template.strip():
        raise CannotCompose(
            "Expected a tokenizer with a chat template, got one without: give a template as chat_template=."
        )
    return template


def _control_tokens(rendering: Rendering) -> dict[str, int | None]:
    """Texts that no line may contain: special tokens, and added ones that look like such."""
    tokenizer: Any = rendering.tokenizer
    found: dict[str, int | None] = {}
    if "</think>" in rendering.template:  # templates remove them from earlier lines, whether or not they are tokens
        found.update({"<think>": None, "</think>": None})
    for index, token in tokenizer.added_tokens_decoder.items():
        if token.special or _LOOKS_LIKE_CONTROL.fullmatch(token.content):
            found[token.content] = index
    found.update(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    return {text: index for text, index in found.items() if len(text) > 1}
