"""Queries with known answers, made from what personas state about themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from persona_env.judges.base import (
    AnswerVsGold,
    Label,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    LineVsQuestion,
    LineVsRole,
    Query,
)
from persona_env.persona import Persona, QAItem
from persona_env.world.lexicon import ATTRIBUTES

__all__ = ["KnownAnswer", "known_answers"]

_WORD = re.compile(r"\w+")
_MAX_WORDS = 5  # a longer answer is rarely the opposite of another
_STOP_WORDS = frozenset(["a", "an", "at", "by", "for", "from", "in", "my", "of", "on", "the", "to", "with"])


_OUT_OF_THE_ROLE = "I am a language model."


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """A query with the label and the conflicts of the only right verdict."""

    query: Query
    label: Label
    conflicts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Item:
    """A persona's question with the right answer and a wrong one."""

    persona: Persona
    item: QAItem
    wrong: str

    @property
    def question(self) -> str:
        return self.item.wordings[0]

    def line(self, answer: str) -> str:
        """Returns an answer as a line, in a sentence of the embedded world if it is one of its answers."""
        return self._sentence(answer) or f"{answer[0].upper()}{answer[1:].rstrip('.')}."

    def statement(self, answer: str) -> str:
        """Returns a line that tells what the answer is about: that sentence, or one with the question in it."""
        return self._sentence(answer) or f'When I am asked "{self.question}" I answer: {answer}.'

    def _sentence(self, answer: str) -> str:
        attribute = ATTRIBUTES.get(self.persona.role, {}).get(self.item.key)
        for value in attribute.values if attribute else ():
            if attribute and answer == attribute.gold.format(value):
                return attribute.answers[0].format(value)
        return ""


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold())) - _STOP_WORDS


def _wrong(persona: Persona, item: QAItem, others: Sequence[str]) -> str:
    """Returns another answer than the persona's, a choice or one of `others`; "" if there is none."""
    right = _words(item.gold)
    if len(right) > _MAX_WORDS:
        return ""
    stated = _words(persona.prompt)
    for other in (*item.choices, *others):
        words = _words(other)
        if words and len(words) <= _MAX_WORDS and not words & right and not words <= stated:
            return other
    return ""


def _items(personas: Sequence[Persona]) -> Iterator[_Item]:
    golds: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    questions: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for persona in personas:
        for item in persona.questions:
            golds[persona.role, item.key].append(item.gold)
            questions[persona.role, item.key].add(item.wordings[0])
    for number, persona in enumerate(personas):
        stated = _words(persona.prompt)
        for item in persona.questions:
            if item.key and _words(item.gold) and _words(item.gold) <= stated:
                others = golds[persona.role, item.key]
                turned = others[number % len(others) :] + others[: number % len(others)]
                is_one_type = len(questions[persona.role, item.key]) == 1  # else "gearbox" answers "How old is he?"
                if wrong := _wrong(persona, item, turned if is_one_type else ()):
                    yield _Item(persona, item, wrong)


def _about_one(one: _Item) -> Iterator[KnownAnswer]:
    """Yields the queries about one right and one wrong answer."""
    gold, choices, role = one.item.gold, one.item.choices, one.persona.role
    answers: dict[str, Label] = {gold: "consistent", one.wrong: "inconsistent"}
    for answer, label in answers.items():
        yield KnownAnswer(LineVsPersona(one.persona, one.line(answer), one.question), label)
        yield KnownAnswer(AnswerVsGold(role, one.question, gold, one.line(answer), choices), label)


def _about_two(one: _Item, other: _Item) -> Iterator[KnownAnswer]:
    """Yields the queries that need another fact of the same persona."""
    persona, role = one.persona, one.persona.role
    now, earlier = one.statement(one.item.gold), other.statement(other.item.gold)
    yield KnownAnswer(LineVsPrevious(persona, one.question, one.line(one.item.gold)), "consistent")
    yield KnownAnswer(LineVsPrevious(persona, one.question, earlier), "inconsistent")
    yield KnownAnswer(LineVsQuestion(persona, one.question, one.line(one.item.gold)), "consistent")
    yield KnownAnswer(LineVsQuestion(persona, one.question, earlier), "inconsistent")
    yield KnownAnswer(LineVsRole(persona, one.question, one.line(one.item.gold)), "consistent")
    yield KnownAnswer(LineVsRole(persona, one.question, _OUT_OF_THE_ROLE), "inconsistent")
    yield KnownAnswer(LineVsHistory(role, now, (earlier,)), "consistent")
    yield KnownAnswer(LineVsHistory(role, now, (earlier, one.statement(one.wrong))), "inconsistent", (1,))


def known_answers(personas: Sequence[Persona], *, limit: int = 64) -> list[KnownAnswer]:
    """Returns queries with known answers, as many good as bad of each kind; none if the personas state no such facts.

    Only facts that the descriptions of at most `limit` personas state are used. A wrong answer is another choice of
    the question, or what another persona has there if all have the same question under that key.

    >>> from persona_env.world import personas
    >>> known = known_answers(personas("patient", "train"))
    >>> [(canary.query.line, canary.label) for canary in known[:4:2]]
    [('My name is Mei.', 'consistent'), ('My name is Noah.', 'inconsistent')]
    """
    found: list[KnownAnswer] = []
    items = list(_items(personas[:limit]))
    for one, other in zip(items, [*items[1:], *items[:1]], strict=True):
        found += _about_one(one)
        if other.persona is one.persona and other.item.key != one.item.key:
            found += _about_two(one, other)
    return found
