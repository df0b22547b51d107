"""How dialogues are played: all of them at once, one batched call a turn for each side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym

from persona_env.conversation import Conversation, Event, LineCompleted
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

    Where no personas are given, they are those of the suite's split, in order. `tick` is called after each step with
    the number of lines and answers that were said.
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
    samples = [Sample(Conversation(persona)) for persona in personas]
    running = range(len(samples))
    while running:
        asking = zip(samples, envs.unwrapped.probing, strict=True)
        views = envs.unwrapped.views([_seed(suite.seed, row, *pair) for row, pair in enumerate(asking)])
        actions = [""] * len(samples)
        for row, line in zip(running, simulator.reply([views[row] for row in running]), strict=True):
            actions[row] = line
        _, _, terminated, truncated, _ = envs.step(tuple(actions))
        for row in running:
            samples[row] = _with_event(samples[row], envs.unwrapped.events[row])
        tick(len(running))
        running = [row for row in running if not (terminated[row] or truncated[row])]
    envs.close()
    return samples


def _seed(seed: int, row: int, sample: Sample, asked: bool) -> int:
    """Returns the same seed for the same line, whether or not questions were asked before it."""
    return reply_seed(seed, row, len(sample.conversation.lines), 1 + len(sample.answers) if asked else 0)


def _with_event(sample: Sample, event: Event) -> Sample:
    """Returns a dialogue with the line or the answer that a step has completed."""
    if isinstance(event, LineCompleted):
        return replace(sample, conversation=event.conversation)
    answer = Answer(len(sample.conversation.lines) - 1, event.probe, event.text)
    return replace(sample, answers=(*sample.answers, answer))
