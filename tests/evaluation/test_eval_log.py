"""The evaluation log: all that was said, answered and judged, whole; tables need nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from persona_env.errors import InputError
from persona_env.evaluation import Arm, EvalLog, EvalSuite, judge_samples, load_eval_log, play, save_eval_log
from persona_env.evaluation.eval_log import Header, JudgeInfo, logged_dialogues
from persona_env.io import load_logs
from persona_env.judges import load_judge
from persona_env.judges.base import Verdict
from persona_env.roles import ROLES, Role, register_role, role_named
from persona_env.speakers import load_speaker

SUITE = EvalSuite(role="patient", split="dev", dialogues=3, lines=3)


@pytest.fixture(scope="module")
def log() -> EvalLog:
    samples = judge_samples(play(load_speaker("tiny"), SUITE), load_judge("oracle"), SUITE.metrics)
    found = EvalLog(Header.now("bench", SUITE, JudgeInfo("oracle", {"judge": "oracle"}, True), {"lines": 3}))
    for name in ("one", "two"):
        found = found.with_arm(Arm(name=name, simulator="tiny", suite=SUITE, samples=samples))
    return found


def test_a_log_is_read_back_as_it_was(log: EvalLog, tmp_path: Path):
    save_eval_log(tmp_path / "eval.jsonl", log)
    assert load_eval_log(tmp_path / "eval.jsonl") == load_eval_log(tmp_path) == log
    rows = [json.loads(line) for line in (tmp_path / "eval.jsonl").read_text().splitlines()]
    assert rows[0]["format"] == "persona-env/eval-v1"
    assert [row["type"] for row in rows[1:]] == ["arm", *["persona", "sample"] * 3, "arm", *["sample"] * 3]


def test_every_verdict_is_kept_whole(log: EvalLog, tmp_path: Path):
    verdict = Verdict("inconsistent", (0, 1), "because", 0.25, '{"verdict": "no"}')
    arm = log.arms[0]
    samples = tuple(replace(s, verdicts={**s.verdicts, "line_to_line": (verdict,) * 3}) for s in arm.samples)
    save_eval_log(tmp_path / "eval.jsonl", replace(log, arms=(replace(arm, samples=samples),)))
    assert load_eval_log(tmp_path).arms[0].samples[0].verdicts["line_to_line"] == (verdict,) * 3
    replies = next(logged_dialogues(load_eval_log(tmp_path))).replies_about("line_to_line", "P2")
    assert [(r.label, r.conflicts, r.reason, r.probability, r.raw) for r in replies] == [
        ("inconsistent", (0, 1), "because", 0.25, '{"verdict": "no"}')
    ] * 3


def test_an_evaluation_log_can_be_read_as_a_dialogue_log(log: EvalLog, tmp_path: Path):
    save_eval_log(tmp_path / "eval.jsonl", log)
    dialogues = load_logs(tmp_path / "eval.jsonl")
    sample = log.arms[0].samples[0]
    persona = sample.conversation.persona
    assert len(dialogues) == 6
    assert (dialogues[0].id, dialogues[3].id) == (f"one/{persona.id}", f"two/{persona.id}")
    assert replace(dialogues[0].conversation(), id="") == sample.conversation
    answers = [r for r in dialogues[0].replies if r.metric == "question_answer"]
    assert [(r.question, r.gold, r.answer) for r in answers] == [
        (a.probe.text, a.probe.gold, a.text) for a in sample.answers
    ]
    assert {r.metric for r in dialogues[0].replies} == {
        "prompt_to_line", "line_to_line", "question_answer", "relevance", "evasion", "role_flip",
    }  # fmt: skip


DAMAGED = {
    "empty": lambda rows: [],
    "without its header": lambda rows: rows[1:],
    "with two headers": lambda rows: [rows[0], *rows],
    "with a sample of nobody": lambda rows: [rows[0], rows[1], *rows[3:]],
    "with half a line": lambda rows: [*rows[:-1], rows[-1][:40]],
    "of another version": lambda rows: [rows[0].replace("eval-v1", "eval-v9"), *rows[1:]],
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_log_is_refused_in_one_line(damage, log: EvalLog, tmp_path: Path):
    path = tmp_path / "eval.jsonl"
    save_eval_log(path, log)
    path.write_text("\n".join(damage(path.read_text().splitlines())))
    with pytest.raises(InputError, match=r"^Expected .*eval\.jsonl"):
        load_eval_log(path)


def test_a_label_that_is_none_is_told_with_those_there_are(log: EvalLog, tmp_path: Path):
    path = tmp_path / "eval.jsonl"
    save_eval_log(path, log)
    path.write_text(path.read_text().replace('"consistent"', '"fine"', 1))
    with pytest.raises(InputError, match=r"one of consistent, inconsistent, invalid, undecided at .*label, got 'fine'"):
        load_eval_log(path)


def test_a_log_of_somebodys_own_role_is_read_where_that_role_is_not_known(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(ROLES, "_registered", {})
    role = register_role(Role("clerk", "clerk", "guest", "You are a guest.", "Be short."))
    suite = EvalSuite(role="clerk", dialogues=1, lines=1)
    arm = Arm(name="one", simulator="tiny", suite=suite)
    save_eval_log(tmp_path / "eval.jsonl", EvalLog(Header.now("bench", suite, JudgeInfo("match"), {}), (arm,)))
    ROLES._registered.clear()
    assert load_eval_log(tmp_path).arms == (arm,)
    assert role_named("clerk") == role
