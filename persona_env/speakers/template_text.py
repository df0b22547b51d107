"""Texts in the form of a chat template: rendered, free of control tokens that nobody may forge, and encoded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from os.path import expanduser
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from persona_env.errors import InputError
from persona_env.speakers.chat_segments import Rendering

__all__ = ["CannotCompose", "TemplateText", "template_text"]

_LOOKS_LIKE_CONTROL = re.compile(r"\s*(<.*>|\[.*\])\s*", re.DOTALL)
_HALF = re.compile("[\ud800-\udfff]")


class CannotCompose(InputError):  # noqa: N818 - reads better where it is caught
    """The template has no fixed segments; the message says why, and what to do."""


class TemplateText:
    """A tokenizer with its chat template.

    Attributes:
        tokenizer: The tokenizer.
        template: The template with the `template_kwargs` in it; see `self_contained`.
        control_ids: Tokens that no text may hold.
        vocabulary: The number of token ids; a model may have more logits.
    """

    def __init__(self, rendering: Rendering):
        self.tokenizer: Any = rendering.tokenizer  # typed more widely than it is
        self.template = rendering.template
        controls = _control_tokens(rendering)
        self.control_ids = frozenset(i for i in controls.values() if i is not None)
        longest_first = sorted(controls, key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self.vocabulary = max(self.tokenizer.get_vocab().values()) + 1

    def _encode(self, text: str) -> list[int]:
        return _encoded(self, text).tolist()

    def _clean(self, text: str) -> str:
        """The text without control tokens, which nobody may forge: `<|end|>` becomes `< |end|>`."""
        return self._controls.sub(lambda m: f"{m[0][0]} {m[0][1:]}", _HALF.sub("\ufffd", text).strip()).strip()


@lru_cache(maxsize=2048)
def _encoded(chat: TemplateText, text: str) -> NDArray[np.int32]:
    """Encodes without transformers' wrapper where it can: that takes longer than the encoding itself."""
    tokenizer = chat.tokenizer
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        backend = tokenizer.backend_tokenizer
        if backend.truncation is None and backend.padding is None:
            return np.array(backend.encode(text, add_special_tokens=False).ids, np.int32)
    return np.array(tokenizer.encode(text, add_special_tokens=False), np.int32)


def template_text(tokenizer: PreTrainedTokenizerBase, chat_template: str | None) -> str:
    """Returns the template that is given, or the tokenizer's own; CannotCompose if there is none."""
    if chat_template is not None and chat_template.endswith(".jinja"):
        path = Path(expanduser(chat_template))
        try:
            if not path.is_file():  # reading a pipe may never end
                raise FileNotFoundError
            return path.read_text(encoding="utf-8")
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
