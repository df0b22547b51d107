"""The personas of the embedded world: three splits, the same on every machine."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

from persona_env.errors import InputError, printable
from persona_env.persona import Fact, Persona, QAItem
from persona_env.roles import role_named
from persona_env.world.lexicon import ATTRIBUTES, HELD_VALUES, VALUES_PER_ATTRIBUTE
from persona_env.world.reading import reads_description

__all__ = [
    "LISTED",
    "SPLITS",
    "PersonaSpace",
    "are_readable",
    "check_readable",
    "make_persona",
    "personas",
    "sample_values",
    "split_of",
]

SPLITS: Mapping[str, int] = {"train": 4096, "dev": 256, "heldout": 256}
"""The number of personas of each split, per role."""

LISTED = (4, 4, 5, 6)
"""The possible numbers of facts that a persona lists besides the name."""


def _has_held_pair(values: Sequence[int]) -> bool:
    """Neighbouring attributes (in a circle) with the same place in their lists: reserved."""
    return any(values[i] == values[i - 1] for i in range(len(values)))


def split_of(values: Sequence[int]) -> str | None:
    """Returns the split of a persona by the places of its values in their lists, in order; None for none.

    >>> split_of([0, 1, 2, 3, 4, 5, 0, 1]), split_of([6, 6, 2, 3, 4, 5, 0, 1]), split_of([7] * 8)
    ('train', 'heldout', 'dev')
    """
    held = sum(value in HELD_VALUES for value in values)
    if not held and not _has_held_pair(values):
        return "train"
    if held >= 2 and _has_held_pair(values):
        return "heldout" if zlib.crc32(bytes(values)) & 1 else "dev"
    return None


def sample_values(rng: random.Random, split: str | None) -> list[int]:
    """Returns the values of a random person of a split; None is anyone who is in neither dev nor heldout."""
    count = VALUES_PER_ATTRIBUTE - (len(HELD_VALUES) if split == "train" else 0)
    allowed = {None, "train"} if split is None else {split}
    while True:
        values = [rng.randrange(count) for _ in range(VALUES_PER_ATTRIBUTE)]
        if split_of(values) in allowed:
            return values


def make_persona(
    role: str, values: Sequence[int], rng: random.Random, name: str = "", listed: Sequence[int] = LISTED
) -> Persona:
    """Returns a person with these values (as for `split_of`) and the name as its id.

    Its name and some more facts (one of the numbers in `listed`) are listed in random order, the rest is hidden.
    """
    attributes = list(ATTRIBUTES[role].values())
    value = {a.key: a.values[place] for a, place in zip(attributes, values, strict=True)}
    told = [attributes[0], *rng.sample(attributes[1:], rng.choice(listed))]
    facts = tuple(Fact(a.key, value[a.key], a.sentence.format(value[a.key])) for a in told)
    return Persona(
        id=name,
        role=role,
        name=value["name"],
        description=" ".join(fact.text for fact in facts),
        facts=facts,
        hidden=tuple(a.key for a in attributes if a not in told),
        questions=tuple(QAItem(a.gold.format(value[a.key]), a.questions, a.held_out, key=a.key) for a in told),
    )


_DRAWN_AGAIN = frozenset({"patient/heldout/0131", "chat_partner/dev/0035", "chat_partner/heldout/0209"})
"""Those that by chance listed the facts of a training persona, whatever their names: held-out means unseen."""


@lru_cache(1 << 14)
def _person(role: str, split: str, index: int) -> Persona:
    name = f"{role}/{split}/{index:04d}"
    rng = random.Random(f"{name} again" if name in _DRAWN_AGAIN else name)
    return make_persona(role, sample_values(rng, split), rng, name)


@dataclass(frozen=True, slots=True)
class PersonaSpace(Sequence[Persona]):
    """The personas of one role and split, made when they are asked for.

    >>> PersonaSpace("patient", "dev", 256)[17].id
    'patient/dev/0017'
    """

    role: str
    split: str
    size: int

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> Persona: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Persona]: ...
    def __getitem__(self, index: int | slice) -> Persona | Sequence[Persona]:
        if isinstance(index, slice):
            return [self[i] for i in range(self.size)[index]]
        return _person(self.role, self.split, range(self.size)[index])


def are_readable(personas: Iterable[Persona]) -> bool:
    """Returns whether the grammar reads every persona's description: those of `bundled`, and others made of it."""
    return isinstance(personas, PersonaSpace) or not any(map(_is_foreign, personas))


def check_readable(personas: Iterable[Persona], reader: str) -> None:
    """Raises InputError for personas that `reader`, who reads the embedded world's grammar only, cannot read.

    >>> check_readable([Persona("p", "patient", "Mei", "You are Mei. You feel numb most of the time.")], "the oracle")
    """
    found = None if isinstance(personas, PersonaSpace) else next(filter(_is_foreign, personas), None)
    if found:
        raise InputError(
            f"Expected personas in the embedded world's sentences for {reader}, which reads no others, got "
            f"{printable(found.id):.40} ({printable(found.description):.60}): take bundled personas, or another model."
        )


def _is_foreign(persona: Persona) -> bool:
    return not reads_description(persona.description, persona.role)


def personas(role: str, split: str = "train") -> PersonaSpace:
    """Returns the bundled personas of a role and split: 4,096 in train, 256 each in dev and heldout.

    Training personas have no held-out value and no reserved pair of values; dev and heldout personas
    have at least two and one of them, no person is in both, and none lists the same facts as one of training.
    """
    role_named(role)
    if split not in SPLITS:
        raise InputError(f"Expected split to be one of {', '.join(SPLITS)}, got {split!r}: choose one of these.")
    return PersonaSpace(role, split, SPLITS[split])
