"""The form for many environments: a `VectorWrapper` with one judge batch per step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from persona_env.judges.base import Judge
from persona_env.judges.waiting import shared, waits
from persona_env.metrics.rewards import Event, RewardFunction, RewardItem, RewardStats, RewardTerm, event_in
from persona_wrappers.gym_reward import check_dialogue
from persona_wrappers.vector.overlap import OverlappedJudge

__all__ = ["VectorReward"]

_READ = ("line", "line_index", "conversation", "probe", "answer")


def _completed(info: dict[str, Any]) -> Iterator[tuple[int, Event]]:
    """Yields the rows that completed a line or an answer, and what they completed."""
    masks = [info[key] for key in ("_line", "_answer") if key in info]
    if not masks:
        return
    columns = [(key, info[key], info[f"_{key}"]) for key in _READ if key in info]
    for row in np.flatnonzero(np.logical_or.reduce(masks)):
        event = event_in({key: values[row] for key, values, mask in columns if mask[row]})
        if event is not None:
            yield int(row), event


def _row(happened: tuple[dict[str, Any], int, Event]) -> int:
    return happened[1]


def _write(info: dict[str, Any], payment: RewardItem, row: int, rows: int) -> None:
    """Writes a value as Gymnasium lays out the infos of many environments."""
    key = payment.key
    if key not in info:
        info[key], info[f"_{key}"] = np.zeros(rows), np.zeros(rows, np.bool_)
    info[key][row], info[f"_{key}"][row] = payment.value, True


class VectorReward(RewardStats, VectorWrapper[Any, Any, Any, Any, Any]):
    """Adds what the terms pay for completed lines and answers to the rewards.

    With same-step autoreset a finishing row's info stands under `final_info`, and so does what is
    written about it. A step in which no row completes anything costs two look-ups.

    A judge that waits (see `Judge`) is asked beside the task agent's replies, where the environment
    tells of completed lines before it has them (`takes_step_callbacks`); any other is asked after them.
    Rewards, infos, calls of the judge and their order are the same.

    Args:
        env: A vector environment of dialogues.
        terms: What is paid for.
        judge: A judge, its spec, or None if no term asks one.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], terms: Sequence[RewardTerm], judge: str | Judge | None):
        super().__init__(env)
        self.reward_function = RewardFunction(terms, judge)
        self._beside = OverlappedJudge()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environments; terms that ask questions join their probe_fns."""
        options = self.reward_function.joined(options)
        if self.overlaps:
            chain = tuple((options or {}).get("step_callbacks", ()))
            options = {**(options or {}), "step_callbacks": (*chain, self._begin)}
        observations, info = self.env.reset(seed=seed, options=options)
        check_dialogue(info, self.env)
        return observations, info

    @property
    def overlaps(self) -> bool:
        """Whether the judge is asked beside the task agent's replies, from the next reset on."""
        judge = self.reward_function.judge
        if judge is None or not waits(judge) or not getattr(self.env.unwrapped, "takes_step_callbacks", False):
            return False
        # What is asked after the replies further inside must not be asked here at the same time.
        later = [
            one.reward_function.judge
            for one in self._inner()
            if one.reward_function.judge is not None and not one.overlaps
        ]
        return not any(shared(judge, other) for other in later)

    def _inner(self) -> Iterator[VectorReward]:
        """Yields the rewards further inside, the nearest first."""
        layer = self.env
        while isinstance(layer, VectorWrapper):
            if isinstance(layer, VectorReward):
                yield layer
            layer = layer.env

    def _begin(self, completed: Mapping[int, Mapping[str, Any]]) -> None:
        """Begins to ask about what rows have completed: the environment calls this."""
        judge, found = self.reward_function.judge, [event_in(completed[row]) for row in sorted(completed)]
        if judge is not None:
            findings = self.reward_function.queries([event for event in found if event is not None])
            after = next((one._beside for one in self._inner() if one._beside.has_begun), None)
            self._beside.begin(findings, judge, after)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps the environments and adds to their rewards and infos."""
        with self._beside:
            observations, rewards, terminated, truncated, info = self.env.step(actions)
            final = info.get("final_info", {})
            happened = [(source, *found) for source in (info, final) for found in _completed(source)]
            if happened:
                rewards, info = self._paid(rewards, info, sorted(happened, key=_row))
        return observations, rewards, terminated, truncated, info

    def close(self, **kwargs: Any) -> None:
        """Closes the environments; no judge call goes on after it."""
        super().close(**kwargs)
        self._beside.end()

    def _paid(
        self, rewards: Any, info: dict[str, Any], happened: list[tuple[dict[str, Any], int, Event]]
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Returns rewards (N,) and info with what happened paid for."""
        rewards, now = np.array(rewards, np.float64), dict(info)
        if "final_info" in now:
            now["final_info"] = dict(now["final_info"])
        for payment in self.reward_function.pay([event for _, _, event in happened], self._beside.verdicts_on):
            source, row, _ = happened[payment.number]
            rewards[row] += payment.reward
            target = now if source is info else now["final_info"]
            _write(target, payment, row, self.num_envs)
        return rewards, now
