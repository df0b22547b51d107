"""Remote judges, and dialogues to be judged by them."""

from __future__ import annotations

import threading
from typing import Any

import gymnasium as gym
import numpy as np

import persona_wrappers as pw
from persona_env.judges import Judge, load_judge
from tests.envs.parts import LINES, TOKENS, ByteChat, Therapist, policies
from tests.wrappers.playing import CLASSES, NAMES, WEIGHTS, line_of

LONG = 60.0  # seconds after which a handshake has failed


class Exact(Judge):
    """The exact judge, as a remote one or not; keeps its batches, and refuses to be in two calls at once."""

    def __init__(self, is_remote=True):
        self.inside, self.is_remote, self.batches, self.threads = load_judge("oracle"), is_remote, [], []
        self._turn = threading.Lock()

    def judge(self, queries):
        assert self._turn.acquire(blocking=False), "the judge is in two calls at once"
        try:
            self.batches.append(list(queries))
            self.threads.append(threading.current_thread())
            return self.verdicts(queries)
        finally:
            self._turn.release()

    def verdicts(self, queries):
        return self.inside.judge(queries)


class Hanging(Exact):
    """Waits in its first call until it is cancelled, and tells when it began."""

    def __init__(self):
        super().__init__()
        self.began, self.ended, self.cancelled = (threading.Event() for _ in range(3))

    def verdicts(self, queries):
        self.began.set()
        if self.ended.is_set():
            return super().verdicts(queries)
        try:
            assert self.cancelled.wait(LONG)
            raise ConnectionAbortedError("cancelled")
        finally:
            self.ended.set()

    def cancel(self):
        self.cancelled.set()


class Failing(Exact):
    """Cannot judge at its third call."""

    def __init__(self, error, is_remote=True):
        super().__init__(is_remote)
        self.error = error

    def verdicts(self, queries):
        if len(self.batches) == 3:
            raise self.error
        return super().verdicts(queries)


class Moody(Therapist):
    """Closes some dialogues with its reply to the second line, and others not."""

    def _line(self, view):
        closes = len(view.messages) == 4 and len(view.messages[1].text) % 2
        return super()._line(view) + (" [END]" if closes else "")


def dialogues(form=LINES, num_envs=3, **more: Any) -> Any:
    """Dialogues of at most three lines, some of which the task agent closes after two."""
    chat = {"simulator": ByteChat(), "max_tokens": 12} if form == TOKENS else {}
    settings = {"task_agent": Moody(), "max_lines": 3}
    return gym.make_vec(form, num_envs, **{**settings, **chat, **more})


def wrapped(envs, judge, kind) -> Any:
    """A stack of all rewards with one judge, or all of them in one wrapper."""
    if kind == "joint":
        return pw.vector.ConsistencyRewards(envs, WEIGHTS, judge, every=2)
    for name in NAMES:
        more: dict[str, Any] = {} if name in ("copying", "repetition") else {"judge": judge}
        more |= {"every": 2} if name == "question_answer" else {}
        envs = getattr(pw.vector, CLASSES[name])(envs, weight=WEIGHTS[name], **more)
    return envs


def actions_on(observation, rows):
    """What a learner says that is a pure function of what it sees."""
    if isinstance(observation, np.ndarray):
        return policies(observation, rows)
    return [line_of({key: texts[row] for key, texts in observation.items()}) for row in range(rows)]


def played(envs, steps, seed: int | None = 3):
    """Everything that each step returns, as texts that can be compared."""
    observation, info = envs.reset(seed=seed)
    found = [repr((observation, info))]
    with np.printoptions(threshold=10**6):
        for _ in range(steps):
            observation, rewards, *flags, info = envs.step(actions_on(observation, envs.num_envs))
            found.append(repr((observation, rewards.tolist(), flags, sorted(info.items()))))
    return found


def nobody_judges():
    judging = [thread for thread in threading.enumerate() if thread.name == "persona-env judging"]
    for thread in judging:
        thread.join(LONG)  # a call that was cancelled before it started ends at once
    return not any(thread.is_alive() for thread in judging)
