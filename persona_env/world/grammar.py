"""Lines of a speaker that never drifts: true facts, improvisations that it repeats, and refusals."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from persona_env.world.lexicon import ATTRIBUTES, WORDS
from persona_env.world.reading import Asked, clause, listed_facts, read_line

__all__ = ["MANNER", "Character", "Manner", "answer", "in_character", "remember"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a speaker in character talks; probabilities in [0, 1]."""

    improvises: float = 0.7  # an unlisted fact that is asked for is made up instead of declined
    volunteers: float = 0.2  # a line adds a second fact that the persona lists
    embroiders: float = 0.08  # a line adds one that is made up on the spot


MANNER = Manner()


@dataclass(frozen=True, slots=True)
class Character:
    """What a speaker knows of itself before its next line."""

    role: str
    listed: Mapping[str, str]  # what its persona states
    stated: Mapping[str, str]  # what it has added so far, the first value for each key; it repeats these

    def value(self, key: str) -> str | None:
        """Returns the speaker's value so far; None if it has none yet."""
        return self.listed.get(key) or self.stated.get(key)


def remember(role: str, system: str, own: Sequence[str]) -> Character:
    """Reads a character from its system prompt and its own earlier lines.

    >>> remember("chat_partner", "You are Mei. You live in Rome.", ["I order tea."]).stated
    {'drink': 'tea'}
    """
    listed = listed_facts(system)
    stated: dict[str, str] = {}
    for line in own:
        for key, value in read_line(line, role).facts:
            if key not in listed:
                stated.setdefault(key, value)
    return Character(role, listed, stated)


def answer(role: str, key: str, value: str, rng: random.Random) -> str:
    """Returns an answer that states a value, in a random wording."""
    return rng.choice(ATTRIBUTES[role][key].answers).format(value)


def _volunteered(character: Character, asked: str, manner: Manner, rng: random.Random) -> tuple[str, str] | None:
    """A second fact for the same line: mostly a listed one, now and then one made up on the spot."""
    attributes, roll = ATTRIBUTES[character.role], rng.random()
    if roll < manner.volunteers:
        others = [key for key in character.listed if key in attributes and key != asked]
        key = rng.choice(others) if others else None
        return (key, character.listed[key]) if key else None
    if roll < manner.volunteers + manner.embroiders:
        open_keys = [key for key in attributes if key not in (*character.listed, asked)]
        key = rng.choice(open_keys) if open_keys else None
        return (key, character.stated.get(key) or rng.choice(attributes[key].values)) if key else None
    return None


def in_character(character: Character, asked: Asked | None, rng: random.Random, manner: Manner = MANNER) -> str:
    """Returns a line without drift; asked nothing of the grammar, the speaker talks of a listed fact."""
    attributes = ATTRIBUTES[character.role]
    topics = [key for key in character.listed if key in attributes]
    key = asked.key if asked and asked.key in attributes else rng.choice(topics or [""])
    if not key:
        return rng.choice(WORDS.hedges)
    value = character.value(key)
    if value is None:
        if rng.random() >= manner.improvises:
            return rng.choice(WORDS.hedges)
        value = rng.choice(attributes[key].values)
    line = answer(character.role, key, value, rng)
    second = _volunteered(character, key, manner, rng)
    return f"{line[:-1]}, and {clause(answer(character.role, *second, rng))}" if second else line
