"""What a metric of answers is: the simulator is asked on branches of a dialogue, and each of its answers is judged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from persona_env.conversation import Conversation, Probe
from persona_env.errors import InputError
from persona_env.judges.base import JudgeLike
from persona_env.metrics.metric import Metric, QueryOrVerdict, Score, verdicts_on
from persona_env.metrics.probe_schedule import Answer, ProbeSchedule, branches
from persona_env.speakers import Speaker

__all__ = ["AnswerMetric"]


class AnswerMetric(Metric):
    """A metric with one query for each answer to a probe.

    The question is put to the simulator as an incoming line after some line of the dialogue, and the dialogue goes on
    as if it had not happened. `speaker` is the simulator (`scores` takes answers collected elsewhere), the rest are
    fields of a `ProbeSchedule`.
    """

    unit = "answers"

    def __init__(
        self, speaker: Speaker | None = None, *, every: int | None = None, within: int = 8, held_out: bool = True
    ):
        self.speaker = speaker
        self.schedule = ProbeSchedule(every, within, held_out)

    @abstractmethod
    def query(self, probe: Probe, text: str) -> QueryOrVerdict:
        """Returns what there is to judge in the answer `text`."""

    def answers(self, conversations: Sequence[Conversation], speaker: Speaker) -> list[tuple[Answer, ...]]:
        """Returns what the simulator answers on branches of the dialogues; one batched call."""
        table = [branches(conversation, self.schedule) for conversation in conversations]
        views = [view for due in table for _, _, view in due]
        replies = speaker.reply(views) if views else []
        if len(replies) != len(views):
            raise InputError(f"Expected {len(views)} replies, got {len(replies)}: a speaker answers each view.")
        texts = iter(replies)
        return [tuple(Answer.said(index, probe, next(texts)) for index, probe, _ in due) for due in table]

    def scores(self, answers: Sequence[Sequence[Answer]], judge: JudgeLike | None = None) -> list[Score]:
        """Returns a score for each dialogue from the answers given in it; one judge call."""
        verdicts = iter(verdicts_on([query for row in self.queries_on(answers) for query in row], judge))
        return [Score.of([next(verdicts) for _ in given]) for given in answers]

    def queries(self, conversations: Sequence[Conversation]) -> list[tuple[QueryOrVerdict, ...]]:
        """Probes the speaker and returns what there is to judge in its answers."""
        if self.speaker is None:
            raise InputError(f"Expected a speaker to probe, got None: give {type(self).__name__}(speaker=...).")
        return self.queries_on(self.answers(conversations, self.speaker))

    def queries_on(self, answers: Sequence[Sequence[Answer]]) -> list[tuple[QueryOrVerdict, ...]]:
        """Returns what there is to judge in answers that were given, in those of each dialogue."""
        return [tuple(self.query(answer.probe, answer.text) for answer in given) for given in answers]
