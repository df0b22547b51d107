"""Pretraining dialogues: drifting speakers and the task agent."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from persona_env.conversation import Conversation
from persona_env.world.drift import DRIFTING, NO_DRIFT, DriftSettings, Moment, say
from persona_env.world.grammar import Manner, remember
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.persona_space import LISTED, make_persona, sample_values
from persona_env.world.reading import is_warm, read_asked
from persona_env.world.task_agent import AskingSettings, ask

__all__ = ["CLEAN", "LONG", "CorpusSettings", "dialogue"]

LEARNING_TO_TALK = AskingSettings(warm=0.35, leads=0.15, leads_first=0.05, held_out=0.3)
"""More of the moves that are rare in the environment, and the wordings that only evaluation uses."""


@dataclass(frozen=True, slots=True)
class CorpusSettings:
    """The kind of dialogues in a stretch of pretraining."""

    lengths: tuple[int, int]  # (shortest, longest) number of the speaker's lines
    drift: DriftSettings = DRIFTING
    asking: AskingSettings = LEARNING_TO_TALK
    long_lengths: tuple[int, int] = (12, 24)  # the same for the share of longer dialogues
    long_share: float = 0.0
    listed: tuple[int, ...] = LISTED  # the possible numbers of facts that a persona lists besides its name


CLEAN = CorpusSettings(
    (6, 10),
    listed=(1, 2, 3, 4, 5, 6),  # much to decline
    drift=replace(NO_DRIFT, manner=Manner(improvises=0.0, volunteers=0.5)),
    asking=AskingSettings(warm=0.0, leads=0.0, leads_first=0.0, held_out=0.33),
)
LONG = CorpusSettings((3, 8), long_share=0.15)


def dialogue(rng: random.Random, settings: CorpusSettings) -> Conversation:
    """Returns one dialogue of a persona that is in neither evaluation split."""
    role = rng.choice(list(ATTRIBUTES))
    talk = Conversation(make_persona(role, sample_values(rng, None), rng, "corpus", settings.listed))
    long = rng.random() < settings.long_share
    asked_lines: list[str] = []
    lines: list[str] = []
    drifted = False
    for turn in range(rng.randint(*(settings.long_lengths if long else settings.lengths))):
        reply = ask(role, lines, asked_lines, rng, settings.asking)
        character = remember(role, talk.persona.prompt, lines)
        moment = Moment(turn, read_asked(reply), is_warm(reply), drifted)
        line, drifted = say(character, moment, settings.drift, rng)
        talk = talk.with_reply(reply).with_line(line)
        asked_lines.append(reply)
        lines.append(line)
    return talk
