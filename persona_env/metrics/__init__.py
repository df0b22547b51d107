"""How consistent a simulator is: one metric per drift type, three guards, all in [0, 1], 1 is good.

Drift types: `PromptToLine`, `LineToLine`, `QuestionAnswer`. Guards, without which a consistent
parrot looks
good: `Relevance`, `Copying`, `Repetition`. `evaluate` scores many conversations with many metrics
in one judge batch; `statistics` puts intervals over personas around the result.
"""

from __future__ import annotations

from persona_env.metrics.copying import Copying
from persona_env.metrics.line_to_line import LineToLine, LineToLineScore, pair_score
from persona_env.metrics.metric import (
    Finding,
    LineMetric,
    Metric,
    Score,
    evaluate,
    pooled,
    verdicts_on,
)
from persona_env.metrics.probe_schedule import Answer, ProbeSchedule
from persona_env.metrics.prompt_to_line import PromptToLine
from persona_env.metrics.question_answer import (
    QuestionAnswer,
    QuestionAnswerScore,
    answer_question,
)
from persona_env.metrics.relevance import Relevance
from persona_env.metrics.repetition import Repetition

__all__ = [
    "Answer",
    "Copying",
    "Finding",
    "LineMetric",
    "LineToLine",
    "LineToLineScore",
    "Metric",
    "ProbeSchedule",
    "PromptToLine",
    "QuestionAnswer",
    "QuestionAnswerScore",
    "Relevance",
    "Repetition",
    "Score",
    "answer_question",
    "evaluate",
    "pair_score",
    "pooled",
    "verdicts_on",
]
