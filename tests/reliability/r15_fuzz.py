"""R15: hostile input for everything that reads: typed errors of one line, nothing that hangs, no growing memory.

500 inputs for each reader; by hand: PERSONA_ENV_FUZZ=10000 python -m tests.reliability R15
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.reliability.demands import Measured, demand, few
from tests.reliability.doors import DOORS, Door, problem
from tests.reliability.mutations import changed_bytes, changed_texts

EXAMPLES = int(os.environ.get("PERSONA_ENV_FUZZ", "500"))
"""Inputs for each reader."""

SECONDS = 2.0
"""Of processor time: the most that one input may take."""

LONGEST = 2000
"""Characters: the longest message."""


def fault(door: Door, data: bytes | str) -> str:
    """Gives a reader an input; returns what it does wrong, "" where that is nothing."""
    begin, cpu = time.perf_counter(), time.process_time()
    try:
        door.read(data)
        found = ""
    except door.errors as error:
        found = problem(error, worded=door.worded)
        if len(str(error)) > LONGEST:  # it quotes the beginning of what it was given, never all of it
            found = f"a message of {len(str(error))} characters"
        if type(error) in (UnicodeEncodeError, UnicodeDecodeError, json.JSONDecodeError):
            found = f"a raw {type(error).__name__}"
    except Exception as error:
        found = f"{type(error).__name__}: {ascii(str(error))[:200]}"
    # Wall time too, as what waits uses no processor; but other processes may hold this one up.
    seconds = max(time.process_time() - cpu, (time.perf_counter() - begin) / 10)
    return found or (f"{seconds:.1f} s" if seconds > SECONDS else "")


def inputs(door: Door) -> Any:
    """Returns the strategy that draws inputs for a reader."""
    samples: Any = door.samples
    return changed_texts(samples) if isinstance(samples[0], str) else changed_bytes(samples)


def fuzzed(name: str, examples: int) -> dict[str, bytes | str]:
    """Draws so many inputs for a reader; returns one input for each fault."""
    door, found = DOORS[name], dict[str, bytes | str]()

    @seed(15)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
    )  # fmt: skip
    @given(inputs(door))
    def read(data: bytes | str) -> None:
        wrong = fault(door, data)
        if wrong:
            found.setdefault(wrong[:60], data)

    read()
    return found


def _memory() -> float:
    """Returns the MiB that this process holds."""
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


_GROWTH = 256.0


@demand(
    "R15",
    f"{len(DOORS)} entry points x {EXAMPLES:,} inputs: valid ones with hostile changes, and noise",
    f">= 12 entry points; typed errors of one line only, <= {SECONDS:.0f} s each, <= +{_GROWTH:.0f} MiB in all",
)
def fuzz() -> Measured:
    for door in DOORS.values():
        assert not any(fault(door, sample) for sample in door.samples)  # imports and caches are there from now on
    before = _memory()
    faults = [f"{name}: {wrong}" for name in DOORS for wrong in fuzzed(name, EXAMPLES)]
    grown = _memory() - before
    return not faults and len(DOORS) >= 12 and grown <= _GROWTH, f"{len(faults)} faults{few(faults)}; {grown:+.0f} MiB"
