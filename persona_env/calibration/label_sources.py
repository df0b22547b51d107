"""Labels from what others recorded: the verdicts in logs, and the human labels of Dialogue NLI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from persona_env.calibration.label_file import GivenLabel, Labelled
from persona_env.io import LoggedReply, SpeakerKey, iter_logs
from persona_env.io.dnli import read_dnli
from persona_env.judges.base import LineVsPersona
from persona_env.judges.recorded import recorded_queries, recorded_verdict
from persona_env.papers.paper_scores import listed_by_the_paper

__all__ = ["HUMAN", "RECORDED", "dnli_labels", "log_labels"]

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
    """Yields the recorded verdicts of a log as labels, None for one that is invalid or undecided.

    In logs of ours the label stands there. The raw replies of the released logs are read by their published rule,
    which is fail-open: a reply without a verdict labels its line as consistent. Answers whose gold answer cannot be
    used are left out.
    """
    for dialogue in iter_logs(path):
        for speaker in dialogue.judged:
            persona = dialogue.speaker(speaker).persona
            for query, reply, _ in recorded_queries(dialogue, speaker):
                label = _published_label(reply, speaker)
                yield Labelled(query, label, persona.id if persona else "", RECORDED) if label else None


def _published_label(reply: LoggedReply, speaker: SpeakerKey) -> GivenLabel | None:
    """Returns the label that a recorded reply gives; a raw one is read as the published code reads it.

    About a line and the persona that is inconsistent if "YES" occurs; about earlier lines if a number of the speaker's
    parity is listed; about an answer unless a "yes" occurs in any case.

    Source: `consistency_eval.py` of the code released with arXiv 2511.00222.
    """
    if reply.label is None:
        match reply.metric:
            case "prompt_to_line":
                return "inconsistent" if "YES" in reply.raw else "consistent"
            case "line_to_line":
                parity = 0 if speaker == "P1" else 1
                listed = any(index % 2 == parity for index in listed_by_the_paper(reply.raw))
                return "inconsistent" if listed else "consistent"
            case "question_answer":
                return "consistent" if "yes" in reply.raw.lower() else "inconsistent"
    label = recorded_verdict(reply).label
    return label if label in ("consistent", "inconsistent") else None
