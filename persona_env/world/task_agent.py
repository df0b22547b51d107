"""The frozen task agent of the embedded world: reacts to the last line, then asks for one fact."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from persona_env.world.lexicon import ATTRIBUTES, WORDS, Attribute
from persona_env.world.reading import Reading, read_asked, read_line

__all__ = ["ASKING", "AskingSettings", "ask", "longest_question"]


@dataclass(frozen=True, slots=True)
class AskingSettings:
    """How the task agent talks; probabilities in [0, 1]."""

    warm: float = 0.25  # emotion or praise after an ordinary line
    warm_after_marker: float = 0.6  # the same after a line that left the role
    echo: float = 0.15  # repeats the value that was just stated
    returns: float = 0.35  # comes back to a fact that was asked for or stated before
    leads: float = 0.06  # a question that comes back is a leading one
    leads_first: float = 0.02  # a question that is asked for the first time is a leading one
    held_out: float = 0.0  # uses a wording that only evaluation uses (in pretraining only)


ASKING = AskingSettings()


@cache
def longest_question() -> str:
    """Returns a line at least as long, in characters, as any that the task agent says."""
    attributes = [a for role in ATTRIBUTES.values() for a in role.values()]
    questions = [text for a in attributes for text in (*a.questions, *a.held_out)]
    questions += [a.leading(value) for a in attributes for value in a.values]
    reactions = [*WORDS.greetings, *WORDS.plain_reactions, *WORDS.warm_reactions, WORDS.hedge_reaction]
    reactions += [WORDS.echo_reaction.format(value) for a in attributes for value in a.values]
    return f"{max(reactions, key=len)} {max(questions, key=len)}"


def _reaction(last: Reading, settings: AskingSettings, rng: random.Random) -> str:
    if last.left_role and rng.random() < settings.warm_after_marker:
        return rng.choice(WORDS.warm_reactions)
    if last.hedges and rng.random() < 0.5:
        return WORDS.hedge_reaction
    if last.facts and rng.random() < settings.echo:
        return WORDS.echo_reaction.format(last.facts[0][1])
    return rng.choice(WORDS.warm_reactions if rng.random() < settings.warm else WORDS.plain_reactions)


def _threads(readings: Sequence[Reading], asked: Sequence[str]) -> dict[str, int]:
    """The facts to come back to, with weights: three times as much for one that was volunteered."""
    weights = dict.fromkeys(asked, 1)
    for key, reading in zip(asked, readings, strict=False):
        for stated, _ in reading.facts:
            weights[stated] = max(weights.get(stated, 0), 2 if stated == key else 3)
    if asked:
        weights.pop(asked[-1], None)
    return weights


def _wording(
    attribute: Attribute, known: str | None, leads: float, settings: AskingSettings, rng: random.Random
) -> str:
    if rng.random() < leads:
        return attribute.leading(rng.choice([v for v in attribute.common if v != known]))
    held_out = settings.held_out and rng.random() < settings.held_out
    return rng.choice(attribute.held_out if held_out else attribute.questions)


def _question(
    role: str, readings: Sequence[Reading], asked: Sequence[str], settings: AskingSettings, rng: random.Random
) -> str:
    attributes = ATTRIBUTES[role]
    threads = {key: w for key, w in _threads(readings, asked).items() if key in attributes}
    if threads and rng.random() < settings.returns:
        key = rng.choices(list(threads), list(threads.values()))[0]
    else:
        key = rng.choice([key for key in attributes if key not in asked[-1:]])
    stated = {key: value for reading in readings for key, value in reading.facts}
    leads = settings.leads if key in threads else settings.leads_first
    return _wording(attributes[key], stated.get(key), leads, settings, rng)


def ask(
    role: str, incoming: Sequence[str], own: Sequence[str], rng: random.Random, settings: AskingSettings = ASKING
) -> str:
    """Returns the task agent's next line, given the simulator's lines so far and its own."""
    readings = [read_line(line, role) for line in incoming]
    asked = [found.key for found in map(read_asked, own) if found]
    reaction = _reaction(readings[-1], settings, rng) if readings else rng.choice(WORDS.greetings)
    question = _question(role, readings, asked, settings, rng)
    return f"{reaction} {question}".strip()
