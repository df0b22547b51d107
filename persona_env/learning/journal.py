"""The journal of a run: one line per rollout with what was paid and how far the policy has moved."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

__all__ = ["Journal"]

_PREFIX = "consistency/"


class Journal(BaseCallback):
    """Hands a record of each rollout to `write` and calls `tick` with the tokens so far.

    A record holds `tokens`, `seconds`, the mean of each `consistency/<name>` over the lines (or answers)
    that were judged, `invalid` (verdicts that could not be read) and, with a leash, `kl_to_reference`.
    """

    def __init__(self, write: Callable[[Mapping[str, Any]], None], tick: Callable[[int], None]):
        super().__init__()
        self._write, self._tick = write, tick
        self._values: dict[str, list[float]] = defaultdict(list)
        self._begin = time.perf_counter()
        self.invalid = 0

    def _on_training_start(self) -> None:
        self._begin = time.perf_counter()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            for name, value in info.items():
                if name.startswith(_PREFIX):
                    self._values[name.removeprefix(_PREFIX)].append(float(value))
        return True

    def _on_rollout_end(self) -> None:
        record: dict[str, Any] = {
            "tokens": self.num_timesteps,
            "seconds": time.perf_counter() - self._begin,
        }
        invalid = 0
        for name, values in sorted(self._values.items()):
            valid = [value for value in values if not math.isnan(value)]
            invalid += len(values) - len(valid)
            record[name] = sum(valid) / len(valid) if valid else None
        buffer = self.locals["rollout_buffer"]
        leashed = getattr(self.model.policy, "reference", None) is not None
        record |= {
            "invalid": invalid,
            "kl_to_reference": buffer.kl_to_reference() if leashed else None,
        }
        self.invalid += invalid
        self._values.clear()
        self._write(record)
        self._tick(self.num_timesteps)
