"""How dialogues are played: all of them at once, one batched call a turn for each side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from persona_env.conversation import Conversation
from persona_env.envs.persona_source import resolve_personas
from persona_env.evaluation.eval_suite import Dialogue, EvalSuite
from persona_env.metrics import Answer, ProbeSchedule
from persona_env.persona import Persona
from persona_env.speakers import Speaker

__all__ = ["play", "reply_seed"]


def reply_seed(*parts: int) -> int:
    """Returns a seed in [0, 2**63) that depends on all parts: the same place, the same randomness.

    >>> reply_seed(1, 2) == reply_seed(1, 2) != reply_seed(2, 1)
    True
    """
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def play(
    simulator: Speaker,
    suite: EvalSuite,
    people: Sequence[Persona] | None = None,
    tick: Callable[[int], None] = lambda lines: None,
) -> list[Dialogue]:
    """Plays the dialogues and returns them in the order of the people.

    Args:
        simulator: Who plays the personas.
        suite: What is played.
        people: The personas, where they are known already; else those of the suite' split in order.
        tick: Called after each step with the number of lines and answers said.
    """
    people = [*people] if people is not None else _people(suite)
    envs: Any = gym.make_vec(
        "persona_env/Dialogue-v0",
        role=suite.role,
        num_envs=len(people),
        personas=people,
        task_agent=suite.task_agent,
        max_lines=suite.lines,
        max_tokens=suite.max_tokens or getattr(simulator, "max_tokens", 24),
    )
    schedule = ProbeSchedule(every=suite.questions_every, held_out=True)
    envs.reset(seed=suite.seed, options={"personas": people, "probe_fns": (schedule.ask,)})
    records = [_Record(row, suite.seed) for row in range(len(people))]
    while waiting := [record for record in records if not record.done]:
        seeds = [record.seed(asked) for record, asked in zip(records, envs.unwrapped.probing, strict=True)]
        views = envs.unwrapped.views(seeds)
        lines = simulator.reply([views[record.row] for record in waiting])
        actions = [""] * len(records)
        for record, line in zip(waiting, lines, strict=True):
            actions[record.row] = line
        _, _, terminated, truncated, infos = envs.step(tuple(actions))
        for record in waiting:
            record.take(infos, bool(terminated[record.row] or truncated[record.row]))
        tick(len(waiting))
    envs.close()
    return [record.played() for record in records]


def _people(suite: EvalSuite) -> list[Persona]:
    found = resolve_personas(suite.role, suite.personas, suite.split)
    return [found[i % len(found)] for i in range(suite.dialogues)]


class _Record:
    """What one row of the vector environment has said so far."""

    def __init__(self, row: int, seed: int):
        self.row, self.done = row, False
        self._seed, self._lines = seed, 0
        self._conversation: Conversation | None = None
        self._answers: list[Answer] = []

    def seed(self, asked: bool) -> int:
        """The same for the same line whether questions were asked before it or not."""
        return reply_seed(self._seed, self.row, self._lines, 1 + len(self._answers) if asked else 0)

    def take(self, infos: dict[str, Any], done: bool) -> None:
        source = infos["final_info"] if done else infos
        if np.asarray(source.get("_answer", ()), bool)[self.row : self.row + 1].any():
            question, text = source["probe"][self.row], source["answer"][self.row]
            self._answers.append(Answer(self._lines - 1, question, text))
        elif np.asarray(source.get("_line", ()), bool)[self.row : self.row + 1].any():
            self._conversation = source["conversation"][self.row]
            self._lines += 1
        self.done = done

    def played(self) -> Dialogue:
        assert self._conversation is not None, "a dialogue ended without a line"
        return Dialogue(self._conversation, tuple(self._answers))
