"""The form for one environment: a `gymnasium.Wrapper` around a dialogue."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from persona_env.errors import InputError
from persona_env.judges.base import Judge, Query, Verdict
from persona_env.metrics.rewards import RewardFunction, RewardStats, RewardTerm, event_in

__all__ = ["GymReward", "check_dialogue", "lines_of"]


class SharedJudge:
    """A judge that a copied spec shares instead of copying: it may hold a model or a connection."""

    def __init__(self, judge: Judge):
        self.wrapped = judge

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the wrapped judge's verdicts."""
        return self.wrapped.judge(questions)

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedJudge:
        return self

    def __repr__(self) -> str:
        return repr(self.wrapped)


def recordable(judge: str | Judge) -> str | SharedJudge:
    """Returns a judge as the constructor arguments in a spec may hold it."""
    return judge if isinstance(judge, str | SharedJudge) else SharedJudge(judge)


def check_dialogue(info: dict[str, Any], env: object) -> None:
    """Raises ValueError if a reset info is not that of a dialogue environment."""
    if "persona" not in info:
        raise InputError(
            f"Expected a dialogue environment, got {env}, whose reset info has no 'persona': wrap one of persona_env."
        )


def lines_of(env: Any) -> int:
    """Returns how many lines a dialogue of an environment, or of a vector of them, has at most.

    Raises:
        ValueError: If it does not say.
    """
    inside = env.unwrapped
    lines = getattr(inside, "max_lines", None)
    if lines is None and hasattr(inside, "get_attr"):  # Gymnasium's own vectors
        with contextlib.suppress(AttributeError):
            lines = max(inside.get_attr("max_lines"))
    if lines is None:
        raise InputError(f"Expected a dialogue environment, got {env}, which has no max_lines: give within=.")
    return int(lines)


class GymReward(RewardStats, gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds what a term pays for a completed line or answer to the reward.

    Args:
        env: A dialogue environment.
        term: What is paid for.
        judge: A judge, its spec, or None if the term asks none.
        **arguments: The constructor arguments of the subclass besides env and judge, for its spec.
    """

    def __init__(self, env: gym.Env[Any, Any], term: RewardTerm, judge: str | Judge | None, **arguments: Any):
        if judge is not None:
            arguments["judge"] = recordable(judge)
        RecordConstructorArgs.__init__(self, **arguments)
        gym.Wrapper.__init__(self, env)
        self.reward_function = RewardFunction([term], judge)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environment; terms that ask questions join its probe_fns."""
        observation, info = self.env.reset(seed=seed, options=self.reward_function.joined(options))
        check_dialogue(info, self.env)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the environment and adds to its reward and info."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        event = event_in(info)
        if event is None:
            return observation, reward, terminated, truncated, info
        total, info = float(reward), dict(info)
        for payment in self.reward_function.pay([event]):
            total += payment.reward
            info[payment.key] = payment.value
        return observation, total, terminated, truncated, info
