"""A dialogue in plain text with the lines that drift marked."""

from __future__ import annotations

import math
from collections.abc import Sequence

from persona_env.evaluation.eval_log import EvalLog, MetricInfo, Sample
from persona_env.report.terminal import plain
from persona_env.roles import role_named

__all__ = ["before_and_after", "transcript"]


def transcript(sample: Sample, metrics: Sequence[MetricInfo]) -> str:
    """Returns a dialogue as text; a line that drifts ends with the marks of its log's metrics that say so.

    A line of several is indented, and what cannot be printed is escaped: no line can pass for another.
    """
    talk = sample.conversation
    role = role_named(talk.persona.role)
    names = {"simulator": role.simulator, "task": role.task if role.task != role.simulator else "other"}
    width = max(map(len, names.values())) + 1
    marks = {m.name: m.mark for m in metrics if m.is_judged and m.mark and m.unit == "lines"}
    rows, index = [plain(talk.persona.prompt), ""], 0
    for message in talk.messages:
        row = f"{names[message.side] + ':':<{width}} {plain(message.text, width + 1)}"
        if message.side == "simulator":
            wrong = [mark for name, mark in marks.items() if sample.verdicts[name][index].label == "inconsistent"]
            row += f"   <-- {', '.join(wrong)}" if wrong else ""
            index += 1
        rows.append(row)
    return "\n".join(rows)


def before_and_after(log: EvalLog) -> str | None:
    """Returns the dialogue in which training changed the most, twice; None where the log has no such pair."""
    arms = log.arm("before"), log.arm("after")
    if arms[0] is None or arms[1] is None:
        return None
    before, after = arms[0].samples, arms[1].samples
    place = max(range(len(before)), key=lambda i: (_bad_lines(before[i]) - _bad_lines(after[i]), -i))
    pairs = (("before", before[place]), ("after", after[place]))
    return "\n".join(f"--- {title} training ---\n{transcript(s, log.header.metrics)}\n" for title, s in pairs)


def _bad_lines(sample: Sample) -> float:
    values = (v.value for name in ("prompt_to_line", "line_to_line") for v in sample.verdicts[name])
    return sum(1 - value for value in values if not math.isnan(value))
