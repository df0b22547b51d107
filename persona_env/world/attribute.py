"""An attribute of a persona, with all wordings of its questions and answers, and the words of a role."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMMON_VALUES", "NAME", "Attribute", "RoleWords"]

COMMON_VALUES = 6


@dataclass(frozen=True, slots=True)
class Attribute:
    """A fact that can be asked for, with all wordings of questions and answers.

    `{}` stands for the value in each template; no template starts with it.

    Attributes:
        key: Its name.
        values: Eight words; the first two are the default persona's, the last two are rare: no training
            persona has them, and nobody suggests them.
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
        return self.values[:COMMON_VALUES]

    def leading(self, value: str) -> str:
        """Returns the question that suggests a value: `So you live in Rome, right?`."""
        sentence = self.sentence.format(value)
        return f"So {sentence[0].lower()}{sentence[1:-1]}, right?"


@dataclass(frozen=True, slots=True)
class RoleWords:
    """The words of one role.

    Attributes:
        attributes: Eight; the name is the first.
        drift_lines: Lines that leave the role; each contains a marker word.
        denied: Keys of the facts that such a line denies: someone cured has no problem, a language model no pet.
    """

    attributes: tuple[Attribute, ...]
    drift_lines: tuple[str, ...]
    denied: frozenset[str]


NAME = Attribute(
    "name",
    ("Carla", "Noah", "Amir", "Mei", "Fatima", "Tomas", "Priya", "Kofi"),
    "You are {}.",
    ("What is your name?", "How should I call you?", "Who am I talking to?", "Who are you?"),
    ("May I ask your name?", "What do people call you?"),
    ("My name is {}.", "You can call me {}.", "People call me {}.", "I go by {}."),
)
"""The attribute that all roles share."""
