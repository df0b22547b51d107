"""The form for PettingZoo: a `BaseWrapper` that pays the simulator in an AEC environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pettingzoo import AECEnv
from pettingzoo.utils import BaseWrapper

from persona_env.errors import InputError
from persona_env.judges.base import Judge
from persona_env.metrics.rewards import RewardFunction, RewardStats, RewardTerm, event_in

__all__ = ["AECReward"]

_SIMULATOR = "simulator_0"


class AECReward(RewardStats, BaseWrapper[Any, Any, Any]):
    """Adds what the terms pay for a completed line or answer to the reward of `simulator_0`.

    What it pays is added to the sums of the environment inside, so that a snapshot of that one holds it.

    Args:
        env: An AEC environment of dialogues.
        terms: What is paid for.
        judge: A judge, its spec, or None if no term asks one.
    """

    def __init__(self, env: AECEnv[Any, Any, Any], terms: Sequence[RewardTerm], judge: str | Judge | None):
        super().__init__(env)
        if _SIMULATOR not in env.possible_agents:
            raise InputError(
                f"Expected a dialogue environment with agent {_SIMULATOR}, got {env} with "
                f"{env.possible_agents}: wrap persona_env.dialogue_v0."
            )
        self.reward_function = RewardFunction(terms, judge)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Resets the environment; terms that ask questions join its probe_fns."""
        super().reset(seed=seed, options=self.reward_function.joined(options))

    def step(self, action: Any) -> None:
        """Steps the acting agent and adds to the simulator's reward and info."""
        agent = self.env.agent_selection
        was_dead = self.env.terminations[agent] or self.env.truncations[agent]
        super().step(action)
        if agent == _SIMULATOR and not was_dead:  # its info is that of this step; other agents' may be older
            self._pay(self.env.infos[agent])

    def _pay(self, info: dict[str, Any]) -> None:
        event = event_in(info)
        for payment in self.reward_function.pay([event] if event else []):
            self.env.rewards[_SIMULATOR] += payment.reward
            self.env._cumulative_rewards[_SIMULATOR] += payment.reward
            info[payment.key] = payment.value
