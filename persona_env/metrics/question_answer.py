"""Query-answer: does the simulator itself answer questions about its persona right?"""

from __future__ import annotations

from collections.abc import Sequence

from persona_env.conversation import Conversation, Probe
from persona_env.errors import InputError
from persona_env.judges.base import AnswerVsGold, JudgeLike
from persona_env.metrics.metric import Metric, QueryOrVerdict, Score, verdicts_on
from persona_env.metrics.probe_schedule import Answer, ProbeSchedule, branches
from persona_env.speakers import Speaker

__all__ = ["QuestionAnswer", "answer_query"]


def answer_query(probe: Probe, answer: str) -> AnswerVsGold:
    """Returns what to ask the judge about an answer."""
    return AnswerVsGold(probe.role, probe.text, probe.gold, answer, probe.choices)


class QuestionAnswer(Metric):
    """Share of questions about its persona that the simulator itself answers right.

    The question is put to the simulator as an incoming line after some line of the dialogue, and the dialogue goes on
    as if it had not happened. The paper asks the judge model instead, with the persona in its prompt: that measures the
    judge. `speaker` is the simulator (`scores` takes answers collected elsewhere), the rest are fields of a
    `ProbeSchedule`.

    Source: arXiv 2511.00222, section 3 (Q&A consistency).

    >>> QuestionAnswer(every=2).schedule
    ProbeSchedule(every=2, within=8, held_out=True)
    """

    name = "question_answer"
    title = "probe errors (Q&A)"
    mark = "wrong answer"
    group = "drift"

    def __init__(
        self, speaker: Speaker | None = None, *, every: int | None = None, within: int = 8, held_out: bool = True
    ):
        self.speaker = speaker
        self.schedule = ProbeSchedule(every, within, held_out)

    def answers(self, conversations: Sequence[Conversation], speaker: Speaker) -> list[tuple[Answer, ...]]:
        """Returns what the simulator answers on branches of the dialogues; one batched call."""
        table = [branches(conversation, self.schedule) for conversation in conversations]
        views = [view for due in table for _, _, view in due]
        replies = speaker.reply(views) if views else []
        if len(replies) != len(views):
            raise InputError(f"Expected {len(views)} replies, got {len(replies)}: a speaker answers each view.")
        texts = iter(replies)
        return [tuple(Answer.said(index, probe, next(texts)) for index, probe, _ in due) for due in table]

    def scores(self, answers: Sequence[Sequence[Answer]], judge: JudgeLike) -> list[Score]:
        """Returns a score for each dialogue from the answers given in it; one judge call."""
        verdicts = iter(verdicts_on([answer_query(a.probe, a.text) for given in answers for a in given], judge))
        return [Score.of([next(verdicts) for _ in given]) for given in answers]

    def queries(self, conversations: Sequence[Conversation]) -> list[tuple[QueryOrVerdict, ...]]:
        """Probes the speaker and returns what to ask the judge about its answers."""
        if self.speaker is None:
            raise InputError("Expected a speaker to probe, got None: give QuestionAnswer(speaker=...).")
        table = self.answers(conversations, self.speaker)
        return [tuple(answer_query(answer.probe, answer.text) for answer in given) for given in table]
