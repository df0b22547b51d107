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
    """A fact that can be asked for, with all wordings; `{}` stands for the value."""

    key: str
    values: tuple[str, ...]  # eight words
    sentence: str  # how a persona's description states it
    questions: tuple[str, ...]  # in dialogues and in training probes
    held_out: tuple[str, ...]  # questions that only evaluation uses
    answers: tuple[str, ...]  # in the first person; none of them is `sentence` so written
    gold: str = "{}"  # the answer in words

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
    """The words of one role."""

    attributes: tuple[Attribute, ...]  # seven; the name, which all roles share, comes before them
    drift_lines: tuple[str, ...]  # they leave the role; each contains a marker word
    denied: frozenset[str]  # keys of the facts that such a line denies: a language model has no pet


@dataclass(frozen=True, slots=True)
class Words:
    """What `words.toml` holds."""

    name: Attribute  # which all roles share
    roles: Mapping[str, RoleWords]
    markers: frozenset[str]  # a line with one of these has left the role
    hedges: tuple[str, ...]  # refusals to say
    greetings: tuple[str, ...]
    plain_reactions: tuple[str, ...]
    warm_reactions: tuple[str, ...]  # emotion and praise: what a speaker drifts after
    hedge_reaction: str
    echo_reaction: str  # what the task agent says to a value


WORDS = msgspec.convert(tomllib.loads(files("persona_env.world").joinpath("words.toml").read_text("utf-8")), Words)
ATTRIBUTES: Mapping[str, Mapping[str, Attribute]] = {
    role: {attribute.key: attribute for attribute in (WORDS.name, *its.attributes)} for role, its in WORDS.roles.items()
}
"""The eight attributes of each role, by key."""
