"""Refusals, volunteered facts and the length of lines, to be read against the zero-drift speaker of the grammar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from persona_env.conversation import Conversation
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.reading import Reading, listed_facts, read_asked, read_line

__all__ = ["hedging", "line_words", "volunteering"]


def _mean(values: Sequence[float]) -> float:
    """The mean; nan where there was no occasion."""
    return fmean(values) if values else float("nan")


def _turns(talk: Conversation) -> Iterator[tuple[str | None, Reading]]:
    """For each line of the simulator, the key that was asked and the line as it reads."""
    role = talk.persona.role
    for index, line in enumerate(talk.lines):
        asked = read_asked(talk.heard_before(index))
        key = asked.key if asked and asked.key in ATTRIBUTES[role] else None
        yield key, read_line(line, role)


def hedging(talks: Sequence[Conversation]) -> float:
    """Returns the share of lines that decline to say, among those where an unlisted fact was asked."""
    return _mean(
        [
            float(reading.hedges)
            for talk in talks
            for key, reading in _turns(talk)
            if key is not None and key not in listed_facts(talk.persona.description)
        ]
    )


def volunteering(talks: Sequence[Conversation]) -> float:
    """Returns how many true listed facts a line tells beyond what was asked."""
    surplus: list[float] = []
    for talk in talks:
        listed = listed_facts(talk.persona.description)
        surplus += [sum(k != key and listed.get(k) == v for k, v in reading.facts) for key, reading in _turns(talk)]
    return _mean(surplus)


def line_words(talks: Sequence[Conversation]) -> float:
    """Returns the mean number of words in a line."""
    return _mean([float(len(line.split())) for talk in talks for line in talk.lines])
