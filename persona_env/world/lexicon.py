"""The words of the embedded world, read from `words.toml`: one word is enough to read a line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import msgspec

__all__ = ["ATTRIBUTES", "DEFAULT_VALUES", "HELD_VALUES", "VALUES_PER_ATTRIBUTE", "WORDS", "Attribute", "Words"]

VALUES_PER_ATTRIBUTE = 8
DEFAULT_VALUES = (0, 1)
"""The places of the default persona's values: what a drifting speaker falls back on, as a language model does."""

HELD_VALUES = (6, 7)
"""The places of rare values: no training persona has them, and nobody suggests them."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A fact that can be asked for, with all wordings; `{}` stands for the value.

    Attributes:
        key: Its name.
        values: Eight words.
        sentence: How a persona's description states it.
        questions: Wordings of the question in dialogues and in training probes.
        held_out: Wordings of the question that only evaluation uses.
        answers: First-person answers; none of them is `sentence` in the first person.
        gold: The answer in words.
    """

    key: str
    values: tuple[str, ...]
    sentence: str
    questions: tuple[str, ...]
    held_out: tuple[str, ...]
    answers: tuple[str, ...]
    gold: str = "{}"

    @property
    def common(self) -> tuple[str, ...]:
        """The values that drifting lines use and leading questions suggest."""
        return self.values[: HELD_VALUES[0]]

    def leading(self, value: str) -> str:
        """Returns the question that suggests a value: `So you live in Rome, right?`."""
        sentence = self.sentence.format(value)
        return f"So {sentence[0].lower()}{sentence[1:-1]}, right?"


@dataclass(frozen=True, slots=True)
class RoleWords:
    """The words of one role.

    Attributes:
        attributes: Seven; the name, which all roles share, comes before them.
        drift_lines: Lines that leave the role; each contains a marker word.
        denied: Keys of the facts that such a line denies: someone cured has no problem, a language model no pet.
    """

    attributes: tuple[Attribute, ...]
    drift_lines: tuple[str, ...]
    denied: frozenset[str]


@dataclass(frozen=True, slots=True)
class Words:
    """What `words.toml` holds.

    Attributes:
        name: The attribute that all roles share.
        markers: A line with one of these has left the role.
        hedges: Refusals to say.
        warm_reactions: Emotion and praise: what a speaker drifts after.
        echo_reaction: What the task agent says to a value.
    """

    name: Attribute
    roles: Mapping[str, RoleWords]
    markers: frozenset[str]
    hedges: tuple[str, ...]
    greetings: tuple[str, ...]
    plain_reactions: tuple[str, ...]
    warm_reactions: tuple[str, ...]
    hedge_reaction: str
    echo_reaction: str


WORDS = msgspec.convert(tomllib.loads(files("persona_env.world").joinpath("words.toml").read_text("utf-8")), Words)
ATTRIBUTES: Mapping[str, Mapping[str, Attribute]] = {
    role: {attribute.key: attribute for attribute in (WORDS.name, *its.attributes)} for role, its in WORDS.roles.items()
}
"""The eight attributes of each role, by key."""
