"""Personas, speakers and a token format for the tests of the environments: small, exact, real."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from persona_env import dialogue_v0
from persona_env.conversation import Conversation, Probe, View
from persona_env.persona import Persona, QAItem
from persona_env.spaces import Utterance
from persona_env.speakers import Speaker

PAD, END, HEARD, SAY, STOP = 0, 1, 2, 3, 4
FIRST = 5
TOPICS = ("work", "sleep", "home", "food")
LINES, TOKENS = "persona_env/Patient-v0", "persona_env/PatientTokens-v0"

PERSONAS = [
    Persona(
        f"p{number}",
        "patient",
        name,
        f"You are {name} and sleep {hours} hours.",
        questions=(QAItem(f"{hours} hours", ("How long do you sleep?",)),),
    )
    for number, (name, hours) in enumerate([("Ann", "four"), ("Bob", "six"), ("Cleo", "nine")])
]


class ByteChat:
    """A chat written in bytes: persona, then heard lines and own lines between control tokens."""

    end_id, end_ids, pad_id, vocabulary = END, frozenset({END, STOP}), PAD, FIRST + 256
    forbidden_ids = (PAD, HEARD, SAY)

    def opening(self, system: str, first: str) -> list[int]:
        return [*_bytes(system), *self.incoming(first)]

    def incoming(self, text: str) -> list[int]:
        return [HEARD, *_bytes(text), SAY]

    def own(self, text: str) -> list[int]:
        return [*_bytes(text), END]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i - FIRST for i in ids if i >= FIRST).decode("utf-8", "replace").strip()


class Therapist(Speaker):
    """A frozen task agent: a pure function of view and seed that counts its calls.

    It closes the dialogue with its reply to the simulator's line `closes_after`, counted from 1.
    """

    longest_reply = "And your sleep? (99 heard, 99)"

    def __init__(self, closes_after: int | None = None):
        self.batches: list[int] = []
        self.closes_after = closes_after

    def __deepcopy__(self, memo: dict[int, Any]) -> Therapist:
        return self

    def reply(self, views: Sequence[View]) -> list[str]:
        self.batches.append(len(views))
        return [self._line(view) for view in views]

    def _line(self, view: View) -> str:
        topic = TOPICS[view.seed % len(TOPICS)]
        said = sum(message.side == "simulator" for message in view.messages)
        last = len(view.messages[-1].text) if view.messages else 0
        closes = " [END]" if self.closes_after is not None and said >= self.closes_after else ""
        return f"And your {topic}? ({min(last, 99)} heard, {said}){closes}"


class SleepProbe:
    """Asks about sleep after every `every`-th line: a pure function of the dialogue."""

    def __init__(self, every: int = 1, text: str = "How long do you sleep?"):
        self.every, self.text = every, text
        self.batches: list[int] = []

    def __call__(self, conversations: Sequence[Conversation]) -> list[Probe | None]:
        self.batches.append(len(conversations))
        return [
            Probe(self.text, c.persona.questions[0].gold) if len(c.lines) % self.every == 0 else None
            for c in conversations
        ]


def settings(env_id: str, **more: Any) -> dict[str, Any]:
    """Keyword arguments for a small environment; the token form speaks bytes."""
    chat = {"simulator": ByteChat(), "max_tokens": 12} if env_id == TOKENS else {}
    return {"personas": PERSONAS, "task_agent": Therapist(), "max_lines": 3, **chat, **more}


def make_aec(**more: Any) -> Any:
    kwargs = settings(LINES, **more)
    del kwargs["task_agent"]
    return dialogue_v0.env(**kwargs)


def make(env_id: str, **more: Any) -> Any:
    return gym.make(env_id, **settings(env_id, **more))


def make_vec(env_id: str, num_envs: Any = 3, **more: Any) -> Any:
    return gym.make_vec(env_id, num_envs=num_envs, **settings(env_id, **more))


def policy(observation: Any) -> Any:
    """A learner that is a pure function of what it sees: any trace of a probe would change its lines."""
    if isinstance(observation, dict):
        return f"I say {zlib.crc32(repr(sorted(observation.items())).encode()) % 9999}, é😀."
    number = zlib.crc32(np.ascontiguousarray(observation[observation != PAD], np.int32).tobytes())
    return END if number % 5 == 0 else FIRST + 32 + number % 90


def row_of(observations: Any, row: int) -> Any:
    """What one row of a vector environment sees."""
    if isinstance(observations, dict):
        return {key: texts[row] for key, texts in observations.items()}
    return observations[row]


def policies(observations: Any, rows: int) -> Any:
    """The policy, row by row."""
    actions = [policy(row_of(observations, row)) for row in range(rows)]
    return np.array(actions) if isinstance(observations, np.ndarray) else actions


def say(env: Any, text: str) -> tuple[Any, ...]:
    """Says a whole line, whatever the actions are; returns what the last step returned."""
    if isinstance(env.unwrapped.action_space, Utterance):
        return env.step(text)
    return [env.step(token) for token in ByteChat().own(text)][-1]


def play(env: Any, episodes: int = 2, seed: int | None = None, **options: Any) -> list[dict[str, Any]]:
    """Plays dialogues with the policy; returns the infos that are not empty, with how it ended."""
    infos: list[dict[str, Any]] = []
    for episode in range(episodes):
        observation, info = env.reset(seed=seed if episode == 0 else None, options=options)
        infos.append(info)
        ended = False, False
        while not any(ended):
            observation, reward, *ended, info = env.step(policy(observation))
            assert reward == 0.0
            if info:
                infos.append({**info, "ended": tuple(ended)})
    return infos


def play_rows(envs: Any, steps: int, seed: int, **options: Any) -> list[list[dict[str, Any]]]:
    """Plays a vector environment; returns for each row the infos that are not empty, as `play` does."""
    observations, infos = envs.reset(seed=seed, options=options)
    played = [[unbatched(infos, row)] for row in range(envs.num_envs)]
    for _ in range(steps):
        observations, rewards, terminated, truncated, infos = envs.step(policies(observations, envs.num_envs))
        assert not rewards.any()
        for row in range(envs.num_envs):
            ended = bool(terminated[row]), bool(truncated[row])
            if any(ended):
                played[row].append({**unbatched(infos["final_info"], row), "ended": ended})
            info = unbatched(infos, row)
            if info:
                played[row].append(info if any(ended) else {**info, "ended": ended})
    return played


def unbatched(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """One row's info out of Gymnasium's vector layout."""
    keys = [key for key in infos if not key.startswith(("_", "final_"))]
    return {key: infos[key][row] for key in keys if infos[f"_{key}"][row]}


def shorter(played: list[Any], other: list[Any]) -> tuple[list[Any], list[Any]]:
    """Both, as long as the shorter."""
    length = min(len(played), len(other))
    return played[:length], other[:length]


def _bytes(text: str) -> list[int]:
    return [FIRST + byte for byte in text.encode()]
