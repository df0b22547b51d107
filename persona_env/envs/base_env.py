"""What the forms of the dialogue share: their episodes, what is observed, and what completes a line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import index
from typing import Any, TypeVar

import gymnasium as gym
from gymnasium import spaces

from persona_env.conversation import Conversation, View
from persona_env.envs.engine import DialogueEngine
from persona_env.envs.episode import Episode, EpisodeState, Info
from persona_env.envs.observations import transcript

__all__ = ["BaseDialogueEnv", "DialogueForm", "OneDialogue"]

Observation = TypeVar("Observation")
Action = TypeVar("Action")


class DialogueForm(ABC):
    """N episodes, and what one action is in them: a line, or a token. The spaces are those of one dialogue."""

    engine: DialogueEngine
    episodes: Sequence[Episode]
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]

    @abstractmethod
    def observe(self, index: int) -> Any:
        """Returns what is seen now in one dialogue; the caller may keep it."""

    @abstractmethod
    def observe_all(self) -> Any:
        """Returns what is seen now in all dialogues; the caller may keep it."""

    @abstractmethod
    def say(self, actions: Any) -> tuple[Sequence[int], Sequence[str]]:
        """Takes N actions; returns the indices of the dialogues whose line is now complete, and these lines."""


class OneDialogue:
    """What is told of the dialogue of an environment that holds one at a time."""

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 (as Gymnasium declares it)
    render_mode: str | None
    _engine: DialogueEngine
    _episode: Episode

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
        """Whether the simulator owes an answer to a probe, not a line."""
        return self._episode.probe is not None

    def render(self) -> str | None:
        """Returns the dialogue as the simulator sees it, if `render_mode` is `ansi`."""
        return transcript(self._episode.view()) if self.render_mode == "ansi" else None


class BaseDialogueEnv(OneDialogue, gym.Env[Observation, Action]):
    """One dialogue at a time, in the form that is given."""

    def __init__(self, form: DialogueForm):
        self._form, self._engine, self.render_mode = form, form.engine, form.engine.render_mode
        (self._episode,) = form.episodes
        self.observation_space, self.action_space = form.observation_space, form.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begins a dialogue; the task agent opens it. The options are those that the class names."""
        super().reset(seed=None if seed is None else index(seed))
        self._episode.rng = self.np_random
        self._engine.prepare([self._episode], options)
        self._engine.reply([self._episode])
        return self._form.observe(0), {"persona": self._episode.conversation.persona}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, Info]:
        """Says a line or a token; a line that it completes may be the answer to the pending probe.

        Raises:
            InputError: If the action is no line of text, or no token id.
            ResetNeeded: If no dialogue goes on.
        """
        info: Info = {}
        episode = self._episode
        episode.check_goes_on()
        _, lines = self._form.say([action])
        if lines:
            ((_, info),) = self._engine.complete([episode], lines)
            if episode.probe is None and not episode.over:
                self._engine.reply([episode])
        return self._form.observe(0), 0.0, episode.terminated, episode.truncated, info

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
        """Goes back to a snapshot, except for the probe functions; returns the observation there."""
        self._episode.rng = self.np_random
        self._episode.restore(state)
        return self._form.observe(0)
