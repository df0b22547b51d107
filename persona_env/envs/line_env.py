"""The dialogue as a Gymnasium environment in which one action is one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from persona_env.envs.base_env import BaseDialogueEnv, DialogueForm
from persona_env.envs.engine import AnsweredSettings, DialogueEngine, check_count
from persona_env.envs.episode import Episode
from persona_env.envs.observations import checked_line, line_space, reading, reading_space
from persona_env.errors import InputError

__all__ = ["DialogueEnv", "LineForm"]


class LineForm(DialogueForm):
    """N episodes in which one action is one line."""

    def __init__(self, number: int, role: str, **settings: Unpack[AnsweredSettings]):
        self.engine = DialogueEngine(role, **settings)
        number = check_count("num_envs", number)
        self.episodes = [Episode(np.random.default_rng(), self.engine.max_lines) for _ in range(number)]
        self.observation_space = reading_space(self.engine)
        self._line_space = self.action_space = line_space(self.engine.max_tokens)

    def observe(self, index: int) -> dict[str, str]:
        """Returns the prompt and the dialogue of one episode."""
        return reading(self.episodes[index].view())

    def observe_all(self) -> dict[str, tuple[str, ...]]:
        """Returns the prompts and the dialogues of all episodes."""
        seen = [self.observe(i) for i in range(len(self.episodes))]
        return {key: tuple(one[key] for one in seen) for key in ("dialogue", "prompt")}

    def say(self, actions: Any) -> tuple[Sequence[int], Sequence[str]]:
        """Takes one line for each episode."""
        number = len(self.episodes)
        if isinstance(actions, str) or len(actions) != number:
            raise InputError(f"Expected {number} lines of text, got {actions!r:.60}: give one per environment.")
        return range(number), [*map(self.checked, actions)]

    def checked(self, line: Any) -> str:
        """Returns a line as it stands in the dialogue: a text, no longer than lines may be."""
        return checked_line(line, self._line_space)


class DialogueEnv(BaseDialogueEnv[dict[str, str], str]):
    """A simulated person speaks, line by line, with a frozen task agent.

    - Observation: `Dict(prompt=Utterance, dialogue=Utterance)`: the simulator's system prompt, and
      the dialogue as it sees it. A probe stands there as the last line, until it is answered.
    - Action: `Utterance`: the next line; longer ones are cut at 16 characters per `max_tokens`.
    - Reward: 0.0; the drift rewards are wrappers.
    - Ends (`terminated`) when the simulator has said `max_lines` lines, or either side's line holds
      `[END]`; always after the last probe is answered. Never `truncated`.
    - Info: at reset `persona`; after a line `line`, `line_index`, `conversation`; after an answer
      `probe`, `answer`. Never both.
    - Options of reset: `persona` (a `Persona`, or an id of the split), `scenario` (for this dialogue), `probe_fns`
      (callables from the conversations in which a line was completed to a `Probe` or None for each; they ask until a
      reset names others).
    - Settings: `role` (`patient`, `student`, `chat_partner`, or the key or path of another one), and those of
      `AnsweredSettings`: `personas`, `split`, `task_agent`, `max_lines` (8), `max_tokens` (24), `scenario`,
      `render_mode`.

    >>> from persona_env.persona import Persona
    >>> ann = Persona("p1", "patient", "Ann", "You are Ann.")
    >>> env = DialogueEnv(personas=[ann], max_lines=2)
    >>> observation, info = env.reset(seed=0)
    >>> env.step("I cannot sleep.")[0]["dialogue"].splitlines()[1]
    'you: I cannot sleep.'
    """

    def __init__(self, role: str = "patient", **settings: Unpack[AnsweredSettings]):
        super().__init__(LineForm(1, role, **settings))
