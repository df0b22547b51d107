"""N dialogues side by side: one call of the task agent per step, whatever N.

In here: `DialogueVectorEnv` (one action of a row is one line) and `TokenDialogueVectorEnv` (one
token). A row whose dialogue ends begins the next one in the same step (`AutoresetMode.SAME_STEP`);
what its last line brought stands under `final_info`, and what it last saw under `final_obs`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from persona_env.conversation import Conversation, View
from persona_env.envs.context_length import Simulator, context_length, load_format
from persona_env.envs.engine import DialogueEngine, check_count
from persona_env.envs.episode import Episode, EpisodeState, Info
from persona_env.envs.observations import line_space, reading, reading_space, said
from persona_env.envs.persona_source import PersonaSource
from persona_env.envs.token_episode import TokenContexts, TokenEpisode, TokenFormat
from persona_env.errors import InputError
from persona_env.spaces import TokenContext
from persona_env.speakers import Speaker

__all__ = ["DialogueVectorEnv", "TokenDialogueVectorEnv"]

Observations = TypeVar("Observations")
Actions = TypeVar("Actions")
Flags = NDArray[np.bool_]
Step = tuple[Observations, NDArray[np.float64], Flags, Flags, dict[str, Any]]


class _DialogueRows(VectorEnv[Observations, Actions, NDArray[Any]], ABC):
    """What both forms share: the rows, and everything that follows a completed line.

    Attributes:
        takes_step_callbacks: That reset takes the option `step_callbacks`.
    """

    takes_step_callbacks = True
    metadata: dict[str, Any] = {  # noqa: RUF012 (as Gymnasium declares it)
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": [],
    }

    def __init__(
        self, stage: DialogueEngine, rows: Sequence[Episode], sees: spaces.Space[Any], says: spaces.Space[Any]
    ):
        self.num_envs, self.render_mode = len(rows), None
        self.single_observation_space, self.single_action_space = sees, says
        self.observation_space = batch_space(sees, self.num_envs)
        self.action_space = batch_space(says, self.num_envs)
        self._stage, self._rows = stage, rows
        self._terminated, self._truncated = self._flags(), self._flags()

    def _flags(self) -> Flags:
        return np.zeros(self.num_envs, np.bool_)

    @abstractmethod
    def _observe(self) -> Observations:
        """Returns what all rows see now; the caller may keep it."""

    @abstractmethod
    def _observe_row(self, place: int) -> Any:
        """Returns what one row sees now; the caller may keep it."""

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observations, dict[str, Any]]:
        """Begins a dialogue in each row; the task agent opens them in one call.

        Args:
            seed: Episode i is seeded with `seed + i`, or with the i-th of a list.
            options: `persona` (for all rows), `personas` (one per row), `probe_fns`, `step_callbacks`
                (callables that are told of completed lines and answers before the task agent replies),
                and Gymnasium's `reset_mask` ((N,) bool, the rows that begin anew; all if left out).
        """
        places = self._reset_places((options or {}).get("reset_mask"))
        self._seed(seed, places)
        rows = [self._rows[place] for place in places]
        self._stage.prepare(rows, options)
        self._stage.reply(rows)
        info: dict[str, Any] = {}
        for place, row in zip(places, rows, strict=True):
            info = self._add_info(info, {"persona": row.conversation.persona}, place)
        return self._observe(), info

    def _reset_places(self, mask: object) -> list[int]:
        if mask is None:
            return [*range(self.num_envs)]
        mask = np.asarray(mask)
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise InputError(
                f"Expected a reset_mask of {self.num_envs} bools, one of them true, got {mask.tolist()!r:.60}: "
                "say of each row whether it begins anew."
            )
        return np.flatnonzero(mask).tolist()

    def _seed(self, seed: int | Sequence[int | None] | None, places: Sequence[int]) -> None:
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        if seeds is None:
            return
        if len(seeds) != self.num_envs:
            raise InputError(f"Expected {self.num_envs} seeds, got {len(seeds)}: give one for each row.")
        for place in places:
            if seeds[place] is not None:
                self._rows[place].rng, _ = seeding.np_random(seeds[place])

    def _settle(self, places: Sequence[int], texts: Sequence[str]) -> Step[Observations]:
        """Settles the rows that completed a line, and returns what a step returns.

        One call of the task agent answers all of them and opens the next dialogues of those whose
        last line it was; only where its own reply ended a dialogue is there a second.
        """
        self._terminated, self._truncated, info = self._flags(), self._flags(), {}
        if places:
            rows = [self._rows[place] for place in places]
            own = dict(zip(places, self._stage.finish(rows, texts), strict=True))
            self._stage.tell(own)
            info = self._retire(info, own)
            self._stage.reply([row for row in rows if row.probe is None])
            late = {place: own[place] for place in places if self._rows[place].over}
            info = self._retire(info, late)
            self._stage.reply([self._rows[place] for place in late])
            for place in places:
                if not (self._terminated[place] or self._truncated[place]):
                    info = self._add_info(info, own[place], place)
        return self._observe(), np.zeros(self.num_envs), self._terminated, self._truncated, info

    def _retire(self, info: dict[str, Any], own: Mapping[int, Info]) -> dict[str, Any]:
        """Notes the end of the dialogues that are over, and starts the next ones."""
        for place, last in own.items():
            row = self._rows[place]
            if row.over:
                self._terminated[place], self._truncated[place] = row.terminated, row.truncated
                final = {"final_obs": self._observe_row(place), "final_info": last}
                row.start(self._stage.draw(row))
                persona = {"persona": row.conversation.persona}
                info = self._add_info(self._add_info(info, final, place), persona, place)
        return info

    @property
    def max_lines(self) -> int:
        """The simulator's lines in one dialogue, at most."""
        return self._stage.max_lines

    @property
    def task_agent(self) -> Speaker | None:
        """The speaker that answers; None if it acts from outside."""
        return self._stage.task_agent

    @property
    def conversations(self) -> list[Conversation]:
        """The dialogues so far."""
        return [row.conversation for row in self._rows]

    @property
    def probing(self) -> Flags:
        """(N,) whether an answer to a question on the side is due, not a line."""
        return np.array([row.probe is not None for row in self._rows])

    @property
    def skipped_probes(self) -> int:
        """How many questions had no room, over all dialogues and rows."""
        return sum(row.skipped for row in self._rows)

    def views(self, seeds: Sequence[int] | None = None) -> list[View]:
        """Returns the dialogues as a speaker sees them that is to say the next lines."""
        seeds = [0] * self.num_envs if seeds is None else seeds
        return [row.view(int(seed)) for row, seed in zip(self._rows, seeds, strict=True)]

    def snapshot(self) -> tuple[EpisodeState, ...]:
        """Returns all of the environment's state, a row each, as plain data that pickles."""
        return tuple(row.snapshot() for row in self._rows)

    def restore(self, states: Sequence[EpisodeState]) -> Observations:
        """Goes back to a snapshot, or puts any N states of rows side by side.

        Returns:
            The observations at that point. Interviewers and step_callbacks stay those of the last reset.

        Raises:
            ValueError: If there are not N states, or a dialogue has ended in one of them.
        """
        if len(states) != self.num_envs:
            raise InputError(f"Expected {self.num_envs} states, got {len(states)}: give one for each row.")
        if any(state.terminated or state.truncated for state in states):
            raise InputError("Expected dialogues that go on, got one that has ended: take an earlier snapshot of it.")
        for row, state in zip(self._rows, states, strict=True):
            row.restore(state)
        return self._observe()


class DialogueVectorEnv(_DialogueRows[dict[str, tuple[str, ...]], Sequence[str]]):
    """N times `DialogueEnv`, batched: one action of a row is one line.

    - Observation: `{"prompt": (N texts), "dialogue": (N texts)}`. Action: N texts.
    - Info: Gymnasium's vector layout (`line` and the mask `_line`, ...).

    Args:
        num_envs: The number of rows.
        role: As the arguments that follow, see `DialogueEnv`.
        personas: See there.
        split: See there.
        task_agent: See there; one call answers all rows.
        max_lines: See there.
        max_tokens: See there.
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
    ):
        stage = DialogueEngine(role, personas, split, task_agent, max_lines, max_tokens)
        self._line_space = line_space(max_tokens)
        check_count("num_envs", num_envs)
        rows = [Episode(np.random.default_rng(), max_lines) for _ in range(num_envs)]
        super().__init__(stage, rows, reading_space(role, max_lines, max_tokens), self._line_space)

    def _observe_row(self, place: int) -> dict[str, str]:
        return reading(self._rows[place].view())

    def _observe(self) -> dict[str, tuple[str, ...]]:
        seen = [self._observe_row(place) for place in range(self.num_envs)]
        return {key: tuple(one[key] for one in seen) for key in ("dialogue", "prompt")}

    def step(self, actions: Sequence[str]) -> Step[dict[str, tuple[str, ...]]]:
        """Says a line, or answers the pending question, in each row.

        Raises:
            ValueError: If the actions are not N lines of text.
            ResetNeeded: If no dialogue has begun.
        """
        self._rows[0].check_goes_on()
        if isinstance(actions, str) or len(actions) != self.num_envs:
            raise InputError(f"Expected {self.num_envs} lines of text, got {actions!r:.60}: give one per row.")
        return self._settle(range(self.num_envs), [said(text, self._line_space) for text in actions])


class TokenDialogueVectorEnv(_DialogueRows[NDArray[np.int32], NDArray[np.integer[Any]]]):
    """N times `TokenDialogueEnv`, batched: one action of a row is one token.

    - Observation: (N, context) int32. Action: (N,) integers.
    - Info: Gymnasium's vector layout (`line` and the mask `_line`, ...).

    Only rows that complete a line cost more than a place in an array.

    Args:
        num_envs: The number of rows.
        role: As the arguments that follow, see `TokenDialogueEnv`.
        personas: See there.
        split: See there.
        task_agent: See there; one call answers all rows.
        max_lines: See there.
        max_tokens: See there.
        simulator: See there.
        context: See there.
        chat_template: See there.
        template_kwargs: See there.
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
        simulator: str | Simulator | TokenFormat = "tiny",
        context: int | None = None,
        chat_template: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
    ):
        stage = DialogueEngine(role, personas, split, task_agent, max_lines, max_tokens)
        chat = load_format(simulator, chat_template, template_kwargs)
        length = context_length(chat, stage, context)
        check_count("num_envs", num_envs)
        self._table = TokenContexts(num_envs, chat, length, max_tokens)
        rows = [TokenEpisode(np.random.default_rng(), max_lines, self._table, i) for i in range(num_envs)]
        sees = TokenContext(chat.vocabulary, length, chat.pad_id)
        super().__init__(stage, rows, sees, spaces.Discrete(chat.vocabulary))

    @property
    def chat(self) -> TokenFormat:
        """How the tokens are written."""
        return self._table.chat

    def _observe_row(self, place: int) -> NDArray[np.int32]:
        return self._table.ids[place].copy()

    def _observe(self) -> NDArray[np.int32]:
        return self._table.ids.copy()

    def step(self, actions: NDArray[np.integer[Any]]) -> Step[NDArray[np.int32]]:
        """Says one token in each row.

        Raises:
            ValueError: If the actions are not N token ids.
            ResetNeeded: If no dialogue has begun.
        """
        self._rows[0].check_goes_on()
        places = self._table.push(actions)
        return self._settle(places, [self._table.text(place) for place in places])
