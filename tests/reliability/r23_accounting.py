"""R23: of the verdicts that were requested, each is judged, invalid or skipped, through store and budget."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from persona_env.evaluation.eval_log import Arm, Sample
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import play
from persona_env.evaluation.scoring import Scores, judge_samples, scores
from persona_env.judges import Judge, Query, Verdict, load_judge
from persona_env.judges.budget import BudgetedJudge, BudgetSpent
from persona_env.judges.kept import KeptJudge, verdict_key
from persona_env.judges.store import VerdictStore
from persona_env.speakers import load_speaker
from tests.reliability.rows import Row

_UNREADABLE = 0.03


@dataclass
class Used:
    """What a judge has used."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class SometimesUnreadable:
    """The oracle behind a bad line: for one question in thirty, always the same ones, no reply can be read."""

    identity = {"kind": "oracle behind a bad line"}  # noqa: RUF012

    def __init__(self) -> None:
        self.usage, self.oracle = Used(), load_judge("oracle")
        self.asked = list[Query]()

    def unreadable(self, question: Query) -> bool:
        """Returns whether no reply to it can be read."""
        digest = sha256(verdict_key(self.identity, question).encode()).digest()
        return int.from_bytes(digest[:4], "big") < _UNREADABLE * 2**32

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts, in order."""
        self.asked += questions
        self.usage.calls += len(questions)
        verdicts = self.oracle.judge(questions)
        return [
            Verdict("invalid", reason="unreadable") if self.unreadable(question) else verdict
            for question, verdict in zip(questions, verdicts, strict=True)
        ]


def score(samples: Sequence[Sample], judge: Judge) -> Scores:
    """Returns the scores of dialogues."""
    suite = EvalSuite(role="patient")
    judged = judge_samples(samples, judge, suite.metrics)
    return scores(Arm(name="it", simulator="it", suite=suite, samples=judged))


def requested(played: Sequence[Sample]) -> dict[str, int]:
    """Returns how many verdicts each metric needs: one a line, and one an answer, counted by hand."""
    lines = sum(len(dialogue.conversation.lines) for dialogue in played)
    answers = sum(len(dialogue.answers) for dialogue in played)
    per_line = ("prompt_to_line", "line_to_line", "relevance", "copying", "repetition")
    return {**dict.fromkeys(per_line, lines), "question_answer": answers}


def account(scores: Scores) -> dict[str, int]:
    """Returns judged + invalid of each metric, counted anew from the value of each line."""
    counted = dict[str, int]()
    for name, rows in scores.metrics.items():
        judged = sum(value == value for row in rows for value in row.per_line)
        invalid = sum(value != value for row in rows for value in row.per_line)
        told = scores.estimate(name)
        counted[name] = judged + invalid if (told.n, told.invalid) == (judged, invalid) else -1
    return counted


class Account:
    """Counts the questions of each call on its way to the judge, and what became of them."""

    def __init__(self, judge: KeptJudge) -> None:
        self.kept, self.off = judge, 0
        self.requested = self.answered = self.skipped = 0

    def judge(self, questions: Sequence[Query]) -> list[Verdict]:
        """Returns the verdicts; checks the judge's own counts against what the store has, even where it stops."""
        before = self.kept.hits + self.kept.misses
        self.requested += len(questions)
        try:
            return self.kept.judge(questions)
        finally:
            answered = self.kept.hits + self.kept.misses - before
            keys = [verdict_key(self.kept.identity, question) for question in questions]
            missing = set(keys) - self.kept.store.get_many(keys).keys()
            self.answered += answered
            self.skipped += len(missing)
            self.off += abs(len(questions) - answered - len(missing))


@dataclass
class InvalidRate:
    """What came of scoring under a budget that was spent again and again."""

    stops: int = 0
    requested: int = 0
    answered: int = 0
    skipped: int = 0
    off: int = 0

    def add(self, account: Account) -> None:
        """Adds one run."""
        for name in ("requested", "answered", "skipped", "off"):
            setattr(self, name, getattr(self, name) + getattr(account, name))


def scored(played: Sequence[Sample], path: Path, inner: SometimesUnreadable, calls: int) -> tuple[Scores, InvalidRate]:
    """Scores under a budget of calls for each run, resumed as often as it takes."""
    invalid_rate = InvalidRate()
    while True:
        with VerdictStore(path) as store:
            account = Account(KeptJudge(BudgetedJudge(inner, calls=calls), store, keep_invalid=True, chunk=64))
            try:
                return score(played, account), invalid_rate
            except BudgetSpent:
                invalid_rate.stops += 1
            finally:
                invalid_rate.add(account)


def measure(dialogues: int = 96, calls: int = 400) -> list[Row]:
    """Returns the rows."""
    played = play(load_speaker("scripted"), EvalSuite(role="patient", split="dev", dialogues=dialogues, lines=6))
    folder, inner = Path(tempfile.mkdtemp()), SometimesUnreadable()
    try:
        found, invalid_rate = scored(played, folder / "v.db", inner, calls)
        plain = score(played, SometimesUnreadable())
    finally:
        shutil.rmtree(folder)
    wanted, counted = requested(played), account(found)
    total, off = sum(wanted.values()), sum(abs(counted[name] - wanted[name]) for name in wanted)
    repeated = len(inner.asked) - len(set(inner.asked))
    same = found.as_json() == plain.as_json()
    return [
        Row(
            "R23",
            f"{total} verdicts of {dialogues} dialogues through store and budget, {invalid_rate.stops} stops",
            "judged + invalid + skipped == requested, exactly",
            f"{sum(counted.values()) - found.invalid} judged + {found.invalid} invalid + 0 skipped, off by {off}; "
            f"{repeated} asked twice; {'the same' if same else 'OTHER'} scores as without",
            met=off == 0 and repeated == 0 and same and invalid_rate.stops > 0 and found.invalid > 0,
        ),
        Row(
            "R23",
            f"{invalid_rate.requested} questions of all these runs, those that were stopped among them",
            "answered + skipped == requested, exactly, in each call",
            f"{invalid_rate.answered} answered + {invalid_rate.skipped} skipped, off by {invalid_rate.off}",
            met=invalid_rate.off == 0
            and invalid_rate.skipped > 0
            and invalid_rate.answered + invalid_rate.skipped == invalid_rate.requested,
        ),
    ]
