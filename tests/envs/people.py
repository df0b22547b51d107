"""People, speakers and a token format for the tests of the environments: small, exact, real."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from persona_env.conversation import Conversation, ProbeQuestion, View
from persona_env.persona import Persona, QAItem

PAD, END, HEARD, SAY, STOP = 0, 1, 2, 3, 4
FIRST = 5
TOPICS = ("work", "sleep", "home", "food")

CAST = [
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

    def opening(self, system: str, heard: str) -> list[int]:
        return [*_bytes(system), *self.heard(heard)]

    def heard(self, text: str) -> list[int]:
        return [HEARD, *_bytes(text), SAY]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i - FIRST for i in ids if i >= FIRST).decode("utf-8", "replace").strip()


class Therapist:
    """A frozen task agent: a pure function of view and seed that counts its calls."""

    longest_reply = "And your sleep? (99 heard, 9)"

    def __init__(self, closes_after: int | None = None):
        self.batches: list[int] = []
        self.closes_after = closes_after

    def reply(self, views: Sequence[View]) -> list[str]:
        self.batches.append(len(views))
        return [self._line(view) for view in views]

    def _line(self, view: View) -> str:
        topic = TOPICS[view.seed % len(TOPICS)]
        said = [message.text for message in view.messages if message.own]
        closes = self.closes_after is not None and len(said) > self.closes_after
        last = len(view.messages[-1].text) if view.messages else 0
        return f"And your {topic}? ({min(last, 99)} heard, {len(said)}){' [END]' if closes else ''}"


class Interview:
    """Asks about sleep after every `every`-th line: a pure function of the dialogue."""

    def __init__(self, every: int = 1, text: str = "How long do you sleep?"):
        self.every, self.text = every, text
        self.batches: list[int] = []

    def __call__(self, conversations: Sequence[Conversation]) -> list[ProbeQuestion | None]:
        self.batches.append(len(conversations))
        return [
            ProbeQuestion(f"{self.text} {len(c.lines)}", c.persona.questions[0].gold)
            if len(c.lines) % self.every == 0
            else None
            for c in conversations
        ]


def line_policy(observation: dict[str, str]) -> str:
    """A learner that is a pure function of what it sees: any trace of a probe would change its lines."""
    return f"I say {zlib.crc32(repr(sorted(observation.items())).encode()) % 9999}, é😀."


def token_policy(context: np.ndarray) -> int:
    """A learner of tokens that is a pure function of what it sees."""
    number = zlib.crc32(np.ascontiguousarray(context[context != PAD], np.int32).tobytes())
    return END if number % 5 == 0 else FIRST + 32 + number % 90


def play(env: Any, policy: Callable[[Any], Any], episodes: int = 2, **reset: Any) -> list[dict[str, Any]]:
    """Plays dialogues and returns their infos, each as it came."""
    infos = []
    for episode in range(episodes):
        seed = reset.get("seed") if episode == 0 else None
        observation, info = env.reset(seed=seed, options=reset.get("options"))
        infos.append(info)
        over = False
        while not over:
            observation, reward, terminated, truncated, info = env.step(policy(observation))
            assert reward == 0.0
            over = terminated or truncated
            infos.append({**info, "terminated": terminated, "truncated": truncated})
    return infos


def _bytes(text: str) -> list[int]:
    return [FIRST + byte for byte in text.encode()]
