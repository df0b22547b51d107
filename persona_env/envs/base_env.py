"""What the two Gymnasium forms of the dialogue share: one episode, its snapshot and its view."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

import gymnasium as gym
from gymnasium import spaces

from persona_env.conversation import Conversation, View
from persona_env.envs.engine import DialogueEngine
from persona_env.envs.episode import Episode, EpisodeState, Info
from persona_env.envs.observations import transcript

__all__ = ["BaseDialogueEnv"]

Observation = TypeVar("Observation")
Action = TypeVar("Action")


class BaseDialogueEnv(gym.Env[Observation, Action], ABC):
    """One dialogue at a time; a form says what is observed and what completes a line."""

    metadata: dict[str, Any] = {  # noqa: RUF012 (as Gymnasium declares it)
        "render_modes": ["ansi"],
        "render_fps": 1,
    }
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]

    def __init__(self, engine: DialogueEngine, episode: Episode, render_mode: str | None):
        self._engine, self._episode, self.render_mode = engine, episode, render_mode

    @abstractmethod
    def _observe(self) -> Observation:
        """Returns what the simulator sees now."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begins a dialogue; the task agent opens it.

        Args:
            seed: Starts the randomness anew.
            options: `persona`, `scenario`, `probe_fns`; see the class.
        """
        super().reset(seed=seed)
        self._episode.rng = self.np_random
        self._engine.prepare([self._episode], options)
        self._engine.reply([self._episode])
        return self._observe(), {"persona": self._episode.conversation.persona}

    def _complete(self, text: str | None) -> tuple[Observation, float, bool, bool, Info]:
        """Completes a line or an answer, if there is one, and returns what a step returns."""
        info: Info = {}
        episode = self._episode
        if text is not None:
            ((_, info),) = self._engine.complete([episode], [text])
            if episode.probe is None and not episode.over:
                self._engine.reply([episode])
        return self._observe(), 0.0, episode.terminated, episode.truncated, info

    def render(self) -> str | None:  # type: ignore[override]
        """Returns the dialogue as text, if `render_mode` is `ansi`."""
        return transcript(self.view()) if self.render_mode == "ansi" else None

    @property
    def max_lines(self) -> int:
        """The simulator's lines in one dialogue, at most."""
        return self._engine.max_lines

    @property
    def conversation(self) -> Conversation:
        """The dialogue so far."""
        return self._episode.conversation

    @property
    def probing(self) -> bool:
        """Whether an answer to a probe is due, not a line."""
        return self._episode.probe is not None

    @property
    def skipped_probes(self) -> int:
        """How many probes had no room, over all dialogues."""
        return self._episode.skipped

    def view(self, seed: int = 0) -> View:
        """Returns the dialogue as a speaker sees it that is to say the next line (or answer)."""
        return self._episode.view(seed)

    def snapshot(self) -> EpisodeState:
        """Returns all of the environment's state, as plain data that pickles."""
        return self._episode.snapshot()

    def restore(self, state: EpisodeState) -> Observation:
        """Goes back to a snapshot, generator and pending probe included.

        Returns:
            The observation at that point. The probe functions stay those of the last reset.
        """
        self._episode.rng = self.np_random
        self._episode.restore(state)
        return self._observe()
