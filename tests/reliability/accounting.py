"""R13 and R23: a long log is read a line at a time; of the verdicts that were requested, each is judged or invalid."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from persona_env.conversation import Conversation
from persona_env.errors import BudgetSpent
from persona_env.evaluation.eval_log import Arm, Sample
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import play
from persona_env.evaluation.scoring import Scores, judge_samples, scores
from persona_env.io import LoggedDialogue, LoggedReply, iter_logs, save_logs
from persona_env.judges import Judge
from persona_env.models.limits import Usage
from persona_env.persona import Persona
from persona_env.runs.run_judge import RunJudge
from persona_env.speakers import load_speaker
from tests.judges.backends import reply
from tests.models.fault_server import FaultServer
from tests.reliability.demands import Measured, demand

_LINES = 100_000
_CONTRADICTING = 30  # one prompt in so many
_DIALOGUES, _CALLS = 96, 400


def read(path: str) -> dict[str, float]:
    """Reads a log in this process and returns lines, seconds and growth in MB."""
    next(iter(iter_logs(path)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    lines = sum(1 for _ in iter_logs(path))
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"lines": lines, "seconds": time.perf_counter() - begin, "growth": growth}


@demand("R13", f"a log of {_LINES} lines, each a dialogue with persona and verdict", "<= +32 MB, <= 5 s")
def long_logs() -> Measured:
    ann = Persona("p1", "patient", "Ann", "You are Ann. You sleep four hours.")
    talk = Conversation(ann).with_reply("How do you sleep?").with_line("Four hours.")
    replies = [LoggedReply("prompt_to_line", 1, "NO", label="consistent", probability=0.9)]
    record = LoggedDialogue.of(talk, replies)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        save_logs(path, (record for _ in range(_LINES)))
        run = [sys.executable, "-m", __name__, str(path)]
        found = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    told = f"{found['lines']:.0f} read, +{found['growth']:.1f} MB, {found['seconds']:.1f} s"
    return found["lines"] == _LINES and found["growth"] <= 32 and found["seconds"] <= 5, told


def contradicting(prompt: str) -> str:
    """The oracle, but the same few prompts always get the opposite answer: two answers contradict each other."""
    right = reply(prompt)
    if zlib.crc32(prompt.encode()) % _CONTRADICTING:
        return right
    letter = right.rpartition('": "')[2][:1]
    return (
        right.replace(f'"answer": "{letter}"', f'"answer": "{"BA"["AB".index(letter)]}"') if letter in "AB" else right
    )


def score(samples: Sequence[Sample], judge: Judge) -> Scores:
    suite = EvalSuite(role="patient")
    return scores(Arm(name="it", simulator="it", suite=suite, samples=judge_samples(samples, judge, suite.metrics)))


def requested(played: Sequence[Sample]) -> dict[str, int]:
    """Returns how many verdicts each metric needs, by hand: one a line or answer, none for a first line's history."""
    lines = sum(len(dialogue.conversation.lines) for dialogue in played)
    per_line = ("prompt_to_line", "line_to_line", "relevance", "copying", "repetition")
    answers = sum(len(dialogue.answers) for dialogue in played)
    return {**dict.fromkeys(per_line, lines), "line_to_line": lines - len(played), "question_answer": answers}


def judged(found: Scores, name: str) -> int:
    """Returns judged + undecided + invalid of a metric; -1 where judged is not what the values of the lines say."""
    values, estimate = [value for row in found.metrics[name] for value in row.per_line], found.estimate(name)
    decided = sum(value == value for value in values)
    return estimate.n + estimate.undecided + estimate.invalid if estimate.n == decided else -1


def scored(played: Sequence[Sample], folder: Path, spec: str) -> tuple[Scores, int]:
    """Scores under a budget that grows whenever it is spent; returns the scores and how often it was."""
    spent, stops = Usage(), 0
    while True:
        judge = RunJudge(spec, budget={"calls": spent.calls + _CALLS})
        judge.open(folder, spent)
        try:
            return score(played, judge), stops
        except BudgetSpent:
            stops, spent = stops + 1, spent + judge.usage
        finally:
            judge.close()


@demand(
    "R23",
    f"all verdicts of {_DIALOGUES} dialogues through reply cache and a budget that is spent every {_CALLS} calls",
    "judged + undecided + invalid == requested, exactly",
)
def accounts() -> Measured:
    played = play(load_speaker("scripted"), EvalSuite(role="patient", split="dev", dialogues=_DIALOGUES, lines=6))
    with FaultServer(answer=contradicting) as server, tempfile.TemporaryDirectory() as name:
        spec = f"openai:{server.spec}"
        found, stops = scored(played, Path(name), spec)
        prompts = [call.prompt for call in server.calls]
        plain = score(played, RunJudge(spec))
    wanted, repeated = requested(played), len(prompts) - len(set(prompts))
    off = sum(abs(judged(found, name) - number) for name, number in wanted.items())
    same = found.as_json() == plain.as_json()
    unsound = f"{found.counts.undecided} undecided + {found.counts.invalid} invalid"
    told = f"judged + {unsound} of {sum(wanted.values())} requested, off by {off}"
    met = off == 0 and repeated == 0 and same and stops > 0 and found.counts.undecided > 0
    return met, f"{told}; {stops} stops, {repeated} asked twice; {'the same' if same else 'OTHER'} scores as without"


if __name__ == "__main__":
    print(json.dumps(read(sys.argv[1])))
