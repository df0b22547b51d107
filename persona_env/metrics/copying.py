"""Copying, a guard: does a line recite the persona text beyond what was asked?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from persona_env.conversation import Conversation
from persona_env.judges.base import Verdict
from persona_env.metrics.metric import LineMetric
from persona_env.metrics.words import content_words, sentences, words

__all__ = ["Copying", "recited_share"]

_NGRAM = 4
_OWN_WORDS = Verdict("consistent", is_asked=False)
_RECITED = Verdict("inconsistent", reason="recites the persona text", is_asked=False)


def _unasked(description: str, heard: str) -> Iterator[tuple[str, ...]]:
    """Yields the runs of neighbouring description sentences that were not asked for."""
    asked, run = content_words(heard), list[str]()
    for sentence in sentences(description):
        if content_words(sentence) & asked:
            yield tuple(run)
            run = []
        else:
            run.extend(words(sentence))
    yield tuple(run)


def _ngrams(text: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (text[i : i + _NGRAM] for i in range(len(text) - _NGRAM + 1))


@lru_cache(maxsize=1 << 12)
def recited_share(description: str, line: str, heard: str = "") -> float:
    """Returns the share of a line's words, in [0, 1], that stand in an n-gram of the description, n >= 4.

    Words are compared as `words` gives them, so that "I am" recites "You are". Description sentences that share a
    content word with the heard line are excused: they were asked for.

    >>> text = "You are Ann. You sleep four hours a night. You have a grey cat at home."
    >>> recited_share(text, "Well, I have a grey cat at home.")  # seven of eight words
    0.875
    >>> recited_share(text, "I have a grey cat at home.", heard="Do you have a cat?")
    0.0
    """
    line_words = words(line)
    known = {ngram for run in _unasked(description, heard) for ngram in _ngrams(run)}
    covered: set[int] = set()
    for start, ngram in enumerate(_ngrams(line_words)):
        if ngram in known:
            covered.update(range(start, start + _NGRAM))
    return len(covered) / len(line_words) if line_words else 0.0


class Copying(LineMetric):
    """Share of the simulator's lines that do *not* recite the persona text beyond what was asked.

    A line recites if its `recited_share` is more than one half. Needs no judge.

    >>> from persona_env.persona import Persona
    >>> ann = Persona("p", "patient", "Ann", "You are Ann. You sleep four hours a night.")
    >>> parrot = Conversation(ann).with_reply("Hello.").with_line("I am Ann. I sleep four hours a night.")
    >>> Copying()([parrot])[0].value
    0.0
    """

    name = "copying"
    title = "lines that recite the persona"
    mark = "recites its description"
    is_judged = False
    is_penalty = True

    def query(self, conversation: Conversation, index: int) -> Verdict:
        """Returns `inconsistent` if line `index` recites the persona text."""
        heard, line = conversation.heard_before(index), conversation.lines[index]
        description = conversation.persona_at(index).description
        return _RECITED if recited_share(description, line, heard) > 0.5 else _OWN_WORDS
