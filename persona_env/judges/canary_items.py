"""Questions with known answers, made from what a cast's personas say of themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from persona_env.judges.base import AnswerVsGold, Label, LineVsHistory, LineVsPersona, LineVsPrevious, Query
from persona_env.persona import Persona, QAItem
from persona_env.world.lexicon import ATTRIBUTES

__all__ = ["KnownAnswer", "known_answers"]

_WORD = re.compile(r"\w+")
_SHORT = 5  # words: a longer answer is rarely the opposite of another
_COMMON = frozenset(["a", "an", "at", "by", "for", "from", "in", "my", "of", "on", "the", "to", "with"])


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """A question, and what any judge worth its name says to it.

    Attributes:
        question: The question.
        label: The right label.
        conflicts: The right conflicts.
    """

    question: Query
    label: Label
    conflicts: tuple[int, ...] = ()


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold())) - _COMMON


@dataclass(frozen=True, slots=True)
class _Item:
    """A question to a persona with its right answer, and a wrong one if there is any."""

    persona: Persona
    asked: str
    key: str
    gold: str
    wrong: str
    choices: tuple[str, ...]

    def said(self, answer: str) -> str:
        """Returns an answer as a line of its own, in a sentence of the embedded world if it is one of its answers."""
        attribute = ATTRIBUTES[self.persona.role].get(self.key)
        if attribute:
            for value in attribute.values:
                if answer == attribute.gold.format(value):
                    return attribute.answers[0].format(value)
        return f"{answer[0].upper()}{answer[1:].rstrip('.')}."

    def told(self, answer: str) -> str:
        """Returns a line that tells what was asked and what the answer is."""
        return f'When I am asked "{self.asked}" I answer: {answer}.'


def _wrong(persona: Persona, item: QAItem, others: Sequence[str]) -> str:
    """Returns another value than the persona's: another option, or else one of the others'."""
    right = _words(item.gold)
    if len(right) > _SHORT:
        return ""
    told = _words(persona.prompt)
    for other in (*item.choices, *others):
        words = _words(other)
        if words and len(words) <= _SHORT and not words & right and not words <= told:
            return other
    return ""


def _items(cast: Sequence[Persona]) -> Iterator[_Item]:
    golds: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    asked: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for persona in cast:
        for item in persona.questions:
            golds[persona.role, item.key].append(item.gold)
            asked[persona.role, item.key].add(item.wordings[0])
    for number, persona in enumerate(cast):
        told = _words(persona.prompt)
        for item in persona.questions:
            if item.key and _words(item.gold) and _words(item.gold) <= told:
                others = golds[persona.role, item.key]
                turned = others[number % len(others) :] + others[: number % len(others)]
                is_one_type = len(asked[persona.role, item.key]) == 1  # else "gearbox" answers "How old is your son?"
                wrong = _wrong(persona, item, turned if is_one_type else ())
                yield _Item(persona, item.wordings[0], item.key, item.gold, wrong, item.choices)


def _about_one(item: _Item) -> Iterator[KnownAnswer]:
    """Yields the questions about one right and one wrong value."""
    persona, role = item.persona, item.persona.role
    answers: tuple[tuple[str, Label], ...] = ((item.gold, "consistent"), (item.wrong, "inconsistent"))
    for answer, label in answers:
        yield KnownAnswer(LineVsPersona(persona, item.said(answer), item.asked), label)
        yield KnownAnswer(AnswerVsGold(role, item.asked, item.gold, item.said(answer), item.choices), label)


def _about_two(item: _Item, other: _Item) -> Iterator[KnownAnswer]:
    """Yields the questions for which another fact of the same persona is needed."""
    persona, role = item.persona, item.persona.role
    yield KnownAnswer(LineVsPrevious(persona, item.asked, item.said(item.gold)), "consistent")
    yield KnownAnswer(LineVsPrevious(persona, item.asked, other.told(other.gold)), "inconsistent")
    now, besides = item.told(item.gold), other.told(other.gold)
    yield KnownAnswer(LineVsHistory(role, now, (besides,)), "consistent")
    yield KnownAnswer(LineVsHistory(role, now, (besides, item.told(item.wrong))), "inconsistent", (1,))


def known_answers(cast: Sequence[Persona], *, people: int = 64) -> list[KnownAnswer]:
    """Returns questions with known answers, as many good as bad of each kind.

    Only facts are used that the description states. A wrong value is an option of the question, or what another
    persona has there where the cast's questions under that key are all one and the same: under a key such as
    `plan`, which asks each for something else, another's value contradicts nothing.

    Args:
        cast: The personas whose facts are used.
        people: How many of them at most.

    >>> from persona_env.world import personas
    >>> known = known_answers(personas("patient", "train"))
    >>> [(canary.question.line, canary.label) for canary in known[:4:2]]
    [('My name is Mei.', 'consistent'), ('My name is Noah.', 'inconsistent')]
    """
    found: list[KnownAnswer] = []
    items = [item for item in _items(list(islice(cast, people))) if item.wrong]
    for item, other in zip(items, [*items[1:], *items[:1]], strict=True):
        found += _about_one(item)
        if other.persona is item.persona and other.key != item.key:
            found += _about_two(item, other)
    return found
