"""The audit of logs: what they record, what their own raw replies give, and what can be trusted of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from persona_env.io import LoggedDialogue, SpeakerKey, load_logs
from persona_env.metrics.copying import Copying
from persona_env.metrics.metric import LineMetric, Score
from persona_env.metrics.repetition import Repetition
from persona_env.metrics.statistics import clustered_mean, clustered_share
from persona_env.papers.paper_scores import (
    FailClosed,
    PaperMetric,
    PaperScore,
    audit,
    fail_closed,
    paper_scores,
)
from persona_env.report.terminal import plain

__all__ = ["Audit", "AuditRow", "audit_log", "audit_rows", "audit_table", "rendered_audits"]

_METRICS: dict[str, PaperMetric] = {
    "prompt_to_line": "prompt",
    "line_to_line": "index",
    "question_answer": "survey",
}
_GUARDS: tuple[LineMetric, ...] = (Repetition(), Copying())
_SHOWN = 5
_TITLE = "What the logs record, and what their own replies say"
_CAPTION = (
    "Shares in [0, 1], 1 is good, averaged over personas. recomputed: by the paper's fail-open "
    "rule (line_to_line: its pair score). fail-closed: share of the n readable lines or answers, "
    "with the longer side of its 95 % interval over personas."
)
_COLUMNS = ("log, metric", "dial.", "n", "invalid", "recorded", "recomputed", "differ", "fail-closed")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One metric of one log; every share is in [0, 1], 1 is good, averaged over personas.

    Attributes:
        file: The log.
        metric: `prompt_to_line`, `line_to_line`, `question_answer`, or a guard: `repetition`, `copying`.
        dialogues: Dialogues in which it was judged.
        people: Different personas in them.
        n: Lines (or answers) with a readable verdict.
        invalid: Lines (or answers) without one.
        recorded: The paper's score as the log has it; None if it has none. For `line_to_line` this is
            the pair score, for `question_answer` the share of right answers.
        recomputed: The same from the raw replies by the paper's (fail-open) rule.
        disagreements: Recorded scores that are not the recomputed ones.
        fail_closed: Share of good lines among the readable ones; for `line_to_line` lines without any
            conflict, which longer dialogues do not dilute.
        low: Lower end of its 95 % interval over personas; None below two personas.
        high: Upper end.
        broken_golds: For `question_answer`: questions whose gold answer is broken.
        questions: For `question_answer`: questions in all.
    """

    file: str
    metric: str
    dialogues: int
    people: int
    n: int
    invalid: int
    recorded: float | None = None
    recomputed: float | None = None
    disagreements: int = 0
    fail_closed: float | None = None
    low: float | None = None
    high: float | None = None
    broken_golds: int = 0
    questions: int = 0


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of one log: a row for each metric, and every score that disagrees with its replies."""

    rows: tuple[AuditRow, ...]
    disagreements: tuple[PaperScore, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """One judged speaker of one dialogue."""

    dialogue: LoggedDialogue
    speaker: SpeakerKey
    scores: dict[str, PaperScore]
    found: FailClosed

    @property
    def person(self) -> str:
        """The persona; a speaker without one stands for itself."""
        persona = self.dialogue.speaker(self.speaker).persona
        return persona.id if persona else f"{self.dialogue.place} {self.speaker}"


def audit_log(path: str | Path) -> Audit:
    """Returns the audit of a log file.

    Raises:
        FileError: If the file is no log.
    """
    dialogues = load_logs(path)
    parts = [part for dialogue in dialogues for part in _parts(dialogue)]
    rows = [_judged_row(str(path), metric, parts) for metric in _METRICS]
    rows += [_guard_row(str(path), metric, parts) for metric in _GUARDS]
    kept = tuple(row for row in rows if row.n or row.invalid or row.recorded is not None)
    return Audit(kept, tuple(audit(dialogues)))


def _parts(dialogue: LoggedDialogue) -> Iterator[_Part]:
    scores = paper_scores(dialogue)
    for speaker in dialogue.judged or ("P2",):
        own = {score.metric: score for score in scores if score.speaker == speaker}
        yield _Part(dialogue, speaker, {**own}, fail_closed(dialogue, speaker))


def _judged_row(file: str, metric: str, parts: Sequence[_Part]) -> AuditRow:
    """Returns the row of a metric that a judge was asked for."""
    found = [(part, getattr(part.found, metric), part.scores.get(_METRICS[metric])) for part in parts]
    found = [(p, score, paper) for p, score, paper in found if paper or score.per_line]
    people = [part.person for part, _, _ in found]
    papers = [(part.person, paper) for part, _, paper in found if paper and paper.n]
    asked = metric == "question_answer"
    return AuditRow(
        file=file,
        metric=metric,
        **_counts([part for part, _, _ in found], [score for _, score, _ in found]),
        recorded=_mean((person, _share(s.recorded, s)) for person, s in papers),
        recomputed=_mean((person, _share(s.recomputed, s)) for person, s in papers),
        disagreements=sum(not paper.agrees for _, _, paper in found if paper),
        **_estimate(people, [score for _, score, _ in found]),
        broken_golds=sum(part.found.broken_golds for part in parts) if asked else 0,
        questions=sum(part.found.questions for part in parts) if asked else 0,
    )


def _guard_row(file: str, metric: LineMetric, parts: Sequence[_Part]) -> AuditRow:
    """Returns the row of a guard that the texts alone settle."""
    people = [part for part in parts if part.dialogue.speaker(part.speaker).persona]
    scores = metric([part.dialogue.conversation(part.speaker) for part in people])
    return AuditRow(
        file=file,
        metric=metric.name,
        **_counts(people, scores),
        **_estimate([part.person for part in people], scores),
    )


def _counts(parts: Sequence[_Part], scores: Sequence[Score]) -> dict[str, Any]:
    return {
        "dialogues": len({id(part.dialogue) for part in parts}),
        "people": len({part.person for part in parts}),
        "n": sum(score.n for score in scores),
        "invalid": sum(score.invalid for score in scores),
    }


def _estimate(people: Sequence[str], scores: Sequence[Score]) -> dict[str, Any]:
    if not scores:
        return {}
    interval = clustered_share([score.value for score in scores], people)
    ends = {"fail_closed": interval.mean, "low": interval.low, "high": interval.high}
    return {name: None if math.isnan(value) else value for name, value in ends.items()}


def _share(value: float | None, score: PaperScore) -> float | None:
    return None if value is None else value / score.out_of


def _mean(values: Iterable[tuple[str, float | None]]) -> float | None:
    known = [(person, value) for person, value in values if value is not None]
    if not known:
        return None
    return clustered_mean([value for _, value in known], [person for person, _ in known]).mean


def audit_rows(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Returns the rows of all logs as plain data for JSON."""
    return [asdict(row) for path in paths for row in audit_log(path).rows]


def audit_table(paths: Iterable[str | Path]) -> RenderableType:
    """Returns the table of all logs, and below it the scores that disagree with their own replies."""
    return rendered_audits([audit_log(path) for path in paths])


def rendered_audits(audits: Sequence[Audit]) -> RenderableType:
    """Returns the table of audits, and below it the scores that disagree with their own replies."""
    return Group(_Rows(audits), *(Text(plain(note)) for one in audits for note in _notes(one)))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of all logs: a table where it fits, else each row on lines of its own."""

    audits: Sequence[Audit]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        cells = [_COLUMNS, *(tuple(_cells(row)) for one in self.audits for row in one.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        if sum(widths) + len(widths) + 1 <= options.max_width:
            yield self._table(widths[0])
        else:
            yield from self._lines()

    def _table(self, names: int) -> Table:
        table = Table(title=_TITLE, caption=_CAPTION, box=box.HORIZONTALS, padding=(0, 0))
        table.add_column(_COLUMNS[0], overflow="fold", min_width=names)
        for name in _COLUMNS[1:]:
            table.add_column(name, justify="right", no_wrap=True)
        for one in self.audits:
            table.add_section()
            for place, row in enumerate(one.rows):
                if place == 0:
                    table.add_row(_log_name(row))
                table.add_row(*(Text(cell) for cell in _cells(row)))
        return table

    def _lines(self) -> Iterator[RenderableType]:
        yield Text(f"{_TITLE}\n")
        for one in self.audits:
            for place, row in enumerate(one.rows):
                if place == 0:
                    yield _log_name(row)
                name, *figures = _cells(row)
                yield Text(f"{name}:")
                known = (f"{title} {figure}" for title, figure in zip(_COLUMNS[1:], figures, strict=True) if figure)
                yield Padding(Text(", ".join(known)), (0, 0, 0, 4))
        yield Text(f"\n{_CAPTION}\n")


def _log_name(row: AuditRow) -> Text:
    return Text(plain("/".join(Path(row.file).parts[-2:])), style="bold", overflow="fold")


def _cells(row: AuditRow) -> Iterator[str]:
    """Yields a row as text, in the order of the columns; what it has not is empty."""
    yield f"  {row.metric}"
    yield from (str(row.dialogues), str(row.n), str(row.invalid))
    yield from (_figure(row.recorded), _figure(row.recomputed))
    yield str(row.disagreements) if row.recorded is not None else ""
    share, low, high = row.fail_closed, row.low, row.high
    if share is None or low is None or high is None:
        yield _figure(share)
    else:
        yield f"{share:.3f} ± {max(share - low, high - share):.3f}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _notes(one: Audit) -> Iterator[str]:
    """Yields what stands below the table about a log."""
    for score in one.disagreements[:_SHOWN]:
        why = " (inverted: it counts NO)" if score.is_inverted else ""
        yield (
            f"{score.place}: {score.speaker} {score.metric} recorded {score.recorded}, "
            f"its replies give {score.recomputed}{why}"
        )
    if len(one.disagreements) > _SHOWN:
        inverted = sum(score.is_inverted for score in one.disagreements)
        yield f"... {len(one.disagreements)} in all in this log, {inverted} of them inverted"
    for row in one.rows:
        if row.broken_golds:
            yield (
                f"{row.file}: {row.broken_golds} of {row.questions} questions have a broken gold "
                "answer; answers to them are invalid"
            )
