"""A run's judge asks nothing twice, within its budget, and says what it has used."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_env.errors import BudgetSpent
from persona_env.judges import AnswerVsGold, LineVsPersona, Query, load_judge
from persona_env.models.faults import Unavailable
from persona_env.models.limits import Usage
from persona_env.persona import Persona
from persona_env.runs.run_judge import REPLIES, RunJudge
from persona_env.world import personas
from persona_env.world.lexicon import ATTRIBUTES
from tests.judges.backends import reply
from tests.models.behaviours import Behaviour, Call, status, well
from tests.models.fault_server import FaultServer

PERSONAS = personas("patient", "train")
ANN = PERSONAS[0]


def lines(number: int) -> list[Query]:
    said = [f"About {hours} hours." for hours in ATTRIBUTES["patient"]["sleep"].values]
    return [LineVsPersona(ANN, said[i % len(said)], f"Night {i}: how do you sleep?") for i in range(number)]


QUERIES = lines(9)
QUERIES += [AnswerVsGold("patient", ANN.questions[0].wordings[0], ANN.questions[0].gold, "I don't know, sorry.")]
MANY = lines(99)


@pytest.fixture(scope="module")
def spec() -> Iterator[str]:
    """A judge behind a server, which is exact."""
    with FaultServer(answer=reply) as server:
        yield f"openai:{server.spec}"


def opened(folder: Path | None, spec: str, spent: Usage | None = None, **options) -> RunJudge:
    judge = RunJudge(spec, **{"personas": PERSONAS, **options})
    judge.open(folder, spent)
    return judge


def test_verdicts_are_the_servers_and_no_reply_is_asked_for_twice(spec: str, tmp_path: Path):
    judge = opened(tmp_path, spec)
    verdicts = judge.judge(QUERIES)
    exact = load_judge("oracle").judge(QUERIES)
    assert [verdict.label for verdict in verdicts] == [verdict.label for verdict in exact]
    calls = judge.counts["calls"]
    assert calls >= 2 * len(QUERIES)
    judge.close()
    again = opened(tmp_path, spec)
    assert again.judge(QUERIES) == verdicts
    assert (again.counts["calls"], again.counts["cache_hits"]) == (0, calls)
    assert (tmp_path / REPLIES).is_file()
    again.close()


def keyed(call: Call) -> Behaviour:
    """Answers those who bring the key."""
    return well if call.headers.get("authorization") == "Bearer sk-right-key" else status(401)


def test_a_run_without_its_key_gets_its_verdicts_when_it_is_resumed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with FaultServer(keyed, answer=reply) as server:
        spec = f"openai:{server.spec}"
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key")
        judge = opened(tmp_path, spec)
        with pytest.raises(Unavailable):
            judge.judge(QUERIES)
        judge.close()
        monkeypatch.setenv("OPENAI_API_KEY", "sk-right-key")
        judge = opened(tmp_path, spec)
        labels = [verdict.label for verdict in judge.judge(QUERIES)]
        judge.close()
    assert labels == [verdict.label for verdict in load_judge("oracle").judge(QUERIES)]


def test_canaries_damage_and_agreement_are_counted(spec: str, tmp_path: Path):
    judge = opened(tmp_path, f"ensemble:{spec},{spec}")
    judge.judge(MANY)
    counts = judge.counts
    judge.close()
    assert (0 < counts["canaries"] < 20, counts["canaries_failed"], counts["damaged"]) == (True, 0, 0)
    assert counts["pairs"] == counts["agreed"] == 99 + counts["canaries"]
    with contextlib.closing(sqlite3.connect(tmp_path / REPLIES)) as file, file:
        keys = file.execute("SELECT key FROM replies LIMIT 3").fetchall()
        file.executemany("UPDATE replies SET reply = '[]' WHERE key = ?", keys)
    again = opened(tmp_path, spec)
    with pytest.warns(UserWarning, match="damaged"):
        again.judge(MANY)
    assert (again.counts["damaged"], again.counts["calls"]) == (3, 3)
    again.close()


def test_runs_share_what_is_in_the_cache(spec: str, tmp_path: Path):
    first = opened(None, spec, cache=tmp_path / "shared.sqlite")
    verdicts = first.judge(QUERIES)
    second = opened(None, spec, cache=tmp_path / "shared.sqlite")
    assert second.judge(QUERIES) == verdicts
    assert second.counts["calls"] == 0
    first.close()
    second.close()


def test_a_spent_budget_ends_in_order_and_a_larger_one_goes_on(spec: str, tmp_path: Path):
    small = opened(tmp_path, spec, budget={"calls": 10})
    with pytest.raises(BudgetSpent) as ended:
        small.judge(QUERIES)
    assert ended.value.exit_code == 76
    spent = small.usage
    assert 0 < spent.calls <= 10
    small.close()
    with pytest.raises(ValueError, match=r"Expected a limit above the \d+ calls that were used"):
        opened(tmp_path, spec, spent, budget={"calls": spent.calls})
    large = opened(tmp_path, spec, spent, budget={"calls": 1000})
    large.judge(QUERIES)
    assert large.counts["cache_hits"] > 0
    assert spent.calls + large.counts["calls"] <= 2 * len(QUERIES) + 4  # canaries
    large.close()


def test_what_was_used_is_told_after_each_batch(spec: str, tmp_path: Path):
    told: list[int] = []
    judge = RunJudge(spec, personas=PERSONAS)
    judge.open(tmp_path, None, lambda: told.append(judge.counts["calls"]))
    for queries in (QUERIES, MANY):
        judge.judge(queries)
        assert told[-1] == judge.counts["calls"]
    judge.close()
    assert len(told) == 2


def test_a_judge_that_is_away_for_too_long_ends_the_run(tmp_path: Path):
    judge = opened(tmp_path, "openai:nobody@http://127.0.0.1:9/v1", outage_timeout=0.2)
    with pytest.raises(Unavailable) as ended:
        judge.judge(QUERIES)
    assert ended.value.exit_code == 75
    judge.close()


def test_an_exact_judge_has_no_canaries_and_no_cache(tmp_path: Path):
    judge = opened(tmp_path, "oracle")
    assert judge.judge(MANY) == load_judge("oracle").judge(MANY)
    assert (judge.counts, list(tmp_path.iterdir()), judge.is_exact) == ({}, [], True)


def test_personas_without_facts_leave_the_canaries_out_with_a_notice(spec: str):
    nobody = Persona("p", "patient", "Ann", "You are Ann.")
    with pytest.warns(UserWarning, match="canaries: none"):
        judge = opened(None, spec, personas=[nobody])
    assert [verdict.label for verdict in judge.judge(QUERIES[:1])] != ["invalid"]
    assert judge.counts["canaries"] == 0
    judge.close()
