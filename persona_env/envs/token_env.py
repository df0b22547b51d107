"""The dialogue as a Gymnasium environment in which one action is one token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from persona_env.envs.base_env import BaseDialogueEnv, DialogueForm
from persona_env.envs.context_length import context_length, load_format
from persona_env.envs.engine import AnsweredSettings, DialogueEngine, check_count
from persona_env.envs.token_episode import TokenContexts, TokenEpisode
from persona_env.spaces import TokenContext

if TYPE_CHECKING:
    from persona_env.speakers.chat_format import ChatFormat
    from persona_env.speakers.local import LanguageModel

__all__ = ["TokenDialogueEnv", "TokenForm", "TokenSettings"]


class TokenSettings(AnsweredSettings, total=False):
    """Keyword arguments of the token forms."""

    simulator: str | LanguageModel | ChatFormat  # whose tokens these are: a spec, a model or its format
    context: int | None  # None for one that holds the longest dialogue
    chat_template: str | None  # in place of the tokenizer's own
    template_kwargs: Mapping[str, Any] | None


class TokenForm(DialogueForm):
    """N episodes in which one action is one token; `chat` says how the tokens are written."""

    def __init__(
        self,
        number: int,
        role: str,
        simulator: str | LanguageModel | ChatFormat = "tiny",
        context: int | None = None,
        chat_template: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        **settings: Unpack[AnsweredSettings],
    ):
        engine = self.engine = DialogueEngine(role, **settings)
        chat = self.chat = load_format(simulator, chat_template, template_kwargs)
        length = context_length(chat, engine, context)
        number = check_count("num_envs", number)
        contexts = self._contexts = TokenContexts(number, chat, length, engine.max_tokens)
        self.episodes = [
            TokenEpisode(np.random.default_rng(), engine.max_lines, contexts, index) for index in range(number)
        ]
        self.observation_space = TokenContext(chat.vocabulary, length, chat.pad_id)
        self.action_space = spaces.Discrete(chat.vocabulary)

    def observe(self, index: int) -> NDArray[np.int32]:
        """Returns the context (context,) of one episode."""
        return self._contexts.ids[index].copy()

    def observe_all(self) -> NDArray[np.int32]:
        """Returns the contexts (N, context) of all episodes."""
        return self._contexts.ids.copy()

    def say(self, actions: Any) -> tuple[Sequence[int], Sequence[str]]:
        """Takes one token for each episode."""
        indices = self._contexts.push(actions)
        return indices, [self._contexts.text(i) for i in indices]


class TokenDialogueEnv(BaseDialogueEnv[NDArray[np.int32], int]):
    """A simulated person speaks, token by token, with a frozen task agent.

    - Observation: `TokenContext`, (context,) int32, right-padded: the simulator's chat as its
      template writes it, up to where the next token stands; its own ids as they were sampled.
    - Action: `Discrete(V)`, the next token. An end token completes the line, as does the
      `max_tokens`-th token (the environment then writes the end token behind it). A control token
      (`forbidden_ids`) is written down as the end token: no line can forge a turn.
    - Reward: 0.0; the drift rewards are wrappers.
    - Ends (`terminated`) as in `DialogueEnv`. `truncated` when the context has no room for the reply and the next line.
    - Info: as in `DialogueEnv`, and `skipped_probes`: how many probes had no room.
    - Options of reset: as in `DialogueEnv`.
    - Settings: those of `DialogueEnv` and `TokenSettings`: `simulator`, `context`, `chat_template`, `template_kwargs`.
    """

    def __init__(self, role: str = "patient", **settings: Unpack[TokenSettings]):
        form = TokenForm(1, role, **settings)
        super().__init__(form)
        self.chat = form.chat
