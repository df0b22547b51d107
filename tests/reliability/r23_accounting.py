"""R23: of the verdicts that were requested, each is judged or invalid, however often the budget was spent."""

from __future__ import annotations

import json
import tempfile
import threading
import zlib
from collections.abc import Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from persona_env.errors import BudgetSpent
from persona_env.evaluation.eval_log import Arm, Sample
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import play
from persona_env.evaluation.scoring import Scores, judge_samples, scores
from persona_env.judges import Judge
from persona_env.models.limits import Usage
from persona_env.runs.run_judge import RunJudge
from persona_env.speakers import load_speaker
from tests.reliability.oracle_server import Handler
from tests.reliability.rows import Row

_CONTRADICTING = 30  # one prompt in so many


class SometimesContradicting(Handler):
    """The oracle, but the same few prompts always get the opposite answer: two answers contradict each other."""

    users: ClassVar[list[str]] = []

    def reply_to(self, user: str, key: str) -> str:
        """Notes the prompt."""
        self.users.append(user)
        reply = json.loads(super().reply_to(user, key))
        if zlib.crc32(user.encode()) % _CONTRADICTING == 0 and "answer" in reply:
            reply = {"answer": "B" if reply["answer"] == "A" else "A"}
        return json.dumps(reply)


def score(samples: Sequence[Sample], judge: Judge) -> Scores:
    """Returns the scores of dialogues."""
    suite = EvalSuite(role="patient")
    return scores(Arm(name="it", simulator="it", suite=suite, samples=judge_samples(samples, judge, suite.metrics)))


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
        estimate = scores.estimate(name)
        counted[name] = judged + invalid if (estimate.n, estimate.invalid) == (judged, invalid) else -1
    return counted


def scored(played: Sequence[Sample], folder: Path, spec: str, calls: int) -> tuple[Scores, int]:
    """Scores under a budget that grows by `calls` whenever it is spent; returns the scores and how often it was."""
    spent, stops = Usage(), 0
    while True:
        judge = RunJudge(spec, budget={"calls": spent.calls + calls})
        judge.open(folder, spent)
        try:
            return score(played, judge), stops
        except BudgetSpent:
            stops, spent = stops + 1, spent + judge.usage
        finally:
            judge.close()


def measure(dialogues: int = 96, calls: int = 400) -> list[Row]:
    """Returns the row."""
    played = play(load_speaker("scripted"), EvalSuite(role="patient", split="dev", dialogues=dialogues, lines=6))
    users = SometimesContradicting.users
    users.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), SometimesContradicting) as server, tempfile.TemporaryDirectory() as name:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        spec = f"openai:oracle@http://127.0.0.1:{server.server_port}/v1"
        found, stops = scored(played, Path(name), spec, calls)
        repeated = len(users) - len(set(users))
        plain = score(played, RunJudge(spec))
        server.shutdown()
    wanted, counted = requested(played), account(found)
    total, off = sum(wanted.values()), sum(abs(counted[name] - wanted[name]) for name in wanted)
    same = found.as_json() == plain.as_json()
    return [
        Row(
            "R23",
            f"{total} verdicts of {dialogues} dialogues through reply cache and budget, {stops} stops",
            "judged + invalid == requested, exactly",
            f"{sum(counted.values()) - found.invalid} judged + {found.invalid} invalid, off by {off}; "
            f"{repeated} asked twice; {'the same' if same else 'OTHER'} scores as without",
            met=off == 0 and repeated == 0 and same and stops > 0 and found.invalid > 0,
        )
    ]
