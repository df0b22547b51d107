"""Who is simulated: a persona, the facts it states, and the questions that check them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from persona_env.errors import InputError

__all__ = ["Fact", "Persona", "QAItem"]


def _as_tuples(record: object, *names: str) -> None:
    """Makes tuples of lists, so that the record can be hashed."""
    for name in names:
        value = getattr(record, name)
        if isinstance(value, str):
            raise InputError(f"Expected {name} to be a list, got the text {value!r:.60}: put it into one.")
        object.__setattr__(record, name, tuple(value))


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is true of a persona, such as `sleep`: `four`, and the sentence that states it."""

    key: str
    value: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class QAItem:
    """A question about the persona with its right answer."""

    gold: str
    wordings: tuple[str, ...]  # as it is asked in training; at least one
    held_out_wordings: tuple[str, ...] = ()  # as it is asked in evaluation; those of training if empty
    choices: tuple[str, ...] = ()  # the options of a multiple-choice question
    key: str = ""  # the fact that it asks for, if there is one

    def __post_init__(self) -> None:
        _as_tuples(self, "wordings", "held_out_wordings", "choices")
        if not self.wordings or not all(text.strip() for text in self.wordings):
            raise InputError(f"Expected a question with words in it, got {self.wordings!r}: fill it in.")
        if len(re.findall(r"[^\W_]", self.gold)) < 2 and not re.search(r"\d|[^\W\d_\u0000-\u2fff]", self.gold):
            # of scripts that write words with one letter, such as Chinese, one letter is enough
            raise InputError(f"Expected a gold answer of at least two letters, got {self.gold!r}: write it in words.")

    def wording(self, number: int, *, held_out: bool = False) -> str:
        """Returns the question in one of its wordings, the `number`-th, counted round."""
        texts = (self.held_out_wordings or self.wordings) if held_out else self.wordings
        return texts[number % len(texts)]


@dataclass(frozen=True, slots=True)
class Persona:
    """A simulated person.

    >>> ann = Persona("p1", "patient", "Ann", "You are Ann. You sleep four hours.")
    >>> ann.prompt
    'You are Ann. You sleep four hours.'
    """

    id: str  # unique; splits are made by it
    role: str  # key of a `Role`, which need be registered only where its texts are used
    name: str
    description: str  # what the simulator is told about itself
    facts: tuple[Fact, ...] = ()  # what the description states, where it is known in structured form
    hidden: tuple[str, ...] = ()  # keys of facts that one may ask about and that the description does not state
    questions: tuple[QAItem, ...] = field(default=(), repr=False)
    scene: str = ""  # what both sides know about the situation

    def __post_init__(self) -> None:
        _as_tuples(self, "facts", "hidden", "questions")
        if not self.role.strip():
            raise InputError(f"Expected the role of persona {self.id!r}, got an empty text: name one.")
        if not self.description.strip():
            raise InputError(f"Expected a description of persona {self.id!r}, got an empty text: write one.")

    @property
    def prompt(self) -> str:
        """The simulator's system prompt: the description, and the scene where there is one."""
        return f"{self.description}\n{self.scene}" if self.scene else self.description

    def value(self, key: str) -> str | None:
        """Returns the stated value of a fact, or None where the description does not state it."""
        return next((fact.value for fact in self.facts if fact.key == key), None)
