"""The table of an audit: what logs record beside what their own raw replies give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from persona_env.papers.audit import Audit, AuditRow
from persona_env.report.terminal import plain

__all__ = ["audit_table"]

_SHOWN = 5
_TITLE = "What the logs record, and what their own replies say"
_CAPTION = (
    "Shares in [0, 1], 1 is good, averaged over personas. both: replies with two verdicts. recomp.: by the paper's "
    "fail-open rule (line_to_line: its pair score). fail-closed: share of the n lines or answers with a verdict, "
    "with the longer side of its 95 % interval over personas."
)
_COLUMNS = ("log, metric", "dial.", "n", "invalid", "both", "recorded", "recomp.", "diff.", "fail-closed")


def audit_table(audits: Sequence[Audit]) -> RenderableType:
    """Returns the table of audits, and below it the scores that disagree with their own replies."""
    return Group(_Rows(audits), *(Text(plain(note)) for one in audits for note in _notes(one)))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of all logs: a table where it fits, else each row on lines of its own."""

    audits: Sequence[Audit]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        logs = [(_log_name(one.rows[0].file), [*map(_cells, one.rows)]) for one in self.audits if one.rows]
        columns = zip(_COLUMNS, *(cells for _, rows in logs for cells in rows), strict=True)
        widths = [max(map(len, column)) for column in columns]
        if sum(widths) + len(widths) + 1 > options.max_width:
            yield from _lines(logs)
            return
        table = Table(title=_TITLE, caption=_CAPTION, box=box.HORIZONTALS, padding=(0, 0))
        table.add_column(_COLUMNS[0], overflow="fold", min_width=widths[0])
        for name in _COLUMNS[1:]:
            table.add_column(name, justify="right", no_wrap=True)
        for name, rows in logs:
            table.add_section()
            table.add_row(name)
            for cells in rows:
                table.add_row(*map(Text, cells))
        yield table


def _lines(logs: Sequence[tuple[Text, Sequence[tuple[str, ...]]]]) -> Iterator[RenderableType]:
    yield Text(f"{_TITLE}\n")
    for name, rows in logs:
        yield name
        for metric, *figures in rows:
            known = (f"{title} {figure}" for title, figure in zip(_COLUMNS[1:], figures, strict=True) if figure)
            yield Text(f"{metric}:")
            yield Padding(Text(", ".join(known)), (0, 0, 0, 4))
    yield Text(f"\n{_CAPTION}\n")


def _log_name(file: str) -> Text:
    return Text(plain("/".join(Path(file).parts[-2:])), style="bold", overflow="fold")


def _cells(row: AuditRow) -> tuple[str, ...]:
    """Returns a row as text, in the order of the columns; what it has not is empty."""
    counts = (str(row.dialogues), str(row.n), str(row.invalid), str(row.undecided))
    recorded, recomputed, share = map(_figure, (row.recorded, row.recomputed, row.fail_closed))
    if row.fail_closed is not None and row.low is not None and row.high is not None:
        share += f" ± {max(row.fail_closed - row.low, row.high - row.fail_closed):.3f}"
    return f"  {row.metric}", *counts, recorded, recomputed, str(row.disagreements) if recorded else "", share


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
