"""Either side of the two-agent dialogue for Gymnasium; a speaker acts for the other one."""

from __future__ import annotations

from operator import index
from typing import Any, cast

import gymnasium as gym
import numpy as np
from pettingzoo import AECEnv

from persona_env.envs.aec_env import SIMULATOR, TASK, AECState, DialogueAEC
from persona_env.envs.base_env import OneDialogue
from persona_env.envs.engine import check_render_mode
from persona_env.envs.episode import SEEDS, Info
from persona_env.errors import InputError
from persona_env.speakers import Speaker, load_speaker

__all__ = ["SingleAgentEnv"]


class SingleAgentEnv(OneDialogue, gym.Env[dict[str, str], str]):
    """One of the two agents learns, and a speaker plays the other: the same code for either side.

    - Observation, action, end: those of the learner in `DialogueAEC`.
    - Reward: what the learner is paid between two of its steps, wrappers of the AEC environment included.
    - Info: that of the learner's own step.

    As the simulator, with the same partner, this is `DialogueEnv`, dialogue for dialogue. The learner is the `agent`
    `simulator_0` or `task_0`; the `partner` is the spec of a speaker, or one such as a trained simulator.

    >>> from persona_env.persona import Persona
    >>> aec = DialogueAEC(personas=[Persona("p1", "patient", "Ann", "You are Ann.")])
    >>> env = SingleAgentEnv(aec, agent="task_0", partner="scripted")
    >>> observation, info = env.reset(seed=0)
    >>> observation["dialogue"], env.step("Who are you?")[0]["dialogue"].splitlines()[0]
    ('', 'you: Who are you?')
    """

    def __init__(
        self,
        aec: AECEnv[str, Any, Any],
        *,
        agent: str = SIMULATOR,
        partner: str | Speaker = "scripted",
        render_mode: str | None = None,
    ):
        if agent not in (SIMULATOR, TASK):
            raise InputError(f"Expected agent {SIMULATOR} or {TASK}, got {agent!r}: choose one of these.")
        if not isinstance(aec.unwrapped, DialogueAEC):
            raise InputError(f"Expected an environment of persona_env.dialogue_v0, got {aec}: use its env().")
        self.aec, self.agent, self.render_mode = aec, agent, check_render_mode(render_mode)
        self.dialogue: DialogueAEC = aec.unwrapped
        self._engine, self._episode = self.dialogue._engine, self.dialogue._episode
        self.partner = load_speaker(partner)
        self.observation_space = aec.observation_space(agent)
        self.action_space = aec.action_space(agent)
        self._partner_rng = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, str], Info]:
        """Begins a dialogue and plays it up to the learner's first line."""
        super().reset(seed=None if seed is None else index(seed))
        if seed is not None:  # a stream of its own: `seed` itself is that of the dialogue
            self._partner_rng = np.random.default_rng([seed, 1])
        self.aec.reset(seed=seed, options=options)
        self._play_partner()
        observation, _, _, _, info = self._last()
        return observation, info

    def step(self, action: str) -> tuple[dict[str, str], float, bool, bool, Info]:
        """Says the learner's line, and lets the partner speak until the learner's next turn."""
        self.aec.step(action)
        self._play_partner()
        return self._last()

    def _last(self) -> tuple[dict[str, str], float, bool, bool, Info]:
        _, reward, terminated, truncated, info = self.aec.last(observe=False)
        observation = cast("dict[str, str]", self.aec.observe(self.agent))
        return observation, float(reward), terminated, truncated, dict(info)

    def _play_partner(self) -> None:
        for acting in self.aec.agent_iter():
            if acting == self.agent:
                return
            over = self.aec.terminations[acting] or self.aec.truncations[acting]
            self.aec.step(None if over else self._partner_line(acting))

    def _partner_line(self, agent: str) -> str:
        seed = int(self._partner_rng.integers(SEEDS)) if agent == SIMULATOR else 0
        return self.partner.reply([self.dialogue.view(agent, seed)])[0]

    def close(self) -> None:
        """Closes the AEC environment."""
        self.aec.close()

    def snapshot(self) -> tuple[AECState, dict[str, Any]]:
        """Returns the state of the dialogue, and of the generator that seeds a partner who plays the simulator."""
        return self.dialogue.snapshot(), dict(self._partner_rng.bit_generator.state)

    def restore(self, state: tuple[AECState, dict[str, Any]]) -> dict[str, str]:
        """Goes back to a snapshot and returns the observation there."""
        dialogue, self._partner_rng.bit_generator.state = state
        self.dialogue.restore(dialogue)
        return self.dialogue.observe(self.agent)
