"""Query-answer: does the simulator itself answer questions about its persona right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from persona_env.conversation import Conversation, Probe
from persona_env.errors import InputError
from persona_env.judges.base import AnswerVsGold, JudgeLike, Verdict
from persona_env.metrics.metric import Metric, QueryOrVerdict, Score, verdicts_on
from persona_env.metrics.probe_schedule import Answer, ProbeSchedule, branches
from persona_env.speakers import Speaker

__all__ = ["QuestionAnswer", "QuestionAnswerScore", "answer_query"]


@dataclass(frozen=True, slots=True)
class QuestionAnswerScore(Score):
    """A question-answer score: `per_line` has one value for each question asked.

    Attributes:
        asked_after: The line after which each question was asked.
    """

    asked_after: tuple[int, ...] = ()


def answer_query(probe: Probe, answer: str) -> AnswerVsGold:
    """Returns what to ask the judge about an answer."""
    return AnswerVsGold(probe.role, probe.text, probe.gold, answer, probe.choices)


class QuestionAnswer(Metric):
    """Share of questions about its persona that the simulator itself answers right.

    The question is put to the simulator as an incoming line after some line of the dialogue, and the
    dialogue goes on as if it had not happened. The paper asks the judge model instead, with the
    persona in its prompt: that measures the judge.

    Args:
        speaker: The simulator; needed where the metric is called on conversations, which then
            asks it everything in one batched call. `scores` takes answers that were collected
            elsewhere.
        every: Ask after each `every`-th line; None: once per dialogue.
        within: See `ProbeSchedule`.
        held_out: Use the wordings reserved for evaluation; the default here, not in training.

    Source: arXiv 2511.00222, section 3 (Q&A consistency).

    >>> QuestionAnswer(every=2).schedule
    ProbeSchedule(every=2, within=8, held_out=True)
    """

    name = "question_answer"
    title = "probe errors (Q&A)"
    mark = "wrong answer"
    group = "drift"

    def __init__(
        self,
        speaker: Speaker | None = None,
        *,
        every: int | None = None,
        within: int = 8,
        held_out: bool = True,
    ):
        self.speaker = speaker
        self.schedule = ProbeSchedule(every, within, held_out)

    def answers(self, conversations: Sequence[Conversation], speaker: Speaker) -> list[tuple[Answer, ...]]:
        """Returns what the simulator answers on branches of the dialogues; one batched call.

        Raises:
            ValueError: If the speaker gives another number of replies than it was asked for.
        """
        table = [branches(conversation, self.schedule) for conversation in conversations]
        views = [branch.view for due in table for branch in due]
        replies = speaker.reply(views) if views else []
        if len(replies) != len(views):
            raise InputError(f"Expected {len(views)} replies, got {len(replies)}: a speaker answers each view.")
        texts = iter(replies)
        return [tuple(Answer(b.line_index, b.probe, next(texts)) for b in due) for due in table]

    def scores(self, answers: Sequence[Sequence[Answer]], judge: JudgeLike) -> list[QuestionAnswerScore]:
        """Returns a score for each dialogue from the answers given in it; one judge call."""
        verdicts = iter(verdicts_on([_asked(a) for given in answers for a in given], judge))
        return [_scored([a.line_index for a in given], [next(verdicts) for _ in given]) for given in answers]

    def queries(self, conversations: Sequence[Conversation]) -> list[tuple[QueryOrVerdict, ...]]:
        """Probes the speaker and returns what to ask the judge about its answers.

        Raises:
            ValueError: If there is no speaker.
        """
        if self.speaker is None:
            raise InputError("Expected a speaker to probe, got None: give QuestionAnswer(speaker=...).")
        return [tuple(map(_asked, given)) for given in self.answers(conversations, self.speaker)]

    def score(self, conversation: Conversation, verdicts: Sequence[Verdict]) -> QuestionAnswerScore:
        """Returns the mean over answers, and after which lines they were asked for."""
        return _scored([b.line_index for b in branches(conversation, self.schedule)], verdicts)

    def __repr__(self) -> str:
        i = self.schedule
        return f"QuestionAnswer(every={i.every}, within={i.within}, held_out={i.held_out})"


def _asked(answer: Answer) -> AnswerVsGold:
    return answer_query(answer.probe, answer.text)


def _scored(lines: Sequence[int], verdicts: Sequence[Verdict]) -> QuestionAnswerScore:
    plain = Score.of([verdict.value for verdict in verdicts])
    return QuestionAnswerScore(plain.value, plain.per_line, plain.n, plain.invalid, tuple(lines))
