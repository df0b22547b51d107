"""The paper's scores, recomputed from a log's raw replies, and the same replies read fail-closed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from persona_env.io import LoggedDialogue, LoggedReply, SpeakerKey
from persona_env.io.released import qa_item
from persona_env.judges.base import Verdict
from persona_env.judges.recorded import recorded_verdict, survey_replies
from persona_env.metrics.line_to_line import LineToLineScore, pair_score
from persona_env.metrics.metric import Score

__all__ = ["FailClosed", "PaperMetric", "PaperScore", "audit", "fail_closed", "listed_by_the_paper", "paper_scores"]

PaperMetric: TypeAlias = Literal["prompt", "index", "survey"]

_LIST = re.compile(r"^[^\[\n]*\[([^\]\n]*)\]", re.MULTILINE)
_INTEGER = re.compile("-?[0-9]+")
_ITEM = r"\s*(?:None|-?(?:0{1,4000}|[1-9][0-9]{0,4000}))\s*"
_ITEMS = re.compile(rf"\s*|{_ITEM}(?:,{_ITEM})*(?:,\s*)?")


@dataclass(frozen=True, slots=True)
class PaperScore:
    """One of the paper's scores of one speaker in one dialogue."""

    place: str
    speaker: SpeakerKey
    metric: PaperMetric  # `prompt` (in [0, 1]), `index` (at most 1) or `survey` (mean number right)
    recorded: float | None  # what the log says; None if it says nothing
    recomputed: float  # what its raw replies give by the published rule; nan if it has none
    n: int  # judged lines, or for `index` pairs of lines
    out_of: int = 1  # what a perfect speaker scores: 1, or the number of questions of the survey
    inverted: float = math.nan  # for `prompt`: what the rule gives with NO in the place of YES

    @property
    def is_inverted(self) -> bool:
        """Whether the recorded score disagrees and is what the rule gives with NO in the place of YES."""
        return not self.agrees and self.recorded == self.inverted

    @property
    def agrees(self) -> bool:
        """Whether the recorded score is the recomputed one to the last digit, or there is none.

        The published code leaves a 0 where it judged nothing: that 0 claims nothing.
        """
        if self.recorded is None or (self.n == 0 and self.recorded == 0.0):
            return True
        return self.recorded == self.recomputed


def paper_scores(dialogue: LoggedDialogue) -> tuple[PaperScore, ...]:
    """Returns the paper's scores of a dialogue, recomputed from its replies by the published rule.

    - prompt: share of replies about the speaker's lines in which "YES" does not occur;
    - index: 1 - (listed indices with the speaker's parity) / (sum over judged lines of the number of
      the speaker's earlier lines); indices neither range-checked nor deduplicated;
    - survey: over the judged lines, the mean number of replies in which "yes" occurs in any case.

    The rule is fail-open: a reply without a verdict counts as consistent. In a log of ours, labels
    stand for the replies, and invalid counts as the paper counts it. What has neither replies nor a recorded
    score is left out.

    Source: arXiv 2511.00222, section 3, and `consistency_eval.py` of its released code.
    """
    keys: tuple[SpeakerKey, ...] = ("P1", "P2")
    scores = (score(dialogue, key) for key in keys for score in (_prompt, _index, _survey))
    return tuple(score for score in scores if score.n or score.recorded is not None)


def audit(dialogues: Iterable[LoggedDialogue]) -> list[PaperScore]:
    """Returns every recorded score that disagrees with its own raw replies."""
    return [score for dialogue in dialogues for score in paper_scores(dialogue) if not score.agrees]


def _prompt(dialogue: LoggedDialogue, key: SpeakerKey) -> PaperScore:
    replies = dialogue.replies_about("prompt_to_line", key)
    n = len(replies)
    good = sum(_is_free_of_yes(reply) for reply in replies) / n if n else math.nan
    inverted = sum("NO" not in reply.raw for reply in replies) / n if n else math.nan
    return PaperScore(dialogue.place, key, "prompt", dialogue.recorded(key, "prompt"), good, n, inverted=inverted)


def _is_free_of_yes(reply: LoggedReply) -> bool:
    return "YES" not in reply.raw if reply.label is None else reply.label != "inconsistent"


def _index(dialogue: LoggedDialogue, key: SpeakerKey) -> PaperScore:
    own = {place: number for number, place in enumerate(dialogue.places(key))}
    replies, recorded = dialogue.replies_about("line_to_line", key), dialogue.recorded(key, "index")
    if any(reply.label == "inconsistent" and not reply.conflicts for reply in replies):
        return PaperScore(dialogue.place, key, "index", recorded, math.nan, 0)  # our own log names no lines
    # P1 opens, so the number of the speaker's earlier lines is the code's i // 2, for P2 its (i - 1) // 2.
    pairs = sum(own[reply.line] for reply in replies)
    listed = sum(_listed(reply, parity=0 if key == "P1" else 1) for reply in replies)
    return PaperScore(dialogue.place, key, "index", recorded, 1 - listed / pairs if pairs else math.nan, pairs)


def _listed(reply: LoggedReply, parity: int) -> int:
    if reply.label is not None:
        return len(reply.conflicts)
    return sum(index % 2 == parity for index in listed_by_the_paper(reply.raw))


def listed_by_the_paper(reply: str) -> list[int]:
    r"""Returns the indices that the published code finds in a reply.

    It evaluates the first `[...]` within a line as Python; what is no Python counts as an empty list,
    and None as an item is passed over. Here nothing is evaluated: a list of plain integers and None is
    read, anything else is empty.

    >>> listed_by_the_paper("See [3, 3, None]\n[5]"), listed_by_the_paper("[line 3]")
    ([3, 3], [])
    """
    found = _LIST.search(reply)
    if not found or not _ITEMS.fullmatch(found[1]):
        return []
    return [int(number) for number in _INTEGER.findall(found[1])]


def _survey(dialogue: LoggedDialogue, key: SpeakerKey) -> PaperScore:
    entries = dialogue.survey_of(key)
    right = sum("yes" in verdict.lower() for entry in entries for verdict in entry.verdicts)
    mean = right / len(entries) if entries else math.nan
    asked = max((len(entry.verdicts) for entry in entries), default=0)
    return PaperScore(dialogue.place, key, "survey", dialogue.recorded(key, "survey"), mean, len(entries), asked or 1)


@dataclass(frozen=True, slots=True)
class FailClosed:
    """A speaker's replies in a dialogue, read strictly: what has no verdict is invalid, what has two is undecided."""

    prompt_to_line: Score  # a value for each of the speaker's lines
    line_to_line: LineToLineScore  # the same; the first line has nothing to conflict with: it is not counted
    question_answer: Score  # a value for each answer; invalid where the question's gold answer is broken
    broken_golds: int  # how many of the `questions` have one (a single character)
    questions: int


def fail_closed(dialogue: LoggedDialogue, speaker: SpeakerKey) -> FailClosed:
    """Returns the scores of one speaker by our own reading of the log's replies.

    A metric of which the log has no reply about the speaker has a score of n = 0 and invalid = 0.
    """
    items = [qa_item(*pair) for pair in dialogue.speaker(speaker).backstory_test]
    answers = (*dialogue.replies_about("question_answer", speaker), *survey_replies(dialogue, speaker))
    history = _verdicts(dialogue, speaker, "line_to_line")
    return FailClosed(
        Score.of(_verdicts(dialogue, speaker, "prompt_to_line")),
        LineToLineScore.of(history, pair_score=pair_score(history)),
        Score.of([recorded_verdict(reply) for reply in answers]),
        sum(item is None for item in items),
        len(items),
    )


def _verdicts(dialogue: LoggedDialogue, speaker: SpeakerKey, metric: str) -> list[Verdict]:
    """Returns a verdict for each of the speaker's lines; none at all if nothing was judged."""
    replies = {reply.line: reply for reply in dialogue.replies_about(metric, speaker)}
    if not replies:
        return []
    places = dialogue.places(speaker)
    missing = Verdict("invalid", reason="no reply in the log")
    verdicts = [
        recorded_verdict(replies[place], places[:number]) if place in replies else missing
        for number, place in enumerate(places)
    ]
    if metric == "line_to_line" and places:
        verdicts[0] = Verdict("consistent", reason="nothing was said before", is_asked=False, applies=False)
    return verdicts
