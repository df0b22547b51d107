"""How dialogues are played: all of them at once, one batched call a turn for each side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from persona_env.conversation import Conversation
from persona_env.envs.persona_source import resolve_personas
from persona_env.evaluation.eval_log import Sample
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.metrics import Answer, ProbeSchedule
from persona_env.persona import Persona
from persona_env.speakers import Speaker

__all__ = ["play", "reply_seed"]


def reply_seed(*parts: int) -> int:
    """Returns a seed in [0, 2**63) that depends on all parts.

    >>> reply_seed(1, 2) == reply_seed(1, 2) != reply_seed(2, 1)
    True
    """
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def play(
    simulator: Speaker,
    suite: EvalSuite,
    personas: Sequence[Persona] | None = None,
    tick: Callable[[int], None] = lambda lines: None,
) -> list[Sample]:
    """Plays the dialogues of a suite and returns them, without verdicts, in the order of the personas.

    Args:
        simulator: Who plays the personas.
        suite: What is played.
        personas: Who is simulated; where None, those of the suite's split, in order.
        tick: Called after each step with the number of lines and answers that were said.
    """
    if personas is None:
        found = resolve_personas(suite.role, suite.personas, suite.split)
        personas = [found[i % len(found)] for i in range(suite.dialogues)]
    envs: Any = gym.make_vec(
        "persona_env/Dialogue-v0",
        role=suite.role,
        num_envs=len(personas),
        personas=personas,
        task_agent=suite.task_agent,
        max_lines=suite.lines,
        max_tokens=suite.max_tokens or simulator.max_tokens or 24,
    )
    schedule = ProbeSchedule(every=suite.questions_every, held_out=True)
    envs.reset(seed=suite.seed, options={"personas": personas, "probe_fns": (schedule.ask,)})
    rows = [_Row(number, suite.seed) for number in range(len(personas))]
    while unfinished := [row for row in rows if not row.done]:
        seeds = [row.seed(asked) for row, asked in zip(rows, envs.unwrapped.probing, strict=True)]
        views = envs.unwrapped.views(seeds)
        lines = simulator.reply([views[row.number] for row in unfinished])
        actions = [""] * len(rows)
        for row, line in zip(unfinished, lines, strict=True):
            actions[row.number] = line
        _, _, terminated, truncated, infos = envs.step(tuple(actions))
        for row in unfinished:
            row.take(infos, bool(terminated[row.number] or truncated[row.number]))
        tick(len(unfinished))
    envs.close()
    return [row.sample() for row in rows]


class _Row:
    """What one row of the vector environment has said so far."""

    def __init__(self, number: int, seed: int):
        self.number, self.done = number, False
        self._seed, self._lines = seed, 0
        self._conversation: Conversation | None = None
        self._answers: list[Answer] = []

    def seed(self, asked: bool) -> int:
        """Returns the same seed for the same line, whether or not questions were asked before it."""
        return reply_seed(self._seed, self.number, self._lines, 1 + len(self._answers) if asked else 0)

    def take(self, infos: dict[str, Any], done: bool) -> None:
        """Notes the line or the answer that a step has completed."""
        source = infos["final_info"] if done else infos
        if np.asarray(source.get("_answer", ()), bool)[self.number : self.number + 1].any():
            question, text = source["probe"][self.number], source["answer"][self.number]
            self._answers.append(Answer(self._lines - 1, question, text))
        elif np.asarray(source.get("_line", ()), bool)[self.number : self.number + 1].any():
            self._conversation = source["conversation"][self.number]
            self._lines += 1
        self.done = done

    def sample(self) -> Sample:
        """Returns the dialogue."""
        assert self._conversation is not None, "a dialogue ended without a line"
        return Sample(self._conversation, tuple(self._answers))
