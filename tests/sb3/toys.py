"""Small token dialogues for the adapter's tests: replies of different length, side questions, resets."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from transformers import PreTrainedModel

from persona_env.spaces import TokenContext
from tests.speakers import small

PAD, END = 0, 1


def tiny_llama(vocabulary: int = 20, *, width: int = 32, seed: int = 0, scale: float = 0.1) -> PreTrainedModel:
    shape = {"hidden_size": width, "intermediate_size": 2 * width, "initializer_range": scale}
    ids = {"pad_token_id": PAD, "bos_token_id": None, "eos_token_id": END, "tie_word_embeddings": True}
    return small.model(vocabulary, 1024, seed, **shape, **ids).train()


class Toy(VectorEnv[Any, Any, Any]):
    """Token ids below `vocabulary`, padded to `width`, in N rows."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(self, num_envs: int, vocabulary: int, width: int):
        self.num_envs, self.vocabulary, self.width = num_envs, vocabulary, width
        self.single_observation_space = TokenContext(vocabulary, width, PAD)
        self.single_action_space = spaces.Discrete(vocabulary)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.context: list[list[int]] = [[] for _ in range(num_envs)]

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        for row in range(self.num_envs):
            self._begin(row)
        return self._observations(), {}

    def _begin(self, row: int) -> None:
        self.context[row] = [2]

    def _observations(self) -> Any:
        observations = np.full((self.num_envs, self.width), PAD, np.int32)
        for row, ids in enumerate(self.context):
            observations[row, : len(ids)] = ids
        return observations

    def _finish(self, rewards: Any, terminated: Any, truncated: Any, info: dict[str, Any]) -> Any:
        done = terminated | truncated
        if done.any():
            final = np.full(self.num_envs, None, dtype=object)
            for row, observation in enumerate(self._observations()):
                if done[row]:
                    final[row] = observation
                    self._begin(row)
            moved = {key: value for key, value in info.items() if not key.startswith("_")}
            final_info = moved | {f"_{key}": info[f"_{key}"] & done for key in moved}
            info = info | {f"_{key}": info[f"_{key}"] & ~done for key in moved}
            info |= {"final_obs": final, "_final_obs": done}
            info |= {"final_info": final_info, "_final_info": done}
        return self._observations(), rewards, terminated, truncated, info


class ToyDialogues(Toy):
    """N dialogues of `lines` lines; a line ends with END or after `max_tokens`.

    A line is paid the share of its tokens that are even. After every `asks`-th line a side question
    comes, whose answer is paid `answer_reward` if its first token is 2, and leaves no trace. `cut_after`
    is the step at which a dialogue is cut off, if it is.
    """

    def __init__(
        self,
        num_envs: int = 4,
        *,
        vocabulary: int = 20,
        context: int = 96,
        lines: int = 3,
        max_tokens: int = 5,
        prompt: int = 6,
        reply: int = 9,
        asks: int = 0,
        answer_reward: float = 1.0,
        cut_after: int | None = None,
    ):
        super().__init__(num_envs, vocabulary, context)
        self.lines, self.max_tokens, self.prompt, self.reply = lines, max_tokens, prompt, reply
        self.asks, self.answer_reward, self.cut_after = asks, answer_reward, cut_after
        self.probing = np.zeros(num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        seeds = [None] * self.num_envs if seed is None else seed
        seeds = [seed + row for row in range(self.num_envs)] if isinstance(seed, int) else seeds
        self.seeds, self.options = seeds, options
        self.generators = [np.random.default_rng(seed) for seed in seeds]
        self.main: list[list[int]] = [[] for _ in range(self.num_envs)]
        self.said, self.in_line, self.steps = np.zeros((3, self.num_envs), int)
        return super().reset()

    def _words(self, row: int, low: int, high: int) -> list[int]:
        rng = self.generators[row]
        return rng.integers(2, self.vocabulary, rng.integers(low, high + 1)).tolist()

    def _begin(self, row: int) -> None:
        self.context[row] = self._words(row, 2, self.prompt)
        self.said[row] = self.in_line[row] = self.steps[row] = 0
        self.probing[row] = False

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        for row, action in enumerate(np.asarray(actions).tolist()):
            self.context[row].append(action)
            self.in_line[row] += 1
            self.steps[row] += 1
            if action == END or self.in_line[row] == self.max_tokens:
                rewards[row], terminated[row] = self._line_done(row)
            if not terminated[row] and self.steps[row] == self.cut_after:
                truncated[row] = True
        info: dict[str, Any] = {}
        paid = rewards != 0
        if paid.any():
            info = {"consistency/toy": rewards.copy(), "_consistency/toy": paid}
        return self._finish(rewards, terminated, truncated, info)

    def _line_done(self, row: int) -> tuple[float, bool]:
        line = self.context[row][-self.in_line[row] :]
        self.in_line[row] = 0
        if self.probing[row]:
            reward, self.probing[row] = self.answer_reward * (line[0] == 2), False
            self.context[row] = self.main[row]
        else:
            reward = float(np.mean([token % 2 == 0 for token in line]))
            self.said[row] += 1
            if self.asks and self.said[row] % self.asks == 0:
                self.main[row] = list(self.context[row])
                self.context[row] += [3, *self._words(row, 1, 3)]
                self.probing[row] = True
                return reward, False
        if self.said[row] == self.lines:
            return reward, True
        self.context[row] += [4, *self._words(row, 1, self.reply)]
        return reward, False


class Bandit(Toy):
    """N dialogues of one token; token i is paid rewards[i]."""

    def __init__(self, rewards: Any, num_envs: int = 64):
        super().__init__(num_envs, len(rewards), 8)
        self.rewards = np.asarray(rewards, np.float64)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        for ids, action in zip(self.context, np.asarray(actions).tolist(), strict=True):
            ids.append(action)
        done = np.ones(self.num_envs, bool)
        return self._finish(self.rewards[actions], done, np.zeros_like(done), {})


class CopyFirst(Toy):
    """An identity world: a line of one token, paid 1 where it is the first token of the context; 4 lines."""

    def __init__(self, num_envs: int = 32, vocabulary: int = 8):
        super().__init__(num_envs, vocabulary, 16)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.rng = np.random.default_rng(seed)
        return super().reset()

    def _begin(self, row: int) -> None:
        self.context[row] = [int(self.rng.integers(2, self.vocabulary))]

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        rewards = np.array([float(ids[0] == action) for ids, action in zip(self.context, actions, strict=True)])
        for ids, action in zip(self.context, np.asarray(actions).tolist(), strict=True):
            ids += [action, 1]  # the reply says nothing
        done = np.full(self.num_envs, len(self.context[0]) == 9)
        return self._finish(rewards, done, np.zeros_like(done), {})
