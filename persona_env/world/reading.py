"""Reads a line of the embedded world: which facts it states, whether it left the role, what it asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from string import punctuation

from persona_env.world.lexicon import ATTRIBUTES, WORDS

__all__ = [
    "Asked",
    "Reading",
    "clause",
    "is_warm",
    "listed_facts",
    "read_asked",
    "read_bare",
    "read_facts",
    "read_line",
    "reads_description",
]

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+")
_TOKEN = re.compile(r"[A-Za-z0-9]+(?:[-'.,:;!?/][A-Za-z0-9]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_CACHE = 1 << 16


@dataclass(frozen=True, slots=True)
class Reading:
    """What a line of the simulator says."""

    facts: tuple[tuple[str, str], ...]  # the (key, value) pairs it states, in order
    left_role: bool  # it holds a marker word: cured, expert or assistant
    hedges: bool  # it is one of the grammar's refusals to say
    readable: bool  # the grammar, of whatever role, has it, or a description; of no other is it known what it says
    well_formed: bool  # the role's grammar can produce it, and it states one value of a fact
    wordless: bool
    foreign: bool  # it holds a word that no line of the grammar has

    def values(self, key: str) -> frozenset[str]:
        """Returns the values that the line states for a key."""
        return frozenset(value for stated, value in self.facts if stated == key)

    @property
    def contradicts_itself(self) -> bool:
        """Whether it states two values of one fact."""
        return len(set(self.facts)) > len({key for key, _ in self.facts})


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


def _first_person(sentence: str) -> str:
    for told, says in (("You are", "I am"), ("Your ", "My "), ("You ", "I "), (" you.", " me.")):
        sentence = sentence.replace(told, says)
    return sentence


@dataclass(frozen=True, slots=True)
class _Sentences:
    """The sentences that speakers of some roles say, each with `<key>` in the place of a value."""

    answers: frozenset[str]
    clauses: frozenset[str]  # the answers as they stand after a comma and `and`
    drift_lines: frozenset[str]

    @classmethod
    def of(cls, *roles: str) -> _Sentences:
        attributes = [its for role in roles for its in ATTRIBUTES[role].values()]
        answers = frozenset(text.format(f"<{its.key}>") for its in attributes for text in its.answers)
        drift_lines = frozenset(line for role in roles for line in WORDS.roles[role].drift_lines)
        return cls(answers, frozenset(map(clause, answers)), drift_lines)

    def has(self, line: str) -> bool:
        """Whether a line is a refusal, an answer, two joined ones, or a drift line, alone or with answers after it."""
        if line in WORDS.hedges or line in self.drift_lines:
            return True
        opening = next((f"{text} " for text in self.drift_lines if line.startswith(f"{text} ")), "")
        skeleton = _skeleton(line.removeprefix(opening))
        first, comma, second = skeleton.partition(", and ")
        if comma:
            return f"{first}." in self.answers and second in self.clauses
        return skeleton in self.answers


_BARE = frozenset(text.format(f"<{its.key}>") for its in _ALL for text in ("{}", its.gold))
_STATED = {
    role: frozenset(its.sentence.format(f"<{its.key}>") for its in attributes.values())
    for role, attributes in ATTRIBUTES.items()
}
_RECITED = frozenset[str]().union(*_STATED.values())
_RECITED |= {_first_person(text) for text in _RECITED}
_OF_ROLE = {role: _Sentences.of(role) for role in ATTRIBUTES}
_OF_ANY_ROLE = _Sentences.of(*ATTRIBUTES)
_SAID = [*WORDS.hedges, *_OF_ANY_ROLE.answers, *_OF_ANY_ROLE.clauses, *_OF_ANY_ROLE.drift_lines, "and"]
_KNOWN_WORDS = {word for text in _SAID for word in _WORD.findall(text)} | {v for its in _ALL for v in its.values}


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


def read_bare(answer: str) -> tuple[str, str] | None:
    """Returns the key and value of an answer that is a value alone, as a gold answer states it; None for any other.

    >>> read_bare("four"), read_bare("four hours a night"), read_bare("not four")
    (('sleep', 'four'), ('sleep', 'four'), None)
    """
    return read_facts(answer)[0] if _skeleton(answer) in _BARE else None


def reads_description(description: str, role: str) -> bool:
    """Returns whether a description is made of the sentences in which the grammar states facts of a role.

    >>> reads_description("You are Mei. You live in Rome.", "chat_partner"), reads_description("I am Mei.", "patient")
    (True, False)
    """
    stated = _STATED.get(role, frozenset())
    return stated.issuperset(map(_skeleton, _SENTENCE_END.split(description.strip())))


def _recites(line: str) -> bool:
    """Whether a line is made of sentences of descriptions, as they stand there or in the first person."""
    return _RECITED.issuperset(map(_skeleton, line.replace(". ", ".\n").split("\n")))


def _skeleton(line: str) -> str:
    def slot(match: re.Match[str]) -> str:
        key, value = _VALUE_WORDS.get(match[0].lower(), ("", ""))
        return f"<{key}>" if value == match[0] else match[0]

    return _WORD.sub(slot, line)


def _is_word(token: str) -> bool:
    """Whether what stands between spaces is a word, a number or a few of them; random characters are not."""
    if not any(map(str.isalnum, token)):
        return False
    return not token.isascii() or _TOKEN.fullmatch(token.strip(punctuation)) is not None


def _is_wordless(line: str) -> bool:
    """Whether less than half of what stands between spaces are words."""
    found = list(map(_is_word, line.split()))
    return 2 * sum(found) < max(len(found), 1)


@lru_cache(_CACHE)
def read_line(line: str, role: str) -> Reading:
    """Reads a line of the simulator in a role of the embedded world.

    >>> read_line("I'm from Rome, and I order tea.", "chat_partner").facts
    (('city', 'Rome'), ('drink', 'tea'))
    >>> read_line("I'm not from Rome.", "chat_partner").readable
    False
    """
    words, facts = _WORD.findall(line), read_facts(line)
    reading = Reading(
        facts=facts,
        left_role=not WORDS.markers.isdisjoint(map(str.lower, words)),
        hedges=line in WORDS.hedges,
        readable=_OF_ANY_ROLE.has(line) or _recites(line),
        well_formed=_OF_ROLE[role].has(line),
        wordless=_is_wordless(line),
        foreign=not _KNOWN_WORDS.issuperset(words),
    )
    return replace(reading, well_formed=False) if reading.contradicts_itself else reading


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
