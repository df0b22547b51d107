"""The dialogue as a Gymnasium environment in which one action is one line."""

from __future__ import annotations

import numpy as np

from persona_env.envs.base_env import BaseDialogueEnv
from persona_env.envs.engine import DialogueEngine
from persona_env.envs.episode import Episode, Info
from persona_env.envs.observations import checked_line, line_space, reading, reading_space
from persona_env.envs.persona_source import PersonaSource
from persona_env.scenario import ScenarioSource
from persona_env.speakers import Speaker

__all__ = ["DialogueEnv"]


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

    Args:
        role: `patient`, `student`, `chat_partner`, or the key or path of another role.
        personas: `"bundled"`, `"natural"`, the path of a file, or a list of personas.
        split: `train`, `dev` or `heldout`.
        task_agent: Spec of the speaker that answers, or the speaker.
        max_lines: The simulator's lines in one dialogue, at least 1.
        max_tokens: The length of a line, at least 1.
        scenario: The conditions of the dialogues: a `Scenario`, its fields, or the path of a TOML or JSON file.
        render_mode: None or `ansi`.

    >>> from persona_env.persona import Persona
    >>> ann = Persona("p1", "patient", "Ann", "You are Ann.")
    >>> env = DialogueEnv(personas=[ann], max_lines=2)
    >>> observation, info = env.reset(seed=0)
    >>> env.step("I cannot sleep.")[0]["dialogue"].splitlines()[1]
    'you: I cannot sleep.'
    """

    def __init__(
        self,
        role: str = "patient",
        *,
        personas: PersonaSource = "bundled",
        split: str = "train",
        task_agent: str | Speaker = "scripted",
        max_lines: int = 8,
        max_tokens: int = 24,
        scenario: ScenarioSource = None,
        render_mode: str | None = None,
    ):
        engine = DialogueEngine(role, personas, split, task_agent, max_lines, max_tokens, scenario)
        super().__init__(engine, Episode(np.random.default_rng(), max_lines), render_mode)
        self._line_space = self.action_space = line_space(max_tokens)
        self.observation_space = reading_space(engine)

    def _observe(self) -> dict[str, str]:
        return reading(self.view())

    def step(self, action: str) -> tuple[dict[str, str], float, bool, bool, Info]:
        """Says a line, or answers the pending probe.

        Raises:
            InputError: If the action is no line of text.
            ResetNeeded: If no dialogue goes on.
        """
        self._episode.check_goes_on()
        return self._complete(checked_line(action, self._line_space))
