"""Reads a line of the embedded world: which facts it states, whether it left the role, what it asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from persona_env.world.lexicon import ATTRIBUTES, WORDS

__all__ = ["Asked", "Reading", "clause", "is_warm", "listed_facts", "read_asked", "read_facts", "read_line"]

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_CACHE = 1 << 16


@dataclass(frozen=True, slots=True)
class Reading:
    """What a line of the simulator says."""

    facts: tuple[tuple[str, str], ...]  # the (key, value) pairs it states, in order
    left_role: bool  # it holds a marker word: cured, expert or assistant
    hedges: bool  # it is one of the grammar's refusals to say
    well_formed: bool  # the role's grammar can produce it
    wordless: bool

    def values(self, key: str) -> frozenset[str]:
        """Returns the values that the line states for a key."""
        return frozenset(value for stated, value in self.facts if stated == key)


@dataclass(frozen=True, slots=True)
class Asked:
    """The attribute that a line of the task agent asks for, and the value that a leading question suggests."""

    key: str
    suggested: str | None = None


def clause(answer: str) -> str:
    """Returns an answer as it stands after a comma and `and`."""
    return answer if re.match(r"I\b", answer) else answer[0].lower() + answer[1:]


_ALL = [attribute for role in ATTRIBUTES.values() for attribute in role.values()]
_VALUE_WORDS = {value.lower(): (attribute.key, value) for attribute in _ALL for value in attribute.values}
_QUESTIONS = {text: Asked(its.key) for its in _ALL for text in (*its.questions, *its.held_out)}
_QUESTIONS |= {its.leading(value): Asked(its.key, value) for its in _ALL for value in its.values}
_ANSWERS = {
    role: frozenset(text.format(f"<{key}>") for key, attribute in its.items() for text in attribute.answers)
    for role, its in ATTRIBUTES.items()
}
_CLAUSES = {role: frozenset(map(clause, answers)) for role, answers in _ANSWERS.items()}


def read_facts(text: str) -> tuple[tuple[str, str], ...]:
    """Returns the (key, value) pairs that any text states, in order; letter case does not matter.

    >>> read_facts("You are Carla. You sleep four hours a night.")
    (('name', 'Carla'), ('sleep', 'four'))
    """
    words = (word.lower() for word in _WORD.findall(text))
    return tuple(_VALUE_WORDS[word] for word in words if word in _VALUE_WORDS)


def listed_facts(description: str) -> dict[str, str]:
    """Returns what a description states, in order; of several values of a key the first."""
    facts: dict[str, str] = {}
    for key, value in read_facts(description):
        facts.setdefault(key, value)
    return facts


def _skeleton(line: str) -> str:
    def slot(match: re.Match[str]) -> str:
        key, value = _VALUE_WORDS.get(match[0].lower(), ("", ""))
        return f"<{key}>" if value == match[0] else match[0]

    return _WORD.sub(slot, line)


def _is_answer(skeleton: str, role: str) -> bool:
    first, comma, second = skeleton.partition(", and ")
    if comma:
        return f"{first}." in _ANSWERS[role] and second in _CLAUSES[role]
    return skeleton in _ANSWERS[role]


def _is_well_formed(line: str, role: str) -> bool:
    drift_lines = WORDS.roles[role].drift_lines
    if line in WORDS.hedges or line in drift_lines:
        return True
    opening = next((f"{text} " for text in drift_lines if line.startswith(f"{text} ")), "")
    return _is_answer(_skeleton(line.removeprefix(opening)), role)


@lru_cache(_CACHE)
def read_line(line: str, role: str) -> Reading:
    """Reads a line of the simulator in a role of the embedded world.

    >>> read_line("I'm from Rome, and I order tea.", "chat_partner").facts
    (('city', 'Rome'), ('drink', 'tea'))
    """
    words = [word.lower() for word in _WORD.findall(line)]
    return Reading(
        facts=read_facts(line),
        left_role=not WORDS.markers.isdisjoint(words),
        hedges=line in WORDS.hedges,
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
    return line.startswith(WORDS.warm_reactions)
