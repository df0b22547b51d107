"""The time of a vector step in which a judge and the task agent are asked, against the slower of the two alone.

Both are behind servers of fixed latency, in processes of their own. Judging alone is the judge's call on the questions
of the same steps, generation alone the same steps without rewards; all three are taken in turns, in one run. Target:
<= 1.15 x the slower; one after the other would cost the sum.

    python -m tests.benchmarks.overlapped_judging
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import gymnasium as gym

import persona_env  # noqa: F401 - registers the environments
from persona_env.judges import Judge, Query, Verdict, load_judge
from persona_env.speakers import load_speaker
from persona_wrappers.vector import ConsistencyRewards
from tests.benchmarks.models import best_seconds
from tests.models.fault_server import FaultProcess

TARGET = 1.15
LATENCIES = ((0.05, 0.05), (0.05, 0.02), (0.02, 0.05))
ROWS, STEPS, TIMES = 8, 12, 3
ANSWERS = ("--answer", "tests.judges.backends:label_a")
WEIGHTS = {"prompt_to_line": 1.0, "relevance": 0.5}


class Noted(Judge):
    """A remote judge that remembers what it was asked."""

    is_remote = True

    def __init__(self, judge: Judge) -> None:
        self.wrapped, self.batches = judge, list[Sequence[Query]]()

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        self.batches.append(queries)
        return self.wrapped.judge(queries)


def _steps(envs: Any) -> list[float]:
    """Returns the seconds of each step of a dialogue that nobody ends."""
    envs.reset(seed=0)
    lines = [tuple(f"I sleep {step} hours, or {row} more." for row in range(ROWS)) for step in range(STEPS)]
    return [best_seconds(lambda line=line: envs.step(line), 1) for line in lines]


def measure(judge_spec: str, agent_spec: str) -> tuple[float, float, float]:
    """Returns the seconds of a step with both, of judging alone and of generation alone: the best medians."""
    judge, agent = Noted(load_judge(judge_spec)), load_speaker(agent_spec)
    plain, other = (
        gym.make_vec("persona_env/Patient-v0", ROWS, task_agent=agent, max_lines=STEPS + 1) for _ in range(2)
    )
    paid = ConsistencyRewards(other, WEIGHTS, judge)
    _steps(paid)  # connections are opened, and the questions are known
    batches = list(judge.batches)
    found = list[tuple[float, float, float]]()
    for _ in range(TIMES):
        alone = [best_seconds(lambda batch=batch: judge.wrapped.judge(batch), 1) for batch in batches]
        found.append((statistics.median(_steps(paid)), statistics.median(alone), statistics.median(_steps(plain))))
    judge.wrapped.close()
    agent.close()
    both, judging, generating = zip(*found, strict=True)
    return min(both), min(judging), min(generating)


def main() -> bool:
    good = True
    for judging_latency, speaking_latency in LATENCIES:
        with (
            FaultProcess("--latency", str(judging_latency), *ANSWERS) as judge,
            FaultProcess("--latency", str(speaking_latency), *ANSWERS) as agent,
        ):
            both, judging, generating = measure(f"openai:{judge.spec}", f"openai:{agent.spec}")
        ratio = both / max(judging, generating)
        good &= ratio <= TARGET
        told = f"judge {1e3 * judging:.1f} ms, task agent {1e3 * generating:.1f} ms, with both {1e3 * both:.1f} ms"
        share = both / (judging + generating)
        print(f"overlap: {told}: x{ratio:.2f} the slower (target <= {TARGET}), x{share:.2f} the sum", flush=True)
    return good


if __name__ == "__main__":
    raise SystemExit(not main())
