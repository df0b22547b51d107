"""Line-to-line: does a line conflict with what the speaker said before?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from persona_env.conversation import Conversation
from persona_env.judges.base import LineVsHistory, Verdict
from persona_env.metrics.metric import LineMetric, QueryOrVerdict, Score

__all__ = ["LineToLine", "LineToLineScore", "pair_score"]

_FIRST_LINE = Verdict("consistent", reason="nothing was said before", is_asked=False, applies=False)


@dataclass(frozen=True, slots=True)
class LineToLineScore(Score):
    """A line-to-line score, and the paper's own figure: see the function `pair_score`."""

    pair_score: float = math.nan


def pair_score(verdicts: Sequence[Verdict]) -> float:
    """Returns 1 - (conflicts listed) / (pairs of a line and an earlier line of the same speaker).

    There is a verdict for each line of the speaker, from the first on; line k has k pairs. nan if no pair is decided.
    It dilutes with the length of a dialogue: read it with the per-line share. Where the paper counts a reply
    without a verdict as free of conflict, here it is left out of both counts.

    Source: arXiv 2511.00222, section 3 (line-to-line consistency), and its released code.

    >>> both = Verdict("inconsistent", conflicts=(0, 1))
    >>> pair_score([Verdict("consistent"), Verdict("consistent"), both])  # 2 of 0 + 1 + 2 pairs
    0.33333333333333337
    """
    decided = [(k, len(v.conflicts)) for k, v in enumerate(verdicts) if not math.isnan(v.value)]
    pairs = sum(k for k, _ in decided)
    return 1.0 - sum(listed for _, listed in decided) / pairs if pairs else math.nan


class LineToLine(LineMetric):
    """Share of the simulator's lines that conflict with none of its own earlier lines.

    The first line, and the first after a fact update, can conflict with none: it is not counted.

    Source: arXiv 2511.00222, section 3 (line-to-line consistency), which reports the `pair_score` only.

    >>> from persona_env.persona import Persona
    >>> talk = Conversation(Persona("p", "patient", "Ann", "You are Ann.")).with_line("I am Ann.")
    >>> LineToLine().query(talk, 0).label, LineToLine().query(talk.with_line("I am Bo."), 1).earlier
    ('consistent', ('I am Ann.',))
    """

    name = "line_to_line"
    title = "self-contradiction (line-to-line)"
    mark = "contradicts itself"
    group = "drift"

    def query(self, conversation: Conversation, index: int) -> QueryOrVerdict:
        """Returns the query which earlier lines line `index` conflicts with."""
        query = LineVsHistory(conversation.persona.role, conversation.lines[index], conversation.earlier(index))
        return query if query.earlier else _FIRST_LINE

    def score(self, conversation: Conversation, verdicts: Sequence[Verdict]) -> LineToLineScore:
        """Returns the mean over lines, and the pair score."""
        return LineToLineScore.of(verdicts, pair_score=pair_score(verdicts))
