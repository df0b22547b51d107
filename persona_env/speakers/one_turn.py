"""One question and the beginning of its answer, with any chat template that renders these."""

from __future__ import annotations

import re
from itertools import product

from transformers import PreTrainedTokenizerBase

from persona_env.errors import InputError
from persona_env.speakers.chat_segments import RENDER_ERRORS, Misfit, Rendering, self_contained, with_thought_closed
from persona_env.speakers.template_text import TemplateText, template_text

__all__ = ["OneTurnFormat"]

_SYSTEM, _USER, _ANSWER = "Qsys0Q", "Quser0Q", "Qown0Q"
_SLOTS = re.compile(f"({_SYSTEM}|{_USER})")


class OneTurnFormat(TemplateText):
    """A chat template with places for a system text and a question; dialogues in it need not compose.

    The template is asked not to think, and a thought that it opens is closed: the answer begins at once.

    Example:
        `OneTurnFormat.derive(tokenizer).question("You are a judge.", "Is it so?")`
    """

    def __init__(self, rendering: Rendering):
        super().__init__(rendering)
        *self._pieces, tail = _SLOTS.split(rendering.text(_SYSTEM, [_USER]))
        if sorted(self._pieces[1::2]) != [_SYSTEM, _USER]:
            raise Misfit(1, "leaves out the system text or the question, or renders one twice")
        self._prompt, self._lead = _answer_prompt(tail, self._shown(rendering))

    def _shown(self, rendering: Rendering) -> str | None:
        """What the template puts before an answer that was given; None where it does not show such a dialogue."""
        try:
            whole = rendering.text(_SYSTEM, [_USER, _ANSWER], prompt=False)
        except RENDER_ERRORS:
            return None
        before, answer, _ = whole.partition(_ANSWER)
        question = "".join(self._pieces)
        return before.removeprefix(question) if answer and before.startswith(question) else None

    @classmethod
    def derive(cls, tokenizer: PreTrainedTokenizerBase, name: str = "") -> OneTurnFormat:
        """Finds the places in a tokenizer's template; InputError where `name` has none, or it renders no question."""
        if not tokenizer.chat_template:
            what = f"Expected a chat template, got none in the tokenizer of {name or 'the model'}"
            raise InputError(f"{what}: use a model that was trained to chat.")
        template, misfits = self_contained(template_text(tokenizer, None), {}), list[str]()
        for fold, parts in product((False, True), repeat=2):
            try:
                return cls(Rendering(tokenizer, template, fold, parts))
            except Misfit as misfit:
                misfits.append(str(misfit))
            except (*RENDER_ERRORS, ArithmeticError, RecursionError, MemoryError) as error:  # the last: hostile ones
                misfits.append(f"raises {(' '.join(str(error).split())[:120] or type(error).__name__)!r}")
        raise InputError(
            f"Expected a chat template that renders a question, got one in {name or 'the model'} that {misfits[0]}: "
            "use another model."
        )

    def question(self, system: str, user: str) -> list[int]:
        """Returns the ids of a question, up to where its answer begins."""
        texts = {_SYSTEM: self._clean(system), _USER: self._clean(user)}
        return self._encode("".join(texts.get(piece, piece) for piece in self._pieces) + self._prompt)

    def answer(self, text: str) -> list[int]:
        """Returns the ids of an answer, or of its beginning."""
        return self._encode(self._lead + text)


def _answer_prompt(asked: str, shown: str | None) -> tuple[str, str]:
    """Returns what stands between a question and its answer, and the white space with which the answer begins.

    `asked` is the template's prompt; what it later shows before an answer may be more, such as a channel.
    """
    lead = shown.removeprefix(asked) if shown is not None and shown.startswith(asked) else ""
    if lead.strip():
        asked, lead = asked + lead, ""
    return with_thought_closed(asked), lead
