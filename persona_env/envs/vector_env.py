"""N dialogues side by side: one call of the task agent per step, whatever N.

In here: `DialogueVectorEnv` (one action is one line) and `TokenDialogueVectorEnv` (one token). A dialogue that ends is
followed by the next one in the same step (`AutoresetMode.SAME_STEP`); what its last line brought stands under
`final_info`, and what it last saw under `final_obs`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from persona_env.conversation import Conversation, Event, View
from persona_env.envs.context_length import Simulator, context_length, load_format
from persona_env.envs.engine import DialogueEngine, check_count
from persona_env.envs.episode import Episode, EpisodeState, Info
from persona_env.envs.observations import checked_line, line_space, reading, reading_space
from persona_env.envs.persona_source import PersonaSource
from persona_env.envs.token_episode import TokenContexts, TokenEpisode, TokenFormat
from persona_env.errors import InputError
from persona_env.scenario import ScenarioSource
from persona_env.spaces import TokenContext
from persona_env.speakers import Speaker

__all__ = ["BaseDialogueVectorEnv", "DialogueVectorEnv", "StepEvents", "TokenDialogueVectorEnv"]

Observations = TypeVar("Observations")
Actions = TypeVar("Actions")
Flags = NDArray[np.bool_]
Step = tuple[Observations, NDArray[np.float64], Flags, Flags, dict[str, Any]]

StepEvents: TypeAlias = Mapping[int, Event]
"""What a step completed, a line or an answer, by the index of the dialogue."""


class BaseDialogueVectorEnv(VectorEnv[Observations, Actions, NDArray[Any]], ABC):
    """What both forms share: the dialogues, and everything that follows a completed line.

    Attributes:
        events: What the last step completed. The rewards of `persona_wrappers.vector` read it here; the info tells
            the same to everybody else.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as Gymnasium declares it)
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": [],
    }

    def __init__(
        self, engine: DialogueEngine, episodes: Sequence[Episode], sees: spaces.Space[Any], says: spaces.Space[Any]
    ):
        self.num_envs, self.render_mode = len(episodes), None
        self.single_observation_space, self.single_action_space = sees, says
        self.observation_space = batch_space(sees, self.num_envs)
        self.action_space = batch_space(says, self.num_envs)
        self._engine, self._episodes = engine, episodes
        self._terminated, self._truncated = self._flags(), self._flags()
        self.events: StepEvents = {}
        self._callbacks: list[Callable[[StepEvents], None]] = []

    def _flags(self) -> Flags:
        return np.zeros(self.num_envs, np.bool_)

    @abstractmethod
    def _observe(self) -> Observations:
        """Returns what is seen now in all dialogues; the caller may keep it."""

    @abstractmethod
    def _observe_one(self, index: int) -> Any:
        """Returns what is seen now in one dialogue; the caller may keep it."""

    @contextmanager
    def step_callback(self, callback: Callable[[StepEvents], None]) -> Iterator[None]:
        """While the context lasts, a step calls this with its events before the task agent replies.

        The callback that came last, which is that of the innermost wrapper, is called first.
        """
        self._callbacks.append(callback)
        try:
            yield
        finally:
            self._callbacks.remove(callback)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observations, dict[str, Any]]:
        """Begins a dialogue in each environment; the task agent opens them in one call.

        Args:
            seed: Environment i is seeded with `seed + i`, or with the i-th of a list.
            options: Those of `DialogueEnv`, `personas` (one for each), and Gymnasium's `reset_mask` ((N,) bool, the
                environments that begin anew; all if left out).
        """
        indices = self._masked((options or {}).get("reset_mask"))
        self._seed(seed, indices)
        episodes = [self._episodes[i] for i in indices]
        self._engine.prepare(episodes, options)
        self._engine.reply(episodes)
        self.events, info = {}, {}
        for i, episode in zip(indices, episodes, strict=True):
            info = self._add_info(info, {"persona": episode.conversation.persona}, i)
        return self._observe(), info

    def _masked(self, mask: object) -> list[int]:
        if mask is None:
            return [*range(self.num_envs)]
        mask = np.asarray(mask)
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise InputError(
                f"Expected a reset_mask of {self.num_envs} bools, one of them true, got {mask.tolist()!r:.60}: "
                "say of each environment whether it begins anew."
            )
        return np.flatnonzero(mask).tolist()

    def _seed(self, seed: int | Sequence[int | None] | None, indices: Sequence[int]) -> None:
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        if seeds is None:
            return
        if len(seeds) != self.num_envs:
            raise InputError(f"Expected {self.num_envs} seeds, got {len(seeds)}: give one for each environment.")
        for i in indices:
            if seeds[i] is not None:
                self._episodes[i].rng, _ = seeding.np_random(seeds[i])

    def _complete(self, indices: Sequence[int], texts: Sequence[str]) -> Step[Observations]:
        """Completes lines or answers, lets the task agent reply, and returns what a step returns.

        One call of the task agent answers all of them and opens the next dialogues of those whose last line it was;
        only where its own reply ended a dialogue is there a second.
        """
        self._terminated, self._truncated, self.events, info = self._flags(), self._flags(), {}, {}
        if indices:
            episodes = [self._episodes[i] for i in indices]
            completed = dict(zip(indices, self._engine.complete(episodes, texts), strict=True))
            self.events = {i: event for i, (event, _) in completed.items()}
            for callback in reversed(self._callbacks):
                callback(self.events)
            own = {i: found for i, (_, found) in completed.items()}
            info = self._retire(info, own)
            self._engine.reply([episode for episode in episodes if episode.probe is None])
            late = {i: own[i] for i in indices if self._episodes[i].over}
            info = self._retire(info, late)
            self._engine.reply([self._episodes[i] for i in late])
            for i in indices:
                if not (self._terminated[i] or self._truncated[i]):
                    info = self._add_info(info, own[i], i)
        return self._observe(), np.zeros(self.num_envs), self._terminated, self._truncated, info

    def _retire(self, info: dict[str, Any], own: Mapping[int, Info]) -> dict[str, Any]:
        """Notes the end of the dialogues that are over, and starts the next ones."""
        for i, last in own.items():
            episode = self._episodes[i]
            if episode.over:
                self._terminated[i], self._truncated[i] = episode.terminated, episode.truncated
                final = {"final_obs": self._observe_one(i), "final_info": last}
                self._engine.restart(episode)
                persona = {"persona": episode.conversation.persona}
                info = self._add_info(self._add_info(info, final, i), persona, i)
        return info

    @property
    def max_lines(self) -> int:
        """The simulator's lines in one dialogue, at most."""
        return self._engine.max_lines

    @property
    def task_agent(self) -> Speaker | None:
        """The speaker that answers; None if it acts from outside."""
        return self._engine.task_agent

    @property
    def conversations(self) -> list[Conversation]:
        """The dialogues so far."""
        return [episode.conversation for episode in self._episodes]

    @property
    def probing(self) -> Flags:
        """(N,) whether an answer to a probe is due, not a line."""
        return np.array([episode.probe is not None for episode in self._episodes])

    @property
    def skipped_probes(self) -> int:
        """How many probes had no room, over all dialogues."""
        return sum(episode.skipped for episode in self._episodes)

    def views(self, seeds: Sequence[int] | None = None) -> list[View]:
        """Returns the dialogues as a speaker sees them that is to say the next lines."""
        seeds = [0] * self.num_envs if seeds is None else seeds
        return [episode.view(int(seed)) for episode, seed in zip(self._episodes, seeds, strict=True)]

    def snapshot(self) -> tuple[EpisodeState, ...]:
        """Returns all of the environment's state, an episode each, as plain data that pickles."""
        return tuple(episode.snapshot() for episode in self._episodes)

    def restore(self, states: Sequence[EpisodeState]) -> Observations:
        """Goes back to a snapshot, or puts any N states of episodes side by side.

        Returns:
            The observations at that point. The probe functions stay those of the last reset.

        Raises:
            InputError: If there are not N states, or a dialogue has ended in one of them.
        """
        if len(states) != self.num_envs:
            raise InputError(f"Expected {self.num_envs} states, got {len(states)}: give one for each environment.")
        if any(state.terminated or state.truncated for state in states):
            raise InputError("Expected dialogues that go on, got one that has ended: take an earlier snapshot of it.")
        for episode, state in zip(self._episodes, states, strict=True):
            episode.restore(state)
        return self._observe()


class DialogueVectorEnv(BaseDialogueVectorEnv[dict[str, tuple[str, ...]], Sequence[str]]):
    """N times `DialogueEnv`, batched: one action is one line.

    - Observation: `{"prompt": (N texts), "dialogue": (N texts)}`. Action: N texts.
    - Info: Gymnasium's vector layout (`line` and the mask `_line`, ...).

    Args:
        num_envs: The number of dialogues; the other arguments are those of `DialogueEnv`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        role: str = "patient",
        *,
        personas: PersonaSource = "bundled",
        split: str = "train",
        task_agent: str | Speaker = "scripted",
        max_lines: int = 8,
        max_tokens: int = 24,
        scenario: ScenarioSource = None,
    ):
        engine = DialogueEngine(role, personas, split, task_agent, max_lines, max_tokens, scenario)
        self._line_space = line_space(max_tokens)
        check_count("num_envs", num_envs)
        episodes = [Episode(np.random.default_rng(), max_lines) for _ in range(num_envs)]
        super().__init__(engine, episodes, reading_space(engine), self._line_space)

    def _observe_one(self, index: int) -> dict[str, str]:
        return reading(self._episodes[index].view())

    def _observe(self) -> dict[str, tuple[str, ...]]:
        seen = [self._observe_one(i) for i in range(self.num_envs)]
        return {key: tuple(one[key] for one in seen) for key in ("dialogue", "prompt")}

    def step(self, actions: Sequence[str]) -> Step[dict[str, tuple[str, ...]]]:
        """Says a line, or answers the pending probe, in each dialogue.

        Raises:
            InputError: If the actions are not N lines of text.
            ResetNeeded: If no dialogue has begun.
        """
        self._episodes[0].check_goes_on()
        if isinstance(actions, str) or len(actions) != self.num_envs:
            raise InputError(f"Expected {self.num_envs} lines of text, got {actions!r:.60}: give one per environment.")
        return self._complete(range(self.num_envs), [checked_line(text, self._line_space) for text in actions])


class TokenDialogueVectorEnv(BaseDialogueVectorEnv[NDArray[np.int32], NDArray[np.integer[Any]]]):
    """N times `TokenDialogueEnv`, batched: one action is one token.

    - Observation: (N, context) int32. Action: (N,) integers.
    - Info: Gymnasium's vector layout (`line` and the mask `_line`, ...).

    Only those that complete a line cost more than an entry of an array.

    Args:
        num_envs: The number of dialogues; the other arguments are those of `TokenDialogueEnv`.
    """

    def __init__(
        self,
        num_envs: int = 1,
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
    ):
        engine = DialogueEngine(role, personas, split, task_agent, max_lines, max_tokens, scenario)
        chat = load_format(simulator, chat_template, template_kwargs)
        length = context_length(chat, engine, context)
        check_count("num_envs", num_envs)
        self._contexts = TokenContexts(num_envs, chat, length, max_tokens)
        episodes = [TokenEpisode(np.random.default_rng(), max_lines, self._contexts, i) for i in range(num_envs)]
        sees = TokenContext(chat.vocabulary, length, chat.pad_id)
        super().__init__(engine, episodes, sees, spaces.Discrete(chat.vocabulary))

    @property
    def chat(self) -> TokenFormat:
        """How the tokens are written."""
        return self._contexts.chat

    def _observe_one(self, index: int) -> NDArray[np.int32]:
        return self._contexts.ids[index].copy()

    def _observe(self) -> NDArray[np.int32]:
        return self._contexts.ids.copy()

    def step(self, actions: NDArray[np.integer[Any]]) -> Step[NDArray[np.int32]]:
        """Says one token in each dialogue.

        Raises:
            InputError: If the actions are not N token ids.
            ResetNeeded: If no dialogue has begun.
        """
        self._episodes[0].check_goes_on()
        indices = self._contexts.push(actions)
        return self._complete(indices, [self._contexts.text(i) for i in indices])
