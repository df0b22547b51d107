"""Labels made from the embedded world: the oracle's verdicts on lines of a speaker that drifts."""

import random
from collections.abc import Iterator

from persona_env.calibration.label_file import Labelled
from persona_env.judges import LineVsHistory, LineVsPersona
from persona_env.world import personas
from persona_env.world.drift import DRIFTING, Moment, say
from persona_env.world.grammar import remember
from persona_env.world.oracle import OracleJudge
from persona_env.world.reading import read_asked
from persona_env.world.task_agent import ask


def drifted_votes(count: int = 24, lines: int = 6, role: str = "patient") -> Iterator[Labelled]:
    """Yields a label for each line against the persona, and from the second on against the lines before."""
    oracle = OracleJudge()
    for persona in personas(role, "dev")[:count]:
        rng = random.Random(persona.id)
        heard, own = list[str](), list[str]()
        for turn in range(lines):
            heard.append(ask(role, heard, own, rng))
            character = remember(role, persona.description, own)
            line, _ = say(character, Moment(turn, read_asked(heard[-1])), DRIFTING, rng)
            asked = [LineVsPersona(persona, line, heard[-1]), LineVsHistory(role, line, tuple(own))]
            for question, verdict in zip(asked, oracle.judge(asked), strict=True):
                assert verdict.label in ("consistent", "inconsistent")
                if turn or isinstance(question, LineVsPersona):
                    yield Labelled(question, verdict.label, persona.id)
            own.append(line)
