"""One table of drift: before, after, reduction and interval, with the guards that keep it honest."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.table import Table
from rich.text import Text

from persona_env.evaluation.scoring import DRIFT_TYPES, Estimate, Scores, reductions
from persona_env.metrics.statistics import Interval
from persona_env.report.terminal import plain
from persona_env.runs.result import Comparison, TrainResult

__all__ = ["drift_table", "simulator_table"]

TITLES = {
    "prompt_to_line": "against its persona",
    "line_to_line": "against its own words",
    "question_answer": "wrong answers (Q&A)",
    "overall": "overall",
    "relevance": "relevance",
    "copying": "copying",
    "repetition": "repetition",
    "hedging": "hedging, where unlisted",
    "volunteering": "true facts volunteered",
    "line_words": "words a line",
}
"""In the table; the first three are 1 - `prompt_to_line`, `line_to_line` and `question_answer`."""

_BAD_SHARE = ("copying", "repetition")
CAPTION = "Shares of lines (drift: of bad lines); intervals are 95 % over personas."
_PERCENT = (*DRIFT_TYPES, "relevance", "copying", "repetition", "hedging")


def drift_table(result: TrainResult) -> Table:
    """Returns the table of a training run."""
    s = result.settings
    title = f"{s.role}: {s.simulator}, judged by {s.judge}, on {s.split} people ({s.algorithm}, seed {s.seed})"
    table = Table(
        title=Text(plain(title)),
        caption=CAPTION,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("", "before", "after", "change", "95 %"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for comparison in filter(None, (result.trained, result.longer)):
        _add_drift(table, comparison)
    if seen := result.scores("seen"):
        _add_seen(table, seen, result.gap)
    if result.trained:
        _add_guards(table, result.trained, result.scores("drift_free"))
    return table


def _add_drift(table: Table, comparison: Comparison) -> None:
    table.add_section()
    table.add_row(Text(f"drift over {comparison.lines} lines", style="bold"))
    changes = reductions(comparison.before.scores, comparison.after.scores)
    for name in DRIFT_TYPES:
        before, after = (_inconsistency(m.scores.estimate(name)) for m in (comparison.before, comparison.after))
        table.add_row(TITLES[name], before, after, *_change(changes[name]))
    table.add_row(TITLES["overall"], "", "", *_change(changes["overall"]))


def _add_seen(table: Table, seen: Scores, gap: Mapping[str, float | None]) -> None:
    table.add_section()
    table.add_row(Text("people met in training", style="bold"), "", "", "unseen / seen")
    for name in DRIFT_TYPES:
        ratio = gap.get(name)
        shown = "" if ratio is None else f"{ratio:.1f} x"
        table.add_row(TITLES[name], "", _inconsistency(seen.estimate(name)), shown)


def _add_guards(table: Table, comparison: Comparison, drift_free: Scores | None) -> None:
    table.add_section()
    title = Text(f"guards over {comparison.lines} lines", style="bold")
    table.add_row(title, "", "", "zero drift" if drift_free else "")
    pair = comparison.before.scores, comparison.after.scores
    for name in pair[0].estimates:
        if name in DRIFT_TYPES:
            continue
        before, after = (_figure(name, scores.estimate(name)) for scores in pair)
        reference = _figure(name, drift_free.estimate(name)) if drift_free else ""
        table.add_row(TITLES[name], before, after, reference)
    table.add_row("unreadable verdicts", *(str(scores.invalid) for scores in pair))
    table.add_row("lines judged", *(str(scores.estimate("prompt_to_line").n) for scores in pair))


def simulator_table(title: str, scores: dict[str, Scores]) -> Table:
    """Returns simulators side by side: every drift type and guard, each with its interval."""
    table = Table(title=Text(plain(title)), caption=CAPTION, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for simulator in scores:
        table.add_column(Text(plain(simulator)), justify="right")
    for name in next(iter(scores.values())).estimates:
        cells = (s.estimate(name) for s in scores.values())
        table.add_row(TITLES[name], *(_with_interval(name, cell) for cell in cells))
    table.add_row("unreadable verdicts", *(str(s.invalid) for s in scores.values()))
    table.add_row("lines judged", *(str(s.estimate("prompt_to_line").n) for s in scores.values()))
    return table


def _shown(name: str, value: float) -> float:
    """Drift and its like are shown as shares of bad lines."""
    return 1 - value if name in (*DRIFT_TYPES, *_BAD_SHARE) else value


def _figure(name: str, estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    value = _shown(name, estimate.value)
    return f"{100 * value:.1f} %" if name in _PERCENT else f"{value:.2f}"


def _inconsistency(estimate: Estimate) -> str:
    return "-" if estimate.value is None else f"{100 * (1 - estimate.value):.1f} %"


def _with_interval(name: str, estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return _figure(name, estimate)
    side = max(estimate.value - estimate.low, estimate.high - estimate.value)
    return (
        f"{_figure(name, estimate)} ± {100 * side:.1f}"
        if name in _PERCENT
        else f"{_figure(name, estimate)} ± {side:.2f}"
    )


def _change(interval: Interval) -> tuple[str, str]:
    if interval.mean != interval.mean:
        return "-", ""
    ends = "" if interval.low != interval.low else f"{-100 * interval.high:.0f} to {-100 * interval.low:.0f} %"
    return f"{-100 * interval.mean:+.1f} %", ends
