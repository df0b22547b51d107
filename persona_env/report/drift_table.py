"""Tables of an evaluation log: before and after training, or simulators side by side, with every guard."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from persona_env.errors import shown_spec
from persona_env.evaluation.eval_log import EvalLog
from persona_env.evaluation.scoring import Estimate, Scores, all_scores, generalisation_gap, reductions
from persona_env.metrics.statistics import Interval
from persona_env.report.terminal import plain

__all__ = ["drift_table", "legend", "log_table", "simulator_table"]

_CAPTION = "Shares of lines, as named; intervals are 95 % over personas. Drift types: share of bad lines or answers."
_SIDE_BY_SIDE = 2  # simulators whose intervals stand beside their figures; those of more stand below
_UNKNOWN = Interval(math.nan, math.nan, math.nan, 0)
_GAP = " gap: drift on held-out / on training personas."
_SAID = {"lines_said": "lines said of those asked for"}
_NOTES = {
    "lines_cut": "lines cut at the other's name",
    "lines_filtered": "lines withheld by a filter",
    "replies_cut": "the other's lines that were cut",
    "replies_filtered": "the other's lines withheld",
    "answers_cut": "answers cut at the other's name",
    "answers_filtered": "answers withheld by a filter",
}
_STYLE = {"hedging": "hedging, where unlisted", "volunteering": "true facts volunteered", "line_words": "words a line"}


def log_table(log: EvalLog) -> Table:
    """Returns the table of an evaluation, of a training run or of a benchmark."""
    return drift_table(log) if log.header.command == "train" else simulator_table(log)


def drift_table(log: EvalLog) -> Table:
    """Returns the table of a training run: drift, generalisation gap, guards and style, before and after."""
    table = _Table(log, _CAPTION + (_GAP if log.arm("train_personas") else ""))
    found = all_scores(log)
    table.columns("", "before", "after", "change", "95 %")
    for before, after in (("before", "after"), ("before_extended", "after_extended")):
        if before in found and after in found:
            _add_drift(table, found[before], found[after], table.lines(before))
    if "after" in found and "train_personas" in found:
        _add_gap(table, found["after"], found["train_personas"])
    if "before" in found and "after" in found:
        pair, reference = (found["before"], found["after"]), found.get("drift_free")
        head = ("", "", "drift-free" if reference else "")
        arms = (*pair, reference) if reference else pair
        table.section(f"guards over {table.lines('before')} lines", *head)
        table.rows(table.guards | _SAID, arms)
        table.section("style", *head)
        table.rows(_style_of(pair[0]), arms)
        table.counts(pair)
    return table.table


def simulator_table(log: EvalLog) -> Table:
    """Returns the table of a benchmark: every drift type, guard and style statistic of each simulator."""
    table, found = _Table(log, _CAPTION), all_scores(log)
    table.columns("", *map(plain, found))
    table.rows(table.titles | _SAID, found.values(), with_interval=True)
    table.rows(_style_of(next(iter(found.values()))) if found else {}, found.values(), with_interval=True)
    table.counts(list(found.values()))
    return table.table


def legend(log: EvalLog) -> list[str]:
    """Returns which simulator each column of a benchmark is of, a line each, where its name does not say it."""
    named = [arm for arm in log.arms if log.header.command == "bench" and arm.name != arm.simulator]
    return [f"{arm.name}: {shown_spec(arm.simulator)}" for arm in named]


def _style_of(scores: Scores) -> dict[str, str]:
    return {name: _STYLE[name] for name in scores.style}


def _add_drift(table: _Table, before: Scores, after: Scores, lines: int) -> None:
    table.section(f"drift over {lines} lines")
    changes = reductions(before, after)
    for name in before.drift:
        cells = (table.cell(name, _estimate(s, name)) for s in (before, after))
        table.add(table.titles[name], *cells, *_change(changes.get(name, _UNKNOWN)))
    table.add("overall", "", "", *_change(changes.get("overall", _UNKNOWN)))


def _estimate(scores: Scores, name: str) -> Estimate:
    return scores.estimate(name) if name in scores else Estimate(None, None, None)


def _add_gap(table: _Table, heldout: Scores, training: Scores) -> None:
    table.section("training personas", "", "", "gap")
    for name, ratio in generalisation_gap(heldout, training).items():
        shown = "" if ratio is None else f"{ratio:.1f} x"
        table.add(table.titles[name], "", table.cell(name, training.estimate(name)), shown)


class _Table:
    """A table of an evaluation log, row by row."""

    def __init__(self, log: EvalLog, caption: str):
        self.log, self.metrics = log, log.header.metrics
        self.titles = {metric.name: metric.title for metric in self.metrics}
        self.guards = {m.name: m.title for m in self.metrics if m.group == "guard"}
        self._bad = {m.name for m in self.metrics if m.shows == "bad"}
        self.table = Table(title=Text(plain(_title(log))), caption=caption, box=box.SIMPLE_HEAD, pad_edge=False)
        self.table.padding = (0, 1, 0, 0)

    def lines(self, arm: str) -> int:
        """Returns the simulator's lines in each dialogue of an arm."""
        found = self.log.arm(arm)
        return found.suite.lines if found else 0

    def columns(self, *names: str) -> None:
        first, *others = names
        self.table.add_column(Text(first), overflow="fold")
        for name in others:
            self.table.add_column(Text(name), justify="right", overflow="fold")

    def section(self, title: str, *more: str) -> None:
        self.table.add_section()
        self.table.add_row(Text(title, style="bold"), *more)

    def add(self, title: str, *cells: str) -> None:
        self.table.add_row(Text(plain(title)), *cells)

    def rows(self, titles: Mapping[str, str], arms: Iterable[Scores], *, with_interval: bool = False) -> None:
        """Adds a row for each name, with a cell for each arm."""
        arms = list(arms)
        for name, title in titles.items():
            if not any(name in scores for scores in arms):
                continue
            known = (_estimate(scores, name) for scores in arms)
            before = "" if not with_interval else " " if len(arms) <= _SIDE_BY_SIDE else "\n"
            self.add(title, *(self.cell(name, estimate, before) for estimate in known))

    def counts(self, arms: Sequence[Scores]) -> None:
        """Adds what became of the lines, how much was judged, and how many verdicts decide nothing."""
        for name, title in _NOTES.items():
            if any(name in scores for scores in arms):
                self.add(title, *(f"{scores.total(name)[0]:,}" for scores in arms))
        self.add("invalid verdicts", *(f"{scores.counts.invalid:,}" for scores in arms))
        self.add("undecided verdicts", *(f"{scores.counts.undecided:,}" for scores in arms))
        judged, asked = [self._judged(scores) for scores in arms], [scores.total("lines_said")[1] for scores in arms]
        self.add("lines judged", *(f"{n:,}" for n in judged))
        if judged != asked:
            self.add("lines asked for", *(f"{n:,}" for n in asked))

    def _judged(self, scores: Scores) -> int:
        """Returns how many lines the first metric of lines decides."""
        first = next((m.name for m in self.metrics if m.unit == "lines" and m.name in scores), "")
        return _estimate(scores, first).n

    def cell(self, name: str, estimate: Estimate, before: str = "") -> str:
        """Returns a figure as its title says: shares in per cent; of bad lines where the metric shows those.

        Its interval is left out, unless something stands `before` it: a blank or a line break.
        """
        if estimate.value is None:
            return "-"
        value = 1 - estimate.value if name in self._bad else estimate.value
        is_share = name in self.titles or name in ("hedging", *_SAID)
        ends = ""
        if before and estimate.low is not None and estimate.high is not None:
            low, high = (1 - estimate.high, 1 - estimate.low) if name in self._bad else (estimate.low, estimate.high)
            ends = f"{before}({_per_cent(low, high, '-')})" if is_share else f"{before}({low:.2f}-{high:.2f})"
        return f"{100 * value:.1f} %{ends}" if is_share else f"{value:.2f}{ends}"


def _title(log: EvalLog) -> str:
    header, suite = log.header, log.arms[0].suite if log.arms else None
    if suite is None:
        return f"{header.role}: nothing yet"
    if header.command == "train":
        how = f"({header.config.get('algorithm', '')}, seed {header.seed})"
        who = f"{shown_spec(log.arms[0].simulator)}, judged by {shown_spec(header.judge.spec)}"
        return f"{suite.role}: {who}, on {suite.split} personas {how}"
    return (
        f"{suite.role}: {suite.dialogues} dialogues of {suite.lines} lines with {suite.split} personas, "
        f"judged by {shown_spec(header.judge.spec)}"
    )


def _change(interval: Interval) -> tuple[str, str]:
    if interval.mean != interval.mean:
        return "-", ""
    ends = "" if interval.low != interval.low else f"{_per_cent(-interval.high, -interval.low)} %"
    return f"{-100 * interval.mean:+.1f} %", ends


def _per_cent(low: float, high: float, to: str = " to ") -> str:
    return f"{math.floor(100 * low)}{to}{math.ceil(100 * high)}"  # outwards: a narrow interval has two ends too
