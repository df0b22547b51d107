"""Labels from what others recorded: the verdicts in logs, and the human labels of Dialogue NLI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from persona_env.calibration.label_file import GivenLabel, Labelled
from persona_env.io import LoggedDialogue, LoggedReply, SpeakerKey, iter_logs
from persona_env.io.dnli import read_dnli
from persona_env.io.released import qa_item
from persona_env.judges.base import AnswerVsGold, LineVsPersona, Query
from persona_env.judges.recorded import recorded_query, recorded_verdict
from persona_env.papers.paper_scores import listed_by_the_paper

__all__ = ["HUMAN", "RECORDED", "dnli_labels", "log_labels", "published_label"]

RECORDED = "recorded judge"
HUMAN = "human (Dialogue NLI)"


def dnli_labels(path: str | Path) -> Iterator[Labelled]:
    """Yields the entailed replies of Dialogue NLI as consistent, the contradicting ones as inconsistent.

    The reply that was said and the random ones bear no label of the set's and are left out.

    Source: arXiv 1811.00671, section 5.
    """
    for row in read_dnli(path):
        heard = row.prefix[-1] if row.prefix else ""
        persona = row.as_persona()
        for line in row.candidates.similar:
            yield Labelled(LineVsPersona(persona, line, heard), "consistent", persona.id, HUMAN)
        for line in row.candidates.neg:
            yield Labelled(LineVsPersona(persona, line, heard), "inconsistent", persona.id, HUMAN)


def log_labels(path: str | Path) -> Iterator[Labelled | None]:
    """Yields the recorded verdicts of a log as labels.

    The raw replies of the released logs are read by their published rule, which is fail-open: a reply without
    a verdict labels its line as consistent. In logs of ours the label stands there.

    Yields:
        A label for each reply about a question; None for a reply of ours that is invalid. Answers whose
        gold answer cannot be used are left out.

    Raises:
        FileError: If the file is no log.
    """
    for dialogue in iter_logs(path):
        for speaker in dialogue.judged:
            persona = dialogue.speaker(speaker).persona
            if persona is not None:
                for question, label in (*_line_labels(dialogue, speaker), *_answer_labels(dialogue, speaker)):
                    yield Labelled(question, label, persona.id, RECORDED) if label else None


def _line_labels(dialogue: LoggedDialogue, speaker: SpeakerKey) -> Iterator[tuple[Query, GivenLabel | None]]:
    conversation = dialogue.conversation(speaker)
    own = {place: number for number, place in enumerate(dialogue.places(speaker))}
    for reply in dialogue.replies:
        if reply.line in own:
            question = recorded_query(conversation, own[reply.line], reply)
            if question is not None:
                yield question, published_label(reply, speaker)


def published_label(reply: LoggedReply, speaker: SpeakerKey) -> GivenLabel | None:
    """Returns the label that a recorded reply gives, or None where it is invalid.

    A reply of ours has its label. A raw one is read as the published code reads it: about a line and the
    persona inconsistent if "YES" occurs; about earlier lines inconsistent if a number of the speaker's
    parity is listed.

    Source: `consistency_eval.py` of the code released with arXiv 2511.00222.
    """
    if reply.label is not None:
        return None if reply.label == "invalid" else reply.label
    match reply.metric:
        case "prompt_to_line":
            return "inconsistent" if "YES" in reply.raw else "consistent"
        case "line_to_line":
            parity = 0 if speaker == "P1" else 1
            listed = any(index % 2 == parity for index in listed_by_the_paper(reply.raw))
            return "inconsistent" if listed else "consistent"
        case _:
            read = recorded_verdict(reply).label
            return None if read == "invalid" else read


def _answer_labels(dialogue: LoggedDialogue, speaker: SpeakerKey) -> Iterator[tuple[Query, GivenLabel | None]]:
    items = [qa_item(*pair) for pair in dialogue.speaker(speaker).backstory_test]
    for entry in dialogue.survey_of(speaker):
        for item, answer, raw in zip(items, entry.answers, entry.verdicts, strict=True):
            if item:
                question = AnswerVsGold(dialogue.role, item.wording(0), item.gold, answer, item.choices)
                yield question, "consistent" if "yes" in raw.lower() else "inconsistent"
