"""What else to watch while consistency is trained: refusals, volunteered facts and the length of lines.

Each is read against the zero-drift speaker of the same grammar, not against the base model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from persona_env.conversation import Conversation
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.reading import Reading, read_asked, read_facts, read_line

__all__ = ["TalkGuards", "hedging", "line_words", "style_stats", "volunteering"]

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class TalkGuards:
    """How a simulator talks, apart from its consistency; nan where there was no occasion.

    Attributes:
        hedging: Share of the lines that decline, where an unlisted fact was asked, in [0, 1].
        volunteering: True listed facts that were not asked for, per line, at least 0.
        line_words: Mean length of a line in words.
    """

    hedging: float
    volunteering: float
    line_words: float


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else _NAN


def _listed(talk: Conversation) -> Mapping[str, str]:
    listed: dict[str, str] = {}
    for key, value in read_facts(talk.persona.description):
        listed.setdefault(key, value)
    return listed


def _turns(talk: Conversation) -> Iterator[tuple[str | None, Reading]]:
    """For each line of the simulator, the key that was asked and the line as it reads."""
    role = talk.persona.role
    for index, line in enumerate(talk.lines):
        asked = read_asked(talk.heard_before(index))
        key = asked.key if asked and asked.key in ATTRIBUTES[role] else None
        yield key, read_line(line, role)


def hedging(talks: Sequence[Conversation]) -> float:
    """Returns the share of lines that decline to say, among those where an unlisted fact was asked.

    Trained on relevance and consistency alone, a simulator may stop declining, or do nothing else.
    """
    return _mean(
        [
            float(reading.hedges)
            for talk in talks
            for key, reading in _turns(talk)
            if key is not None and key not in _listed(talk)
        ]
    )


def volunteering(talks: Sequence[Conversation]) -> float:
    """Returns how many true listed facts a line tells beyond what was asked."""
    return _mean(
        [
            float(sum(stated != key and _listed(talk).get(stated) == value for stated, value in reading.facts))
            for talk in talks
            for key, reading in _turns(talk)
        ]
    )


def line_words(talks: Sequence[Conversation]) -> float:
    """Returns the mean number of words in a line."""
    return _mean([float(len(line.split())) for talk in talks for line in talk.lines])


def style_stats(talks: Sequence[Conversation]) -> TalkGuards:
    """Returns the three guards over all lines of all dialogues.

    >>> from persona_env.persona import Persona
    >>> mei = Persona("m", "patient", "Mei", "You are Mei. You sleep four hours a night.")
    >>> talk = Conversation(mei).with_reply("How do you feel today?").with_line("I don't know, sorry.")
    >>> style_stats([talk.with_reply("Who are you?").with_line("I go by Mei, and about four hours.")])
    TalkGuards(hedging=1.0, volunteering=0.5, line_words=6.0)
    """
    return TalkGuards(hedging(talks), volunteering(talks), line_words(talks))
