"""The form for many environments: a `VectorWrapper` with one judge batch per step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from persona_env.judges import Judge
from persona_wrappers.cashier import Cashier, Payment, Pays
from persona_wrappers.gym_reward import check_dialogue
from persona_wrappers.term import Event, Term, event_in

__all__ = ["VectorReward"]

_READ = ("line", "line_index", "conversation", "question", "answer")


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


def _write(info: dict[str, Any], payment: Payment, row: int, rows: int) -> None:
    """Writes a value as Gymnasium lays out the infos of many environments."""
    key = payment.key
    if key not in info:
        info[key], info[f"_{key}"] = np.zeros(rows), np.zeros(rows, np.bool_)
    info[key][row], info[f"_{key}"][row] = payment.value, True


class VectorReward(Pays, VectorWrapper[Any, Any, Any, Any, Any]):
    """Adds what the terms pay for completed lines and answers to the rewards.

    With same-step autoreset a finishing row's info stands under `final_info`, and so does what is
    written about it. A step in which no row completes anything costs two look-ups.

    Args:
        env: A vector environment of dialogues.
        terms: What is paid for.
        judge: A judge, its spec, or None if no term asks one.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], terms: Sequence[Term], judge: str | Judge | None):
        super().__init__(env)
        self.cashier = Cashier(terms, judge)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environments; terms that ask questions join their interviewers."""
        observations, info = self.env.reset(seed=seed, options=self.cashier.joined(options))
        check_dialogue(info, self.env)
        return observations, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps the environments and adds to their rewards and infos."""
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        final = info.get("final_info", {})
        happened = [(info, *found) for found in _completed(info)]
        happened += [(final, *found) for found in _completed(final)]
        if happened:
            rewards, info = self._paid(rewards, info, happened)
        return observations, rewards, terminated, truncated, info

    def _paid(
        self, rewards: Any, info: dict[str, Any], happened: list[tuple[dict[str, Any], int, Event]]
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Returns rewards (N,) and info with what happened paid for."""
        rewards, now = np.array(rewards, np.float64), dict(info)
        if "final_info" in now:
            now["final_info"] = dict(now["final_info"])
        for payment in self.cashier.pay([event for _, _, event in happened]):
            source, row, _ = happened[payment.number]
            rewards[row] += payment.reward
            target = now if source is info else now["final_info"]
            _write(target, payment, row, self.num_envs)
        return rewards, now
