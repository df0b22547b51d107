"""A run's judge asks nothing twice, within its budget, and says what it has used."""

import contextlib
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from persona_env.judges import AnswerVsGold, LineVsPersona, Query, load_judge
from persona_env.judges.budget import BudgetSpent
from persona_env.models.faults import Unavailable
from persona_env.runs.config import RunConfig, parse_budget
from persona_env.runs.cost_log import CostLog
from persona_env.runs.judge_costs import JudgeCosts
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.run_judge import JOURNAL, RunJudge
from persona_env.world import personas
from tests.reliability.oracle_server import Handler
from tests.reliability.processes import ended, fork

ANN = personas("patient", "train")[0]
QUESTIONS: list[Query] = [LineVsPersona(ANN, f"I sleep {hours} hours.", "How do you sleep?") for hours in range(9)]
QUESTIONS += [AnswerVsGold("patient", ANN.questions[0].wordings[0], ANN.questions[0].gold, "I don't know, sorry.")]


@pytest.fixture(scope="module")
def spec() -> Iterator[str]:
    """A judge behind a server, which is exact."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"openai:oracle@http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def opened(folder: Path, spec: str, spent: dict[str, int] | None = None, **more) -> RunJudge:
    judge = RunJudge(RunConfig(judge=spec, **more))
    judge.open(folder, spent)
    return judge


def test_verdicts_are_the_servers_and_none_is_asked_for_twice(spec: str, tmp_path: Path):
    judge = opened(tmp_path, spec)
    verdicts = judge.judge(QUESTIONS)
    exact = load_judge("oracle").judge(QUESTIONS)
    assert [verdict.label for verdict in verdicts] == [verdict.label for verdict in exact]
    calls = judge.usage()["calls"]
    assert calls >= 2 * len(QUESTIONS)
    judge.close()
    again = opened(tmp_path, spec)
    assert again.judge(QUESTIONS) == verdicts
    assert again.usage() == dict.fromkeys(JudgeCosts.names(), 0) | {"cache_hits": len(QUESTIONS)}
    assert (tmp_path / JOURNAL).is_file()


class Keyed(Handler):
    """An exact judge for those who bring the key."""

    def do_POST(self) -> None:  # noqa: N802
        if self.headers.get("Authorization") == "Bearer sk-right-key":
            super().do_POST()
        else:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()


def test_a_run_without_its_key_gets_its_verdicts_when_it_is_resumed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    labels: list[list[str]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Keyed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for key in ("sk-wrong-key", "sk-right-key"):
            monkeypatch.setenv("OPENAI_API_KEY", key)
            judge = opened(tmp_path, f"openai:oracle@http://127.0.0.1:{server.server_port}/v1")
            labels.append([verdict.label for verdict in judge.judge(QUESTIONS)])
            judge.close()
        server.shutdown()
    exact = [verdict.label for verdict in load_judge("oracle").judge(QUESTIONS)]
    assert labels == [["invalid"] * len(QUESTIONS), exact]


def test_canaries_damage_and_agreement_are_counted(spec: str, tmp_path: Path):
    many: list[Query] = [LineVsPersona(ANN, f"I sleep {hours} hours.", "How do you sleep?") for hours in range(99)]
    judge = opened(tmp_path, f"ensemble:{spec},{spec}")
    judge.judge(many)
    costs = JudgeCosts(**judge.usage())
    judge.close()
    assert (0 < costs.canaries < 20, costs.canaries_failed, costs.damaged) == (True, 0, 0)
    assert (costs.pairs, costs.agreement) == (99 + costs.canaries, 1.0)
    with contextlib.closing(sqlite3.connect(tmp_path / JOURNAL)) as journal, journal:
        journal.execute("UPDATE verdicts SET verdict = '[]' WHERE id <= 3")
    with pytest.warns(UserWarning, match="3 verdicts .* are damaged and will be asked again"):
        again = opened(tmp_path, f"ensemble:{spec},{spec}")
    again.judge(many)
    assert (again.usage()["damaged"], again.usage()["cache_hits"], again.usage()["calls"] >= 3) == (3, 96, True)


def test_costs_add_up_over_processes_and_are_said_in_one_line():
    costs = JudgeCosts.of({"calls": 7, "tokens": 900, "canaries": 5, "canaries_failed": 2, "pairs": 9, "agreed": 8})
    assert JudgeCosts.of(costs.as_json("calls=9")) == costs
    assert (costs.as_json("calls=9")["budget"], costs.agreement, JudgeCosts().agreement) == ({"calls": 9}, 8 / 9, None)
    assert "\n" not in costs.sentence("calls=9,tokens=1000", invalid=3)
    for part in ("7 of 9 calls", "900 of 1,000 tokens", "3 unreadable", "2 of 5 canaries failed", "89% of 9 pairs"):
        assert part in costs.sentence("calls=9,tokens=1000", invalid=3)
    assert "damaged" not in costs.sentence()
    assert "1 damaged verdicts asked again" in JudgeCosts(damaged=1).sentence()


def test_runs_share_what_is_in_the_cache(spec: str, tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    cache = str(tmp_path / "shared.sqlite")
    first = opened(tmp_path / "one", spec, judge_cache=cache).judge(QUESTIONS)
    second = opened(tmp_path / "two", spec, judge_cache=cache)
    assert second.judge(QUESTIONS) == first
    assert second.usage()["calls"] == 0


def test_a_spent_budget_ends_in_order_and_a_larger_one_goes_on(spec: str, tmp_path: Path):
    small = opened(tmp_path, spec, judge_budget="calls=10")
    with pytest.raises(BudgetSpent) as ended:
        small.judge(QUESTIONS)
    assert ended.value.exit_code == 76
    spent = small.usage()
    small.close()
    with pytest.raises(ValueError, match=r"Expected a budget above the \d+ calls that the run has used, got calls=10"):
        opened(tmp_path, spec, spent, judge_budget="calls=10")
    large = opened(tmp_path, spec, spent, judge_budget="calls=1000")
    large.judge(QUESTIONS)
    assert large.usage()["cache_hits"] > 0
    assert spent["calls"] + large.usage()["calls"] <= 2 * len(QUESTIONS) + 4  # canaries


def test_a_kill_forgets_nothing_that_was_asked_before_it(spec: str, tmp_path: Path):
    many: list[Query] = [LineVsPersona(ANN, f"I sleep {hours} hours.", "How do you sleep?") for hours in range(99)]

    def judge_and_die() -> None:
        judge, asked = RunJudge(RunConfig(judge=spec)), []
        cost_log = CostLog(RunFolder(tmp_path), judge.usage)

        def book() -> None:
            cost_log.book()
            asked.append(judge.usage()["calls"])
            if len(asked) == 3:
                (tmp_path / "asked").write_text(str(asked[-1]))
                os.kill(os.getpid(), signal.SIGKILL)

        judge.open(tmp_path, None, book)
        judge.judge(many)

    assert ended(fork(judge_and_die)) == -signal.SIGKILL
    (tmp_path / "config.json").write_text("{}")
    cost_log = CostLog(RunFolder(tmp_path, resume=True))
    calls = cost_log.total("calls")
    assert (calls, cost_log.seconds) == (int((tmp_path / "asked").read_text()), {})
    assert cost_log.total("canaries") > 0
    with contextlib.closing(sqlite3.connect(tmp_path / JOURNAL)) as journal:
        assert journal.execute("SELECT count(*) FROM verdicts").fetchone() == (64,)  # the third chunk was in flight
    with pytest.raises(ValueError, match=rf"Expected a budget above the {calls} calls that the run has used"):
        opened(tmp_path, spec, {"calls": calls}, judge_budget=f"calls={calls}")


def test_a_judge_that_is_away_for_too_long_ends_the_run(tmp_path: Path):
    waits: list[float] = []
    judge = opened(tmp_path, "openai:nobody@http://127.0.0.1:9/v1", judge_outage_timeout=0.2)
    judge.watch(waits.append)
    with pytest.raises(Unavailable) as ended:
        judge.judge(QUESTIONS)
    assert ended.value.exit_code == 75


def test_an_exact_judge_is_asked_as_it_is(tmp_path: Path):
    judge = opened(tmp_path, "oracle")
    assert judge.judge(QUESTIONS) == load_judge("oracle").judge(QUESTIONS)
    assert (judge.usage(), list(tmp_path.iterdir()), judge.exact) == ({}, [], True)


def test_budgets_are_read_and_wrong_ones_refused():
    assert parse_budget("tokens=2e6") == {"tokens": 2_000_000}
    for wrong in ("calls=0", "calls=many", "money=3", "calls=-1", "tokens=inf"):
        with pytest.raises(ValueError, match="Expected a budget such as"):
            RunConfig(judge_budget=wrong)
