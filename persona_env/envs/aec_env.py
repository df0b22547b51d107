"""The dialogue as a PettingZoo environment: the simulator and the task agent both act, in turns."""

from __future__ import annotations

from copy import deepcopy
from operator import index
from typing import Any, TypeAlias, Unpack

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from pettingzoo import AECEnv
from pettingzoo.utils.conversions import turn_based_aec_to_parallel_wrapper

from persona_env.conversation import View
from persona_env.envs.base_env import OneDialogue
from persona_env.envs.engine import DialogueEngine, DialogueSettings, check_count
from persona_env.envs.episode import INCOMING_CHARACTERS, Episode, EpisodeState, Info
from persona_env.envs.observations import checked_line, line_space, reading, reading_space
from persona_env.spaces import Utterance

__all__ = ["SIMULATOR", "TASK", "AECState", "DialogueAEC", "ParallelDialogue"]

SIMULATOR, TASK = "simulator_0", "task_0"

_STATE = (
    *("agents", "agent_selection", "_skip_agent_selection", "terminations", "truncations"),
    *("rewards", "_cumulative_rewards", "infos", "_seed", "_cycles"),
)

AECState: TypeAlias = tuple[EpisodeState, dict[str, Any]]
"""The dialogue, and what PettingZoo's interface tells of it and its agents: plain data that pickles."""


class DialogueAEC(OneDialogue, AECEnv[str, dict[str, str], str | None]):
    """A simulated person and a task agent speak in turns; both act from outside.

    - Agents: `task_0`, which opens, and `simulator_0`.
    - Observation: `Dict(prompt=Utterance, dialogue=Utterance)`, the dialogue as the agent sees it.
      The task agent never sees the persona, nor a probe, nor a fact update.
    - Action: `Utterance`, the agent's next line. A simulator that is probed acts again.
    - Reward: 0.0 for both; the drift rewards are wrappers.
    - Ends (`terminated` for both) as in `DialogueEnv`; `truncated` after `max_cycles` steps of the simulator.
    - Info: of the simulator as in `DialogueEnv`; of the task agent `reply`, `conversation`. It is
      cleared when the agent acts.
    - Settings and options of reset: those of `DialogueEnv`, without `task_agent`.

    A frozen speaker acts by `env.step(speaker.reply([env.unwrapped.view(agent)])[0])`: the
    view holds the seed of its reply, so that it says what it says in the other forms.

    >>> from persona_env.persona import Persona
    >>> env = DialogueAEC(personas=[Persona("p1", "patient", "Ann", "You are Ann.")])
    >>> env.reset(seed=0)
    >>> env.agent_selection, env.step("How are you?"), env.agent_selection
    ('task_0', None, 'simulator_0')
    >>> env.last()[0]["dialogue"]
    'therapist: How are you?'
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as PettingZoo declares it)
        "name": "dialogue_v0",
        "render_modes": ["ansi"],
        "render_fps": 1,
        "is_parallelizable": False,
    }

    def __init__(
        self,
        role: str = "patient",
        *,
        max_cycles: int | None = None,
        **settings: Unpack[DialogueSettings],
    ):
        super().__init__()
        self._engine = DialogueEngine(role, task_agent=None, **settings)
        self._episode = Episode(np.random.default_rng(), self._engine.max_lines)
        self._max_cycles = None if max_cycles is None else check_count("max_cycles", max_cycles)
        self._seed, self._cycles, self.render_mode = 0, 0, self._engine.render_mode
        self.possible_agents = [SIMULATOR, TASK]
        self._lines = {SIMULATOR: line_space(self._engine.max_tokens), TASK: Utterance(INCOMING_CHARACTERS)}
        self._readings = {name: reading_space(self._engine) for name in self._lines}

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Returns the space of what an agent reads."""
        return self._readings[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Returns the space of an agent's lines."""
        return self._lines[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begins a dialogue; the task agent is to open it."""
        if seed is not None:
            self._episode.rng, _ = seeding.np_random(index(seed))
        self._engine.prepare([self._episode], options)
        self._cycles, self._skip_agent_selection = 0, None
        self.agents = list(self.possible_agents)
        self.rewards, self._cumulative_rewards = dict.fromkeys(self.agents, 0.0), dict.fromkeys(self.agents, 0.0)
        self.infos = {SIMULATOR: {"persona": self._episode.conversation.persona}, TASK: {}}
        self._note_end()
        self._pass_to_task()

    def _note_end(self) -> None:
        self.terminations = dict.fromkeys(self.agents, self._episode.terminated)
        self.truncations = dict.fromkeys(self.agents, self._episode.truncated)

    def _pass_to_task(self) -> None:
        self.agent_selection, self._seed = TASK, self._episode.draw_seed()

    def step(self, action: str | None) -> None:
        """Says the next line of the agent whose turn it is (None for one that has ended)."""
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        text = checked_line(action, self._lines[agent])
        self._cumulative_rewards[agent] = 0.0
        self.infos[agent] = self._answer(text) if agent == TASK else self._speak(text)
        self._note_end()
        self._clear_rewards()
        self._accumulate_rewards()
        if self._episode.over:
            self._deads_step_first()

    def _answer(self, text: str) -> Info:
        reply = self._episode.hear(text)
        self.agent_selection = SIMULATOR
        return {"reply": reply, "conversation": self._episode.conversation}

    def _speak(self, text: str) -> Info:
        ((_, info),) = self._engine.complete([self._episode], [text])
        self._cycles += 1
        if self._cycles == self._max_cycles and not self._episode.terminated:
            self._episode.truncated = True
        if self._episode.probe is None and not self._episode.over:
            self._pass_to_task()
        return info

    def observe(self, agent: str) -> dict[str, str]:
        """Returns what an agent reads now."""
        return reading(self.view(agent))

    def view(self, agent: str, seed: int = 0) -> View:
        """Returns what an agent's next speaker sees; `seed` is the simulator's, the task agent has one of its own."""
        if agent == TASK:
            return self._episode.conversation.view("task", self._seed)
        return self._episode.view(seed)

    def close(self) -> None:
        """Does nothing; PettingZoo asks for it beside `render`."""

    def snapshot(self) -> AECState:
        """Returns all of the environment's state, as plain data that pickles."""
        return self._episode.snapshot(), deepcopy({name: vars(self)[name] for name in _STATE})

    def restore(self, state: AECState) -> None:
        """Goes back to a snapshot; the probe functions stay those of the last reset."""
        episode, own = state
        self._episode.restore(episode)
        vars(self).update(deepcopy(own))


class ParallelDialogue(turn_based_aec_to_parallel_wrapper[str, dict[str, str], str]):
    """The dialogue with PettingZoo's parallel interface: all act, `info["active_agent"]` says whose action counts."""

    @property
    def agents(self) -> list[str]:  # type: ignore[override]  # a restore of the environment inside changes them too
        """Those that still have a step to take."""
        return self.aec_env.agents

    @agents.setter
    def agents(self, agents: list[str]) -> None:
        """Ignored: PettingZoo's conversion sets here what the environment inside says."""

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, dict[str, str] | None], dict[str, Info]]:
        """Begins a dialogue."""
        observations, infos = super().reset(seed=seed, options=options)
        active = self.aec_env.agent_selection
        return observations, {name: {**infos[name], "active_agent": active} for name in infos}

    def step(self, actions: dict[str, str | None]) -> Any:
        """Says the line of the agent whose turn it is; the other's info is empty in this step."""
        acting = self.aec_env.agent_selection if self.agents else None
        *others, infos = super().step(actions)
        for name in infos.keys() - {acting}:
            infos[name] = {"active_agent": self.aec_env.agent_selection}
        return *others, infos
