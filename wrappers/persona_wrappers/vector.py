"""The rewards around vector environments: a class for each metric, and one for several in one judge batch per step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import nullcontext
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from persona_env.conversation import Event
from persona_env.envs.vector_env import BaseDialogueVectorEnv, StepEvents
from persona_env.errors import InputError
from persona_env.judges.base import JudgeLike, Verdict
from persona_env.metrics import Metric
from persona_env.metrics.metric import distinct_queries, verdicts_on, with_verdicts
from persona_env.metrics.rewards import DueQuery, RewardFunction, RewardItem, RewardStats, event_in, weighted_terms
from persona_wrappers.reward_wrapper import MetricReward, check_dialogue, metric_options, reward_class

__all__ = [
    "ConsistencyRewards",
    "CopyPenalty",
    "EvasionPenalty",
    "LineToLineReward",
    "PromptToLineReward",
    "QuestionAnswerReward",
    "RelevanceReward",
    "RepetitionPenalty",
    "RoleFlipPenalty",
    "VectorReward",
]

_RETRY_SECONDS = 0.05  # a judge that has not sent its requests yet has nothing to cancel
_READ = ("line", "line_index", "conversation", "probe", "answer")


def _events_in(info: Mapping[str, Any]) -> Iterator[tuple[int, Event]]:
    """Yields what a vector's info tells of completed lines and answers, by index."""
    masks = [info[key] for key in ("_line", "_answer") if key in info]
    if not masks:
        return
    columns = [(key, info[key], info[f"_{key}"]) for key in _READ if key in info]
    for index in np.flatnonzero(np.logical_or.reduce(masks)):
        event = event_in({key: values[index] for key, values, mask in columns if mask[index]})
        if event is not None:
            yield int(index), event


class VectorReward(RewardStats, VectorWrapper):  # generic from Gymnasium 1.4 on
    """Adds what the terms of a reward function are worth for completed lines and answers to the rewards.

    With same-step autoreset the info of a dialogue that ends stands under `final_info`, and so does what is written
    about it.

    Directly around our vector environments (other rewards may be in between) the events of a step come from the
    environment itself, and a judge that waits for a server is asked while the task agent replies; no call outlives its
    step. Around any other vector they are read from the info and judged after the step. Rewards, infos and calls of
    the judge are the same.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], function: RewardFunction):
        super().__init__(env)
        self.reward_function = function
        self._due: list[DueQuery] | None = None
        self._call: Future[list[Verdict]] | None = None

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environments; a reward for answers asks its probes from then on."""
        observations, info = self.env.reset(seed=seed, options=self.reward_function.with_probes(options))
        check_dialogue(info, self.env)
        return observations, info

    @property
    def dialogues(self) -> BaseDialogueVectorEnv[Any, Any] | None:
        """The environment whose steps come through unchanged; None if another layer is in between."""
        if isinstance(self.env, VectorReward):
            return self.env.dialogues
        return self.env if isinstance(self.env, BaseDialogueVectorEnv) else None

    @property
    def overlaps(self) -> bool:
        """Whether the judge works while the task agent replies."""
        judge = self.reward_function.judge
        return judge is not None and judge.is_remote and self.dialogues is not None

    def _begin(self, events: StepEvents) -> None:
        """Begins to judge what a step has completed: the environment calls this before the task agent replies."""
        self._due = self.reward_function.due([events[index] for index in sorted(events)])
        queries = distinct_queries([due.query for due in self._due])
        if queries and self.reward_function.judge is not None:
            self._call = self.reward_function.judge.submit(queries)

    def _end_call(self) -> None:
        """Cancels the judge call that has begun, if it goes on; returns when it is over."""
        while self._call is not None and not self._call.cancel() and not self._call.done():
            if self.reward_function.judge is not None:
                self.reward_function.judge.cancel()
            wait([self._call], timeout=_RETRY_SECONDS)
        self._call = None

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps the environments and adds to their rewards and infos."""
        self._end_call()  # what an interrupted step may have left behind
        dialogues, self._due = self.dialogues, None
        try:
            with dialogues.step_callback(self._begin) if dialogues and self.overlaps else nullcontext():
                observations, rewards, terminated, truncated, info = self.env.step(actions)
            if dialogues is None:
                final = dict(_events_in(info.get("final_info", {})))
                events, ended = {**dict(_events_in(info)), **final}, set(final)
            else:
                events = dialogues.events
                ended = {index for index in events if terminated[index] or truncated[index]}
            if events:
                rewards, info = self._rewarded(rewards, info, events, ended)
        finally:
            self._end_call()
        return observations, rewards, terminated, truncated, info

    def close(self, **kwargs: Any) -> None:
        """Closes the environments; no judge call goes on after it."""
        super().close(**kwargs)
        self._end_call()

    def _rewarded(
        self, rewards: Any, info: dict[str, Any], events: Mapping[int, Event], ended: set[int]
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Returns rewards (N,) and info with what the events are worth."""
        indices = sorted(events)
        due = self._due if self._due is not None else self.reward_function.due([events[i] for i in indices])
        queries = [one.query for one in due]
        if self._call is None:
            verdicts = verdicts_on(queries, self.reward_function.judge)
        else:
            verdicts = with_verdicts(queries, self._call.result())
        rewards, now = np.array(rewards, np.float64), dict(info)
        if "final_info" in now:
            now["final_info"] = dict(now["final_info"])
        for item in self.reward_function.items(due, verdicts):
            index = indices[item.number]
            rewards[index] += item.reward
            self._write(now["final_info"] if index in ended else now, item, index)
        return rewards, now

    def _write(self, info: dict[str, Any], item: RewardItem, index: int) -> None:
        """Writes a value as Gymnasium lays out the infos of many environments."""
        key = item.key
        if key not in info:
            info[key], info[f"_{key}"] = np.zeros(self.num_envs), np.zeros(self.num_envs, np.bool_)
        info[key][index], info[f"_{key}"][index] = item.value, True


class ConsistencyRewards(VectorReward):
    """Adds the rewards and penalties of several metrics, asking the judge once per step.

    The sum is that of the single wrappers, stacked in any order. The weight of each metric, at least 0, is given by
    name, spec or metric, or as a keyword: those of `METRICS`, third parties' included. One with weight 0 is judged and
    written to the info, and not paid for. `every`, `within` and `held_out` are those of
    `persona_wrappers.QuestionAnswerReward`, `threshold` that of `RepetitionPenalty`.

    >>> import gymnasium as gym, persona_env
    >>> envs = gym.make_vec("persona_env/Patient-v0", num_envs=2)
    >>> envs = ConsistencyRewards(envs, {"prompt_to_line": 1.0, "copying": 0.5}, line_to_line=0.3)
    >>> _ = envs.reset(seed=0)
    >>> _, rewards, _, _, info = envs.step(("I am fine.", "I am fine."))
    >>> sorted(key for key in info if key.startswith("consistency"))
    ['consistency/copying', 'consistency/prompt_to_line']
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        weights: Mapping[Any, float] | None = None,
        judge: str | JudgeLike = "oracle",
        *,
        every: int | None = None,
        within: int | None = None,
        held_out: bool = False,
        threshold: float | None = 0.8,
        **more: float,
    ):
        given: dict[str | Metric, float] = dict(weights or {})
        twice = sorted(more.keys() & given.keys())
        if twice:
            raise InputError(f"Expected one weight each, got two of {', '.join(twice)}: give one.")
        given |= more
        options: dict[str, dict[str, Any]] = {"repetition": {"threshold": threshold}}
        if "question_answer" in given:
            questions = {"every": every, "within": within, "held_out": held_out}
            options["question_answer"] = metric_options("question_answer", env, questions)
        super().__init__(env, RewardFunction(weighted_terms(given, options), judge))


class _OneMetric(MetricReward, VectorReward):
    """The reward of one metric; arguments and options are those of the class of the same name in `persona_wrappers`."""

    def __init__(
        self, env: VectorEnv[Any, Any, Any], judge: str | JudgeLike = "oracle", *, weight: float = 1.0, **options: Any
    ):
        VectorReward.__init__(self, env, self._function(env, judge, weight, options))


PromptToLineReward = reward_class(_OneMetric, "PromptToLineReward")
LineToLineReward = reward_class(_OneMetric, "LineToLineReward")
QuestionAnswerReward = reward_class(_OneMetric, "QuestionAnswerReward")
RelevanceReward = reward_class(_OneMetric, "RelevanceReward")
EvasionPenalty = reward_class(_OneMetric, "EvasionPenalty")
RoleFlipPenalty = reward_class(_OneMetric, "RoleFlipPenalty")
CopyPenalty = reward_class(_OneMetric, "CopyPenalty")
RepetitionPenalty = reward_class(_OneMetric, "RepetitionPenalty")
