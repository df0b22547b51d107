"""What the two Gymnasium forms of the dialogue share: one row, its snapshot and its view."""

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

    def __init__(self, stage: DialogueEngine, row: Episode, render_mode: str | None):
        self._stage, self._row, self.render_mode = stage, row, render_mode

    @abstractmethod
    def _observe(self) -> Observation:
        """Returns what the simulator sees now."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begins a dialogue; the task agent opens it.

        Args:
            seed: Starts the randomness anew.
            options: `persona`, `probe_fns`; see the class.
        """
        super().reset(seed=seed)
        self._row.rng = self.np_random
        self._stage.prepare([self._row], options)
        self._stage.reply([self._row])
        return self._observe(), {"persona": self._row.conversation.persona}

    def _settled(self, text: str | None) -> tuple[Observation, float, bool, bool, Info]:
        """Returns what a step returns, once the line it completed (if it did) has been settled."""
        info = {} if text is None else self._stage.settle([self._row], [text])[0]
        return self._observe(), 0.0, self._row.terminated, self._row.truncated, info

    def render(self) -> str | None:  # type: ignore[override]
        """Returns the dialogue as text, if `render_mode` is `ansi`."""
        return transcript(self.view()) if self.render_mode == "ansi" else None

    @property
    def max_lines(self) -> int:
        """The simulator's lines in one dialogue, at most."""
        return self._stage.max_lines

    @property
    def conversation(self) -> Conversation:
        """The dialogue so far."""
        return self._row.conversation

    @property
    def probing(self) -> bool:
        """Whether an answer to a question on the side is due, not a line."""
        return self._row.probe is not None

    @property
    def skipped_probes(self) -> int:
        """How many questions had no room, over all dialogues."""
        return self._row.skipped

    def view(self, seed: int = 0) -> View:
        """Returns the dialogue as a speaker sees it that is to say the next line (or answer)."""
        return self._row.view(seed)

    def snapshot(self) -> EpisodeState:
        """Returns all of the environment's state, as plain data that pickles."""
        return self._row.snapshot()

    def restore(self, state: EpisodeState) -> Observation:
        """Goes back to a snapshot, generator and pending question included.

        Returns:
            The observation at that point. The probe_fns stay those of the last reset.
        """
        self._row.rng = self.np_random
        self._row.restore(state)
        return self._observe()
