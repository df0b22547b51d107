"""Turns a dialogue into token ids, with any tokenizer that has a chat template.

The learner's own lines are the template's `assistant`, incoming lines its `user`, the persona its `system`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from os import PathLike
from typing import Any

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from persona_env.conversation import View
from persona_env.models.thoughts import without_thought
from persona_env.speakers.chat_segments import RENDER_ERRORS, Misfit, Rendering, Segments, find_segments, self_contained
from persona_env.speakers.template_text import CannotCompose, TemplateText, template_text

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
_IMPOSSIBLE_BYTES = ("ÿ", "<0xFF>")  # how vocabularies spell the byte that no UTF-8 text has


class ChatFormat(TemplateText):
    """A chat template as segments of token ids; made by `ChatFormat.derive`.

    `opening(system, first) + own + incoming(text) + own + incoming(text) ...` is a context in which the
    learner speaks, where `own` are the ids that it sampled, the end token included.

    Attributes beside those of `TemplateText`:
        end_ids: All tokens that end a line: the template's `end_id`, the end of sequence, what closes a dialogue.
        pad_id: A token that no context contains; the tokenizer's padding where it is one.
        forbidden_ids: Tokens that the learner may never sample: control tokens and padding.
        token_exact: Whether composed ids are those of the whole rendering. They are not with tokenizers that put a
            space before every piece of text.

    Example:
        `ChatFormat.derive(load_tokenizer("tiny")).opening("You are Ann.", "How are you?")`
    """

    stub = "Hello."  # the incoming line that opens a dialogue where the template does not let the learner open it

    def __init__(self, rendering: Rendering, segments: Segments):
        super().__init__(rendering)
        self._segments = segments
        self.end_id, self._end = self._find_end()
        closing = self.control_ids & set(self._encode(rendering.closing())[:1])
        ends = {self.end_id, self.tokenizer.eos_token_id, *closing}
        self.end_ids = frozenset(int(i) for i in ends if i is not None)
        self.pad_id = self._find_padding()
        holes = set(range(self.vocabulary)) - set(self.tokenizer.get_vocab().values())
        unsayable = self.control_ids | holes | {self.pad_id}
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
        template = self_contained(template_text(tokenizer, chat_template), template_kwargs or {})
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
        rest = (*sorted(self.control_ids), *(vocabulary.get(byte) for byte in _IMPOSSIBLE_BYTES))
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
