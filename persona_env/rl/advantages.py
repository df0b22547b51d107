"""Turn-level GAE: a line is one time step, however many tokens it has."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["RolloutArrays", "center_rewards", "line_advantages"]

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RolloutArrays:
    """A rollout of N rows and T steps; step t of row i is one token of the learner."""

    rewards: Floats  # (T, N) the reward after the token
    values: Floats  # (T, N) the critic's estimate before the token
    answer: Flags  # (T, N) the token belongs to the answer to a probe, a leaf of the dialogue
    last_of_line: Flags  # (T, N) the line (or answer) ends with this token
    last_of_dialogue: Flags  # (T, N) the dialogue ends with this token
    next_values: Floats  # (N,) the critic's estimate after the last step
    next_answer: Flags  # (N,) after the last step a probe waits for its answer
    bootstrap_values: Floats  # (T, N) where a dialogue was truncated with this token, the estimate after it; else 0


def line_advantages(steps: RolloutArrays, line_gamma: float, line_lambda: float) -> Floats:
    """Returns the advantage of each token, (T, N).

    Generalised advantage estimation with discount and decay 1 inside a line (a discount per token would reward
    short lines), and `line_gamma`, `line_lambda` from a line to the next. The answer to a probe gets its own reward
    and nothing else; the trace of the dialogue skips it.

    Source: Schulman et al., arXiv 1506.02438, eq. 16; the line as the unit of time is ours.
    """
    advantages = np.zeros_like(steps.rewards)
    main_value = np.where(steps.next_answer, _latest_line_value(steps), steps.next_values)
    leaf_value = steps.next_values
    main_trace = leaf_trace = np.zeros_like(steps.next_values)
    for t in reversed(range(len(steps.rewards))):
        answer, end, value = steps.answer[t], steps.last_of_line[t], steps.values[t]
        ended, bootstrap = steps.last_of_dialogue[t], steps.bootstrap_values[t]
        if ended.any():
            leaf_value = np.where(ended, bootstrap, leaf_value)
            main_value = np.where(ended, np.where(answer & ~end, 0, bootstrap), main_value)
            main_trace, leaf_trace = np.where(ended, 0, main_trace), np.where(ended, 0, leaf_trace)
        gamma = np.where(end, np.where(answer, 0.0, line_gamma), 1.0).astype(np.float32)
        decay = np.where(end, line_lambda, 1.0).astype(np.float32)
        delta = steps.rewards[t] + gamma * np.where(answer, leaf_value, main_value) - value
        advantages[t] = delta + gamma * decay * np.where(answer, leaf_trace, main_trace)
        main_value = np.where(answer, main_value, value)
        main_trace = np.where(answer, main_trace, advantages[t])
        leaf_value, leaf_trace = value, advantages[t]  # read by earlier tokens of an answer only
    return advantages


def center_rewards(steps: RolloutArrays) -> RolloutArrays:
    """Returns the steps with the mean reward per line subtracted from each line, and likewise for answers.

    Without it the returns of a short dialogue fall from its first line to its last by more than any line can earn,
    and a critic that does not count lines mistakes this for advantage. The optimum stays the same as long as the
    speaker does not choose when a dialogue ends; where it does, a line of mean reward is worth nothing.

    Source: Naik et al., arXiv 2405.09999 (reward centring); by kind of line is ours.
    """
    rewards = steps.rewards.copy()
    for kind in (steps.answer, ~steps.answer):
        ends = steps.last_of_line & kind
        if ends.any():
            rewards[ends] -= steps.rewards[kind].sum() / ends.sum()
    return replace(steps, rewards=rewards)


def _latest_line_value(steps: RolloutArrays) -> Floats:
    """The estimate at the start of each row's latest line of its dialogue, (N,); 0 where it has none.

    Where the rollout ends inside an answer, the dialogue's next state is not known yet; this stands in for it.
    """
    found = np.zeros_like(steps.next_values)
    for t in range(len(steps.values)):
        new = ~steps.answer[t]
        if t:
            found = np.where(steps.last_of_dialogue[t - 1], 0.0, found)
            new &= steps.last_of_line[t - 1]
        found = np.where(new, steps.values[t], found)
    return found.astype(np.float32)
