"""N dialogues side by side: one call of the task agent per step; the next dialogue begins in the step that ends one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import index
from typing import Any, TypeAlias, TypeVar, Unpack

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from persona_env.conversation import Conversation, Event, View
from persona_env.envs.base_env import DialogueForm
from persona_env.envs.engine import AnsweredSettings
from persona_env.envs.episode import EpisodeState, Info
from persona_env.envs.line_env import LineForm
from persona_env.envs.observations import transcript
from persona_env.envs.token_env import TokenForm, TokenSettings
from persona_env.errors import InputError
from persona_env.speakers import Speaker

__all__ = ["BaseDialogueVectorEnv", "DialogueVectorEnv", "StepEvents", "TokenDialogueVectorEnv"]

Observations = TypeVar("Observations")
Actions = TypeVar("Actions")
Flags = NDArray[np.bool_]

StepEvents: TypeAlias = Mapping[int, Event]
"""What a step completed, a line or an answer, by the index of the dialogue."""


class BaseDialogueVectorEnv(VectorEnv[Observations, Actions, NDArray[Any]]):
    """N dialogues in the form that is given; `events` is what the last step completed, as its info tells it, too."""

    metadata: dict[str, Any] = {  # noqa: RUF012 (as Gymnasium declares it)
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["ansi"],
    }

    def __init__(self, form: DialogueForm):
        self._form, self._engine, self._episodes = form, form.engine, form.episodes
        self.num_envs, self.render_mode = len(form.episodes), form.engine.render_mode
        self.single_observation_space, self.single_action_space = form.observation_space, form.action_space
        self.observation_space = batch_space(form.observation_space, self.num_envs)
        self.action_space = batch_space(form.action_space, self.num_envs)
        self._terminated, self._truncated = self._flags(), self._flags()
        self.events: StepEvents = {}
        self._callbacks: list[Callable[[StepEvents], None]] = []

    def _flags(self) -> Flags:
        return np.zeros(self.num_envs, np.bool_)

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
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begins a dialogue in each environment; the task agent opens them in one call.

        Environment i is seeded with `seed + i`, or with the i-th of a list. The options are those of `DialogueEnv`,
        `personas` (one for each), and Gymnasium's `reset_mask` ((N,) bool: who begins anew; all if left out).
        """
        indices = self._masked((options or {}).get("reset_mask"))
        self._seed(seed, indices)
        episodes = [self._episodes[i] for i in indices]
        self._engine.prepare(episodes, options)
        self._engine.reply(episodes)
        self.events, info = {}, {}
        for i, episode in zip(indices, episodes, strict=True):
            info = self._add_info(info, {"persona": episode.conversation.persona}, i)
        return self._form.observe_all(), info

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
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        if seeds is None:
            return
        if len(seeds) != self.num_envs:
            raise InputError(f"Expected {self.num_envs} seeds, got {len(seeds)}: give one for each environment.")
        for i in indices:
            if (own := seeds[i]) is not None:
                self._episodes[i].rng, _ = seeding.np_random(index(own))

    def step(self, actions: Actions) -> tuple[Observations, NDArray[np.float64], Flags, Flags, dict[str, Any]]:
        """Says a line or a token in each dialogue; a line that is complete may be the answer to the pending probe.

        One call of the task agent replies to all of them and opens the next dialogues of those whose last line it was;
        only where its own reply ended a dialogue is there a second. Actions that are not N lines of text, or N token
        ids, are an InputError, and ResetNeeded is raised if no dialogue has begun.
        """
        self._episodes[0].check_goes_on()
        indices, texts = self._form.say(actions)
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
        return self._form.observe_all(), np.zeros(self.num_envs), self._terminated, self._truncated, info

    def render(self) -> tuple[str, ...] | None:
        """Returns each dialogue's transcript, if `render_mode` is `ansi`."""
        return tuple(transcript(view) for view in self.views()) if self.render_mode == "ansi" else None

    def _retire(self, info: dict[str, Any], own: Mapping[int, Info]) -> dict[str, Any]:
        """Notes the end of the dialogues that are over, and starts the next ones."""
        for i, last in own.items():
            episode = self._episodes[i]
            if episode.over:
                self._terminated[i], self._truncated[i] = episode.terminated, episode.truncated
                final = {"final_obs": self._form.observe(i), "final_info": last}
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
        """Goes back to a snapshot, or puts any N states of episodes side by side; returns the observations there.

        The probe functions stay those of the last reset. A state in which the dialogue has ended is an InputError.
        """
        if len(states) != self.num_envs:
            raise InputError(f"Expected {self.num_envs} states, got {len(states)}: give one for each environment.")
        if any(state.terminated or state.truncated for state in states):
            raise InputError("Expected dialogues that go on, got one that has ended: take an earlier snapshot of it.")
        for episode, state in zip(self._episodes, states, strict=True):
            episode.restore(state)
        return self._form.observe_all()


class DialogueVectorEnv(BaseDialogueVectorEnv[dict[str, tuple[str, ...]], Sequence[str]]):
    """N times `DialogueEnv`, with its settings: one action is N lines.

    - Observation: `{"prompt": (N texts), "dialogue": (N texts)}`. Action: N texts.
    - Info: Gymnasium's vector layout (`line` and the mask `_line`, ...).
    """

    def __init__(self, num_envs: int = 1, role: str = "patient", **settings: Unpack[AnsweredSettings]):
        super().__init__(LineForm(num_envs, role, **settings))


class TokenDialogueVectorEnv(BaseDialogueVectorEnv[NDArray[np.int32], NDArray[np.integer[Any]]]):
    """N times `TokenDialogueEnv`, with its settings: one action is N tokens; `chat` says how these are written.

    - Observation: (N, context) int32. Action: (N,) integers.
    - Info: Gymnasium's vector layout (`line` and the mask `_line`, ...).
    """

    def __init__(self, num_envs: int = 1, role: str = "patient", **settings: Unpack[TokenSettings]):
        form = TokenForm(num_envs, role, **settings)
        super().__init__(form)
        self.chat = form.chat
