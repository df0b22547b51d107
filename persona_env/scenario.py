"""Under which conditions a dialogue takes place: the task agent's prompt, its length, fact updates, probes."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from os.path import expanduser
from pathlib import Path
from typing import Any, TypeAlias

from persona_env.errors import InputError, printable, shown
from persona_env.persona import Fact, Persona, QAItem

__all__ = ["FactUpdate", "ProbePlan", "Scenario", "ScenarioSource", "load_scenario"]


@dataclass(frozen=True, slots=True)
class FactUpdate:
    """From one line on, something else is true of the persona: a licensed change, not drift.

    Each fact takes the place of the sentence that states the old one of its key in the description, or is appended, and
    the gold answers that ask for its key follow it. An update without facts or description puts `text` behind the
    description.

    >>> home = Fact("home", "Oslo", "You live in Oslo.")
    >>> ann = Persona("p1", "patient", "Ann", "You are Ann. You live in Oslo.", (home,))
    >>> moved = Fact("home", "Bergen", "You live in Bergen.")
    >>> FactUpdate(2, "You have moved to Bergen.", (moved,)).applied_to(ann).description
    'You are Ann. You live in Bergen.'
    """

    before_line: int  # the first of the simulator's lines for which it holds, from 0
    text: str  # what the simulator is told before that line; the task agent does not see it
    facts: tuple[Fact, ...] = ()
    description: str = ""  # the whole of it from then on

    def __post_init__(self) -> None:
        if self.before_line < 0 or not self.text.strip():
            raise InputError(
                f"Expected a fact update with a text and before_line >= 0, got {self.text!r:.40} before line "
                f"{self.before_line}: say what has changed, and from which line on."
            )
        object.__setattr__(self, "facts", _made(Fact, self.facts))

    def applied_to(self, persona: Persona) -> Persona:
        """Returns who the persona is once this holds."""
        description, facts, questions = persona.description, persona.facts, persona.questions
        for fact in self.facts:
            old = next((known for known in facts if known.key == fact.key), None)
            facts = (*(fact if known.key == fact.key else known for known in facts), *(() if old else (fact,)))
            if old is not None and old.text and old.text in description:
                description = description.replace(old.text, fact.text)
            elif fact.text:
                description = f"{description} {fact.text}"
            questions = tuple(_follow(item, old, fact) if item.key == fact.key else item for item in questions)
        if not self.facts:
            description = f"{description} {self.text.strip()}"
        return replace(
            persona,
            description=self.description or description,
            facts=facts,
            hidden=tuple(key for key in persona.hidden if key not in {fact.key for fact in self.facts}),
            questions=questions,
        )


def _follow(item: QAItem, old: Fact | None, new: Fact) -> QAItem:
    """Returns a question with the gold answer that the new fact gives it."""
    states_it = old is not None and old.value and old.value in item.gold
    gold = item.gold.replace(old.value, new.value) if old is not None and states_it else new.value
    choices = tuple(gold if choice == item.gold else choice for choice in item.choices)
    return replace(item, gold=gold, choices=item.choices if gold in item.choices else choices)


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """When the simulator is asked about its persona; `metrics.ProbeSchedule` says what."""

    every: int | None = None  # after each `every`-th line; None: once per dialogue, after a pseudo-random line
    within: int = 8  # where it is asked once: after one of so many first lines, if the dialogue gets there
    held_out: bool = False  # in the wordings reserved for evaluation

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise InputError(f"Expected every >= 1 or None, got {self.every}: None asks once.")
        if self.within < 1:
            raise InputError(f"Expected within >= 1, got {self.within}: give a number of lines.")


@dataclass(frozen=True, slots=True)
class Scenario:
    """The conditions of one dialogue. Without one, the role's own apply.

    >>> Scenario("move", updates=[{"before_line": 2, "text": "You have moved to Bergen."}]).updates[0].before_line
    2
    """

    id: str = ""  # its name in logs and reports
    task_prompt: str = ""  # in place of the role's; the persona's scene stands behind it
    max_lines: int | None = None  # the simulator's lines; None for as many as the environment allows
    updates: tuple[FactUpdate, ...] = ()  # what becomes true of the persona, in the order of their lines
    probes: ProbePlan | None = None  # besides what wrappers ask

    def __post_init__(self) -> None:
        if self.max_lines is not None and self.max_lines < 1:
            raise InputError(f"Expected max_lines >= 1 in a scenario, got {self.max_lines}: give at least one line.")
        updates = _made(FactUpdate, self.updates)
        object.__setattr__(self, "updates", tuple(sorted(updates, key=lambda update: update.before_line)))
        if self.probes is not None:
            object.__setattr__(self, "probes", _made(ProbePlan, [self.probes])[0])

    def persona_at(self, persona: Persona, index: int) -> Persona:
        """Returns who a persona is before the simulator's line `index`."""
        for update in self.updates:
            if update.before_line <= index:
                persona = update.applied_to(persona)
        return persona

    def first_line_of_facts(self, index: int) -> int:
        """Returns since which line the facts have been as they are before line `index`; 0 without updates."""
        return max((update.before_line for update in self.updates if update.before_line <= index), default=0)

    def told_before(self, index: int) -> list[str]:
        """Returns what the simulator is told just before its line `index`."""
        return [update.text for update in self.updates if update.before_line == index]


ScenarioSource: TypeAlias = "Scenario | Mapping[str, Any] | str | PathLike[str] | None"
"""A scenario, its fields, the path of a TOML or JSON file with them, or None."""


def load_scenario(source: ScenarioSource) -> Scenario:
    """Returns a scenario from what an environment's keyword or reset option gives; None is the empty one."""
    if isinstance(source, Scenario):
        return source
    if source is None:
        return Scenario()
    fields = _read(Path(expanduser(source))) if isinstance(source, str | PathLike) else source
    return _made(Scenario, [fields])[0]


def _read(path: Path) -> Any:
    try:
        if not path.is_file():  # reading a pipe may never end
            raise FileNotFoundError("there is no such file")
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        why = printable(str(error))[:160]
        raise InputError(f"Expected a scenario in TOML or JSON at {str(path)!a:.200}, got {why}: check it.") from None


def _made(kind: Any, entries: Sequence[Any]) -> tuple[Any, ...]:
    """Returns records of a kind; entries that are mappings of its fields are made into one."""
    known = [field.name for field in dataclasses.fields(kind)]
    made = list[Any]()
    for entry in entries:
        is_fields = isinstance(entry, Mapping) and set(entry) <= set(known)
        try:
            made.append(kind(**entry) if is_fields else entry)
        except TypeError:
            made.append(entry)
        if not isinstance(made[-1], kind):
            raise InputError(
                f"Expected a {kind.__name__} with fields among {', '.join(known)}, got {shown(entry)}: correct it."
            )
    return tuple(made)
