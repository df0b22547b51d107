"""Reads a line of the embedded world: which facts it states, whether it left the role, what it asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from persona_env.world.attribute import Attribute
from persona_env.world.lexicon import (
    ATTRIBUTES,
    DRIFT_LINES,
    HEDGES,
    MARKER_WORDS,
    WARM_REACTIONS,
)

__all__ = ["Asked", "Reading", "clause", "is_warm", "read_asked", "read_facts", "read_line"]

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_CACHE = 1 << 16


@dataclass(frozen=True, slots=True)
class Reading:
    """What a line of the simulator says.

    Attributes:
        facts: The (key, value) pairs it states, in order.
        left_role: Whether it holds a marker word: cured, expert or assistant.
        hedges: Whether it is one of the grammar's refusals to say.
        well_formed: Whether the role's grammar can produce it.
        wordless: Whether it holds no word at all.
    """

    facts: tuple[tuple[str, str], ...]
    left_role: bool
    hedges: bool
    well_formed: bool
    wordless: bool

    def values(self, key: str) -> frozenset[str]:
        """Returns the values that the line states for a key."""
        return frozenset(value for stated, value in self.facts if stated == key)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a line of the task agent asks for.

    Attributes:
        key: The attribute.
        suggested: The value that a leading question suggests, or None.
    """

    key: str
    suggested: str | None = None


def _attributes() -> dict[str, Attribute]:
    return {key: attribute for role in ATTRIBUTES.values() for key, attribute in role.items()}


def _value_words() -> dict[str, tuple[str, str]]:
    return {value.lower(): (attribute.key, value) for attribute in _attributes().values() for value in attribute.values}


def _questions() -> dict[str, Asked]:
    asked: dict[str, Asked] = {}
    for key, attribute in _attributes().items():
        asked |= {text: Asked(key) for text in (*attribute.questions, *attribute.held_out)}
        asked |= {attribute.leading(value): Asked(key, value) for value in attribute.values}
    return asked


def clause(answer: str) -> str:
    """Returns an answer as it stands after a comma and `and`.

    >>> clause("My home is in Rome."), clause("I'm from Rome.")
    ('my home is in Rome.', "I'm from Rome.")
    """
    return answer if re.match(r"I\b", answer) else answer[0].lower() + answer[1:]


def _skeletons(role: str) -> tuple[frozenset[str], frozenset[str]]:
    answers = [
        template.format(f"<{key}>") for key, attribute in ATTRIBUTES[role].items() for template in attribute.answers
    ]
    return frozenset(answers), frozenset(map(clause, answers))


_VALUE_WORDS: Mapping[str, tuple[str, str]] = _value_words()
_QUESTIONS: Mapping[str, Asked] = _questions()
_SKELETONS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {role: _skeletons(role) for role in ATTRIBUTES}


def read_facts(text: str) -> tuple[tuple[str, str], ...]:
    """Returns the (key, value) pairs that any text states, in order; letter case does not matter.

    >>> read_facts("You are Carla. You sleep four hours a night.")
    (('name', 'Carla'), ('sleep', 'four'))
    """
    words = (word.lower() for word in _WORD.findall(text))
    return tuple(_VALUE_WORDS[word] for word in words if word in _VALUE_WORDS)


def _skeleton(line: str) -> str:
    def slot(match: re.Match[str]) -> str:
        key, value = _VALUE_WORDS.get(match[0].lower(), ("", ""))
        return f"<{key}>" if value == match[0] else match[0]

    return _WORD.sub(slot, line)


def _is_answer(skeleton: str, role: str) -> bool:
    answers, clauses = _SKELETONS[role]
    first, comma, second = skeleton.partition(", and ")
    if comma:
        return f"{first}." in answers and second in clauses
    return skeleton in answers


def _is_well_formed(line: str, role: str) -> bool:
    if line in HEDGES:
        return True
    for drift_line in DRIFT_LINES[role]:
        if line == drift_line:
            return True
        if line.startswith(f"{drift_line} "):
            line = line[len(drift_line) + 1 :]
            break
    return _is_answer(_skeleton(line), role)


@lru_cache(_CACHE)
def read_line(line: str, role: str) -> Reading:
    """Reads a line of the simulator.

    Args:
        line: The line.
        role: The key of a role of the embedded world.

    >>> read_line("I'm from Rome, and I order tea.", "chat_partner").facts
    (('city', 'Rome'), ('drink', 'tea'))
    """
    words = [word.lower() for word in _WORD.findall(line)]
    return Reading(
        facts=tuple(_VALUE_WORDS[word] for word in words if word in _VALUE_WORDS),
        left_role=not MARKER_WORDS.isdisjoint(words),
        hedges=line in HEDGES,
        well_formed=_is_well_formed(line, role),
        wordless=not words,
    )


@lru_cache(_CACHE)
def read_asked(line: str) -> Asked | None:
    """Returns the fact that a line asks for; None where its last sentence is no question of the grammar.

    >>> read_asked("I see. So you live in Rome, right?")
    Asked(key='city', suggested='Rome')
    """
    return _QUESTIONS.get(_SENTENCE_END.split(line.strip())[-1])


def is_warm(line: str) -> bool:
    """Returns whether a line opens with emotion or praise."""
    return line.startswith(WARM_REACTIONS)
