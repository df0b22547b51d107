"""Query-answer: does the simulator itself answer questions about its persona right?"""

from __future__ import annotations

from persona_env.conversation import Probe
from persona_env.judges.base import AnswerVsGold, Verdict
from persona_env.metrics.answer_metric import AnswerMetric
from persona_env.metrics.metric import QueryOrVerdict
from persona_env.metrics.probe_copying import RECITED, recites

__all__ = ["QuestionAnswer", "answer_query"]


def answer_query(probe: Probe, answer: str) -> AnswerVsGold | Verdict:
    """Returns what to ask the judge about an answer; one that recites the persona text is wrong unasked."""
    if recites(probe, answer):
        return RECITED
    return AnswerVsGold(probe.role, probe.text, probe.gold, answer, probe.choices)


class QuestionAnswer(AnswerMetric):
    """Share of questions about its persona that the simulator itself answers right; see `AnswerMetric`.

    The paper asks the judge model instead, with the persona in its prompt: that measures the judge. Who answers with
    the persona text answers everything, and so nothing: that is wrong.

    Source: arXiv 2511.00222, section 3 (Q&A consistency).

    >>> QuestionAnswer(every=2).schedule
    ProbeSchedule(every=2, within=8, held_out=True)
    """

    name = "question_answer"
    title = "probe errors (Q&A)"
    mark = "wrong answer"
    group = "drift"

    def query(self, probe: Probe, text: str) -> QueryOrVerdict:
        """Returns what to ask the judge about an answer; see `answer_query`."""
        return answer_query(probe, text)
