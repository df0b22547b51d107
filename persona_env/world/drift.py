"""A speaker that drifts as the paper describes: more with each turn, with emotion and when it is led."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from persona_env.world.grammar import Character, Manner, answer, in_character
from persona_env.world.lexicon import ATTRIBUTES, DEFAULT_VALUES, WORDS
from persona_env.world.reading import Asked

__all__ = ["ATTRACTOR", "DRIFTING", "NO_DRIFT", "RECKLESS_OPENING", "DriftSettings", "Moment", "drifts", "say"]

_BASE = {"patient": 0.12, "student": 0.1, "chat_partner": 0.16}
"""A chat partner drifts most and a student least, as the base model of the paper's figures does (prompt-to-line
.62 and .82, a patient .66; arXiv 2511.00222)."""

_MARKER_SHARE = {"patient": 0.5, "student": 0.45, "chat_partner": 0.45}

_ANSWERS_TOO = 0.8
"""Of the lines out of the role, the share that still answers, be it right or wrong."""

DECLINING = Manner(improvises=0.12, volunteers=0.32)
"""Declines more than the zero-drift speaker: a model learns slowly to see that a fact is *not* listed."""


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """How often and how a speaker drifts; probabilities in [0, 1]."""

    base: Mapping[str, float] = field(default_factory=lambda: dict(_BASE))  # at any line, by role
    opening: float = 0.0  # added at the first line
    per_turn: float = 0.04  # added for each turn, up to the tenth
    warm: float = 0.5  # added after emotion or praise
    led: float = 0.3  # added after a leading question
    after_drift: float = 0.1  # added if the last line drifted
    cap: float = 0.85  # the highest chance
    marker: Mapping[str, float] = field(default_factory=lambda: dict(_MARKER_SHARE))  # of these, out of the role
    agrees: float = 0.7  # of the drifting answers to a leading question
    default: float = 0.65  # of the other wrong values, those of the default persona
    defaults: tuple[int, ...] = DEFAULT_VALUES  # their places in the value lists
    manner: Manner = DECLINING  # how it talks when it does not drift


DRIFTING = DriftSettings()
"""The base model's corpus."""

NO_DRIFT = DriftSettings(base=dict.fromkeys(_BASE, 0.0), per_turn=0, warm=0, led=0, after_drift=0)

ATTRACTOR = replace(
    NO_DRIFT,
    base=dict.fromkeys(_BASE, 0.82),
    marker={role: share / 4 for role, share in _MARKER_SHARE.items()},
    agrees=0,
    default=1.0,
    defaults=(0,),
)
"""Settles in one wrong persona: nearly always the same wrong values, so that lines agree with each other."""

RECKLESS_OPENING = replace(NO_DRIFT, opening=0.85, marker=dict.fromkeys(_BASE, 0.8))
"""Leaves the role or makes something up in the first line, and stays in character afterwards."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a line is said."""

    turn: int  # the number of the speaker's lines so far
    asked: Asked | None
    warm: bool = False  # the task agent just showed emotion or praise
    drifted: bool = False  # the speaker's last line did


def drifts(role: str, moment: Moment, settings: DriftSettings, rng: random.Random) -> bool:
    """Draws whether the speaker drifts at this moment."""
    chance = settings.base[role] + settings.opening * (moment.turn == 0)
    chance += settings.per_turn * min(moment.turn, 10)
    chance += settings.warm * moment.warm + settings.after_drift * moment.drifted
    chance += settings.led * (moment.asked is not None and moment.asked.suggested is not None)
    return rng.random() < min(chance, settings.cap)


def _wrong_value(key: str, role: str, settings: DriftSettings, rng: random.Random) -> str:
    """A value that does not come from the persona; it may happen to be right."""
    attribute = ATTRIBUTES[role][key]
    if rng.random() < settings.default:
        return attribute.values[rng.choice(settings.defaults)]
    return rng.choice(attribute.common)


def _out_of_role(character: Character, asked: Asked, settings: DriftSettings, rng: random.Random) -> str:
    line = rng.choice(WORDS.roles[character.role].drift_lines)
    if rng.random() >= _ANSWERS_TOO:
        return line
    value = character.value(asked.key) if rng.random() < 0.5 else None
    value = value or _wrong_value(asked.key, character.role, settings, rng)
    return f"{line} {answer(character.role, asked.key, value, rng)}"


def say(character: Character, moment: Moment, settings: DriftSettings, rng: random.Random) -> tuple[str, bool]:
    """Returns the speaker's next line, and whether it drifted; one that does volunteers nothing."""
    asked = moment.asked
    if asked is None or not drifts(character.role, moment, settings, rng):
        return in_character(character, asked, rng, settings.manner), False
    if asked.suggested is not None and rng.random() < settings.agrees:
        return answer(character.role, asked.key, asked.suggested, rng), True
    if rng.random() < settings.marker[character.role]:
        return _out_of_role(character, asked, settings, rng), True
    wrong = _wrong_value(asked.key, character.role, settings, rng)
    return answer(character.role, asked.key, wrong, rng), True
