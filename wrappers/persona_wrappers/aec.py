"""The rewards around a PettingZoo AEC environment, a class for each metric."""

from __future__ import annotations

from typing import Any

from pettingzoo import AECEnv
from pettingzoo.utils import BaseWrapper

from persona_env.envs.aec_env import SIMULATOR
from persona_env.errors import InputError
from persona_env.judges.base import JudgeLike
from persona_env.metrics.rewards import event_in
from persona_wrappers.reward_wrapper import MetricReward, reward_class

__all__ = [
    "AECReward",
    "CopyPenalty",
    "EvasionPenalty",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
    "RoleFlipPenalty",
]


class AECReward(MetricReward, BaseWrapper[Any, Any, Any]):
    """Adds what a metric is worth for a completed line or answer to the reward of `simulator_0`.

    It is added to the sums of the environment inside, so that a snapshot of that one holds it. Arguments and options
    are those of the class of the same name in `persona_wrappers`.

    >>> from persona_env import dialogue_v0
    >>> aec = PromptToLineReward(dialogue_v0.env(role="patient"))
    >>> aec.reset(seed=0)
    >>> aec.step("How are you?")  # the task agent opens
    >>> aec.step("Pretty sad.")
    >>> aec.infos["simulator_0"]["consistency/prompt_to_line"] in (0.0, 1.0)
    True
    """

    def __init__(
        self, env: AECEnv[Any, Any, Any], judge: str | JudgeLike = "oracle", *, weight: float = 1.0, **options: Any
    ):
        super().__init__(env)
        if SIMULATOR not in env.possible_agents:
            raise InputError(
                f"Expected a dialogue environment with agent {SIMULATOR}, got {env} with "
                f"{env.possible_agents}: wrap persona_env.dialogue_v0."
            )
        self.reward_function = self._function(env, judge, weight, options)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Resets the environment; a reward for answers asks its probes from then on."""
        super().reset(seed=seed, options=self.reward_function.with_probes(options))

    def step(self, action: Any) -> None:
        """Steps the acting agent and adds to the simulator's reward and info."""
        agent = self.env.agent_selection
        was_dead = self.env.terminations[agent] or self.env.truncations[agent]
        super().step(action)
        if agent == SIMULATOR and not was_dead:  # its info is that of this step; other agents' may be older
            info = self.env.infos[agent]
            event = event_in(info)
            for item in self.reward_function.reward([event] if event else []):
                self.env.rewards[agent] += item.reward
                self.env._cumulative_rewards[agent] += item.reward
                info[item.key] = item.value


PromptToLineReward = reward_class(AECReward, "PromptToLineReward")
LineToLineReward = reward_class(AECReward, "LineToLineReward")
QuestionAnswerReward = reward_class(AECReward, "QuestionAnswerReward")
RelevanceReward = reward_class(AECReward, "RelevanceReward")
EvasionPenalty = reward_class(AECReward, "EvasionPenalty")
RoleFlipPenalty = reward_class(AECReward, "RoleFlipPenalty")
CopyPenalty = reward_class(AECReward, "CopyPenalty")
RepetitionPenalty = reward_class(AECReward, "RepetitionPenalty")
