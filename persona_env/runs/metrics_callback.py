"""The journal of a run: one line per rollout with what was paid and how far the policy has moved."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from persona_env.runs.invalid_rate import InvalidRate

__all__ = ["MetricsCallback"]

_PREFIX = "consistency/"


class MetricsCallback(BaseCallback):
    """Hands a record of each rollout to `write` and the tokens so far to `tick`.

    A record holds `tokens`, the mean of each `consistency/<name>` over the lines (or answers) that were
    judged, `judged` and `invalid` (verdicts in all, and those that could not be read) and, with a leash,
    `kl_to_reference`. Nothing in it depends on the clock.

    Args:
        write: Takes the record.
        tick: Takes the tokens so far.
        invalid_rate: Counts the verdicts of the whole training, and ends it where too many cannot be read.
    """

    def __init__(
        self,
        write: Callable[[Mapping[str, Any]], None],
        tick: Callable[[int], None],
        invalid_rate: InvalidRate | None = None,
    ):
        super().__init__()
        self._write, self._tick = write, tick
        self._values: dict[str, list[float]] = defaultdict(list)
        self.invalid_rate = invalid_rate or InvalidRate("training", most=1.0)

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            for name, value in info.items():
                if name.startswith(_PREFIX):
                    self._values[name.removeprefix(_PREFIX)].append(float(value))
        return True

    def _on_rollout_end(self) -> None:
        record: dict[str, Any] = {"tokens": self.num_timesteps}
        judged = invalid = 0
        for name, values in sorted(self._values.items()):
            valid = [value for value in values if not math.isnan(value)]
            judged, invalid = judged + len(values), invalid + len(values) - len(valid)
            record[name] = sum(valid) / len(valid) if valid else None
        buffer = self.locals["rollout_buffer"]
        leashed = getattr(self.model.policy, "reference", None) is not None
        record |= {
            "judged": judged,
            "invalid": invalid,
            "kl_to_reference": buffer.kl_to_reference() if leashed else None,
        }
        self._values.clear()
        self._write(record)
        self._tick(self.num_timesteps)
        self.invalid_rate.add(judged, invalid)
