"""What a speaker says who never drifts: true facts, improvisations stood by, open refusals."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from persona_env.world.lexicon import ATTRIBUTES, HEDGES
from persona_env.world.reading import Asked, clause, read_facts, read_line

__all__ = ["Character", "answer", "in_character", "remember"]

IMPROVISES = 0.45
"""How often an unlisted fact is made up instead of declined."""
VOLUNTEERS_LISTED = 0.2
VOLUNTEERS_UNLISTED = 0.08


@dataclass(frozen=True, slots=True)
class Character:
    """What a speaker knows about itself when it is its turn.

    Attributes:
        role: The key of its role.
        listed: What its persona states.
        stated: What else it has said so far, the first value for each key: it stands by it.
    """

    role: str
    listed: Mapping[str, str]
    stated: Mapping[str, str]

    def value(self, key: str) -> str | None:
        """Returns what is true of the speaker so far; None where it is still open."""
        return self.listed.get(key) or self.stated.get(key)


def remember(role: str, system: str, own: Sequence[str]) -> Character:
    """Reads a character from its system prompt and its own earlier lines.

    >>> remember("chat_partner", "You are Mei. You live in Rome.", ["I order tea."]).stated
    {'drink': 'tea'}
    """
    listed: dict[str, str] = {}
    for key, value in read_facts(system):
        listed.setdefault(key, value)
    stated: dict[str, str] = {}
    for line in own:
        for key, value in read_line(line, role).facts:
            if key not in listed:
                stated.setdefault(key, value)
    return Character(role, listed, stated)


def answer(role: str, key: str, value: str, rng: random.Random) -> str:
    """Returns an answer that states a value, in a random wording."""
    return rng.choice(ATTRIBUTES[role][key].answers).format(value)


def _volunteered(character: Character, asked: str, rng: random.Random) -> tuple[str, str] | None:
    """A second fact for the same line: mostly a listed one, now and then one made up on the spot."""
    roll = rng.random()
    if roll < VOLUNTEERS_LISTED:
        others = [(key, value) for key, value in character.listed.items() if key != asked]
        others = [pair for pair in others if pair[0] in ATTRIBUTES[character.role]]
        return rng.choice(others) if others else None
    if roll < VOLUNTEERS_LISTED + VOLUNTEERS_UNLISTED:
        keys = [key for key in ATTRIBUTES[character.role] if key not in (*character.listed, asked)]
        if keys:
            key = rng.choice(keys)
            made_up = rng.choice(ATTRIBUTES[character.role][key].values)
            return key, character.stated.get(key, made_up)
    return None


def in_character(character: Character, asked: Asked | None, rng: random.Random) -> str:
    """Returns a line without drift.

    Args:
        character: Who speaks.
        asked: What was asked; where it is nothing of the grammar, the speaker talks of a listed fact.
        rng: The randomness.
    """
    attributes = ATTRIBUTES[character.role]
    topics = [key for key in character.listed if key in attributes]
    key = asked.key if asked and asked.key in attributes else rng.choice(topics or [""])
    if not key:
        return rng.choice(HEDGES)
    value = character.value(key)
    if value is None:
        if rng.random() >= IMPROVISES:
            return rng.choice(HEDGES)
        value = rng.choice(attributes[key].values)
    line = answer(character.role, key, value, rng)
    second = _volunteered(character, key, rng)
    return f"{line[:-1]}, and {clause(answer(character.role, *second, rng))}" if second else line
