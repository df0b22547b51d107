"""A judge that answers from a log; what the log has no record of is invalid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from persona_env.conversation import Conversation
from persona_env.io import LoggedDialogue, LoggedReply, SpeakerKey, iter_logs
from persona_env.io.released import qa_item
from persona_env.judges.base import (
    AnswerVsGold,
    Judge,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    LineVsQuestion,
    LineVsRole,
    Query,
    Verdict,
    query_key,
)
from persona_env.judges.reply_parsing import parse_verdict

__all__ = ["RecordedJudge", "recorded_queries", "recorded_verdict", "survey_replies"]


class RecordedJudge(Judge):
    """Answers the queries of a log from its raw replies, read fail-closed (`recorded:<log>`).

    A query that the log has several times is answered if all its replies say the same; else it is undecided, or
    invalid if a reply cannot be read. Judges relevance only from logs of ours: the released ones have none.

    >>> from persona_env.persona import Persona
    >>> ann = Persona("p", "patient", "Ann", "You are Ann.")
    >>> talk = Conversation(ann).with_reply("Who are you?").with_line("Ann.")
    >>> log = LoggedDialogue.of(talk, [LoggedReply("prompt_to_line", 1, "That is her name. NO")])
    >>> query = LineVsPersona(ann, "Ann.", "Who are you?")
    >>> [verdict.label for verdict in RecordedJudge([log]).judge([query])]
    ['consistent']
    """

    is_exact = True

    def __init__(self, dialogues: Iterable[LoggedDialogue]):
        self._verdicts: dict[object, Verdict] = {}
        for dialogue in dialogues:
            for speaker in dialogue.judged:
                for query, reply, own_lines in recorded_queries(dialogue, speaker):
                    key, verdict = query_key(query), recorded_verdict(reply, own_lines)
                    known = self._verdicts.setdefault(key, verdict)
                    said = [(one.label, one.conflicts, one.applies) for one in (known, verdict)]
                    if said[0] != said[1]:
                        label = "invalid" if "invalid" in (known.label, verdict.label) else "undecided"
                        self._verdicts[key] = Verdict(label, reason="the log's replies to this differ")

    @classmethod
    def load(cls, path: str | Path) -> RecordedJudge:
        """Returns the judge of a log file; raises FileError if it is none."""
        return cls(iter_logs(path))

    @property
    def identity(self) -> Mapping[str, str]:
        """The log's contents."""
        known = "\n".join(sorted(repr((key, verdict)) for key, verdict in self._verdicts.items()))
        return {"judge": "recorded", "log": sha256(known.encode("utf-8", "backslashreplace")).hexdigest()}

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns the recorded verdicts, in order."""
        unknown = Verdict("invalid", reason="the log has no record of this query")
        return [self._verdicts.get(query_key(query), unknown) for query in queries]


def recorded_queries(
    dialogue: LoggedDialogue, speaker: SpeakerKey
) -> Iterator[tuple[Query, LoggedReply, tuple[int, ...]]]:
    """Yields what a log's judge was asked about one speaker, its reply, and the places of that speaker's lines before.

    Replies about metrics that are none of ours, and answers to questions with a broken gold answer, are left out;
    a speaker without a persona has none.
    """
    if dialogue.speaker(speaker).persona is None:
        return
    conversation, places = dialogue.conversation(speaker), dialogue.places(speaker)
    own = {place: number for number, place in enumerate(places)}
    for reply in (*dialogue.replies, *survey_replies(dialogue, speaker)):
        if reply.line in own:
            query = _query(conversation, own[reply.line], reply)
            if query is not None:
                yield query, reply, places[: own[reply.line]]


def survey_replies(dialogue: LoggedDialogue, speaker: SpeakerKey) -> Iterator[LoggedReply]:
    """Yields the replies of a released log's Q&A about one speaker; one with a broken gold answer has none."""
    items = [qa_item(*pair) for pair in dialogue.speaker(speaker).backstory_test]
    for entry in dialogue.survey_of(speaker):
        for item, answer, raw in zip(items, entry.answers, entry.verdicts, strict=True):
            asked: Any = dict(question=item.wording(0), gold=item.gold, choices=item.choices) if item else {}
            yield LoggedReply("question_answer", entry.line, raw, answer=answer, **asked)


def _query(conversation: Conversation, index: int, reply: LoggedReply) -> Query | None:
    """Returns the query that a reply about line `index` answers; None if it belongs to no metric of ours."""
    persona, line = conversation.persona, conversation.lines[index]
    match reply.metric:
        case "prompt_to_line":
            return LineVsPersona(persona, line, conversation.heard_before(index))
        case "line_to_line" if index:
            return LineVsHistory(persona.role, line, conversation.earlier(index))
        case "relevance":
            return LineVsPrevious(persona, conversation.heard_before(index), line)
        case "evasion":
            return LineVsQuestion(persona, conversation.heard_before(index), line)
        case "role_flip":
            return LineVsRole(persona, conversation.heard_before(index), line)
        case "question_answer" if reply.gold:
            return AnswerVsGold(persona.role, reply.question, reply.gold, reply.answer, reply.choices)
        case _:
            return None


def recorded_verdict(reply: LoggedReply, own_lines: Sequence[int] = ()) -> Verdict:
    """Returns the verdict of a logged reply: its label, or its text read strictly (see `parse_verdict`)."""
    if reply.label is not None:
        verdict = Verdict(reply.label, reply.conflicts, reply.reason, reply.probability, reply.raw)
        return replace(verdict, applies=reply.applies)
    if reply.metric == "question_answer" and not reply.gold:
        return Verdict("invalid", reason="the gold answer is broken", raw=reply.raw)
    if reply.metric in ("prompt_to_line", "line_to_line", "question_answer", "relevance"):
        return parse_verdict(reply.raw, reply.metric, own_lines)
    return Verdict("invalid", reason=f"{reply.metric} is no metric of ours", raw=reply.raw)
