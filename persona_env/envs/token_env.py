"""The dialogue as a Gymnasium environment in which one action is one token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from persona_env.envs.base_env import BaseDialogueEnv
from persona_env.envs.context_length import Simulator, context_length, load_format
from persona_env.envs.engine import DialogueEngine
from persona_env.envs.episode import Info
from persona_env.envs.persona_source import PersonaSource
from persona_env.envs.token_episode import TokenContexts, TokenEpisode, TokenFormat
from persona_env.scenario import ScenarioSource
from persona_env.spaces import TokenContext
from persona_env.speakers import Speaker

__all__ = ["TokenDialogueEnv"]


class TokenDialogueEnv(BaseDialogueEnv[NDArray[np.int32], int]):
    """A simulated person speaks, token by token, with a frozen task agent.

    - Observation: `TokenContext`, (context,) int32, right-padded: the simulator's chat as its
      template writes it, up to where the next token stands; its own ids as they were sampled.
    - Action: `Discrete(V)`, the next token. An end token completes the line, as does the
      `max_tokens`-th token (the environment then writes the end token behind it). A control token
      (`forbidden_ids`) is written down as the end token: no line can forge a turn.
    - Reward: 0.0; the drift rewards are wrappers.
    - Ends (`terminated`) when the simulator has said `max_lines` lines, or either side's line holds
      `[END]`; always after the last probe is answered. `truncated` when the context has no room
      for the reply and the next line.
    - Info: as in `DialogueEnv`, and `skipped_probes`: how many probes had no room.
    - Options of reset: as in `DialogueEnv`.

    Args:
        role: `patient`, `student`, `chat_partner`, or the key or path of another role.
        personas: `"bundled"`, `"natural"`, the path of a file, or a list of personas.
        split: `train`, `dev` or `heldout`.
        task_agent: Spec of the speaker that answers, or the speaker.
        max_lines: The simulator's lines in one dialogue, at least 1.
        max_tokens: The length of a line without its end token, at least 1.
        scenario: The conditions of the dialogues: a `Scenario`, its fields, or the path of a TOML or JSON file.
        simulator: Spec of the language model whose tokens these are, or the model, or its format.
        context: The length of a context; None for one that holds the longest dialogue.
        chat_template: Used in place of the tokenizer's own.
        template_kwargs: Passed to the template.
        render_mode: None or `ansi`.
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
        simulator: str | Simulator | TokenFormat = "tiny",
        context: int | None = None,
        chat_template: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ):
        engine = DialogueEngine(role, personas, split, task_agent, max_lines, max_tokens, scenario)
        chat = load_format(simulator, chat_template, template_kwargs)
        length = context_length(chat, engine, context)
        self._contexts = TokenContexts(1, chat, length, max_tokens)
        episode = TokenEpisode(np.random.default_rng(), max_lines, self._contexts, 0)
        super().__init__(engine, episode, render_mode)
        self.observation_space = TokenContext(chat.vocabulary, length, chat.pad_id)
        self.action_space = spaces.Discrete(chat.vocabulary)

    @property
    def chat(self) -> TokenFormat:
        """How the tokens are written."""
        return self._contexts.chat

    def _observe(self) -> NDArray[np.int32]:
        return self._contexts.ids[0].copy()

    def step(self, action: int) -> tuple[NDArray[np.int32], float, bool, bool, Info]:
        """Says one token.

        Raises:
            InputError: If the action is no token id.
            ResetNeeded: If no dialogue goes on.
        """
        self._episode.check_goes_on()
        complete = self._contexts.push([action])
        return self._complete(self._contexts.text(0) if complete else None)
