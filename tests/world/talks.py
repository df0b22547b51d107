"""Dialogues of the speaker that never drifts."""

import random

from persona_env.conversation import Conversation
from persona_env.persona import Persona
from persona_env.world.scripted import ScriptedSpeaker


def played(persona: Persona, lines: int = 8, seed: int = 0) -> Conversation:
    talk, speaker, rng = Conversation(persona), ScriptedSpeaker(), random.Random(seed)
    for _ in range(lines):
        talk = talk.with_reply(speaker.reply([talk.view("task", rng.randrange(2**63))])[0])
        talk = talk.with_line(speaker.reply([talk.view("simulator", rng.randrange(2**63))])[0])
    return talk
