"""Whether a judge waits shows through all that stands around it, and what waits can be ended."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from persona_env.judges import LineVsPersona, load_judge
from persona_env.judges.canaries import Canaries
from persona_env.judges.ensemble import Ensemble
from persona_env.judges.json_backend import JSONBackend
from persona_env.judges.kept import KeptJudge
from persona_env.judges.llm import LLMJudge
from persona_env.judges.store import VerdictStore
from persona_env.judges.waiting import interrupt, shared, waits
from persona_env.persona import Persona
from persona_env.runs.config import RunConfig
from persona_env.runs.run_judge import RunJudge
from persona_env.world import personas
from persona_wrappers.gym_rewards import SharedJudge
from tests.judges.backends import TextAsker
from tests.models.behaviours import hang, well
from tests.models.fault_server import FaultServer

SPEC = "openai:m@http://127.0.0.1:9/v1"
MEI = Persona("m", "patient", "Mei", "You are Mei. You sleep four hours a night.")


class Said:
    def __init__(self, says):
        self.waits, self.wrapped = says, load_judge(SPEC)

    def judge(self, questions):
        return self.wrapped.judge(questions)


def test_a_remote_judge_waits_and_one_that_computes_does_not():
    assert waits(load_judge(SPEC))
    assert not waits(load_judge("oracle"))
    assert not waits(LLMJudge(TextAsker(lambda query: "A")))


def test_what_a_judge_says_itself_counts():
    assert [waits(Said(says)) for says in (True, False, None)] == [True, False, True]


def test_a_committee_waits_if_all_its_members_do():
    remote, oracle = load_judge(SPEC), load_judge("oracle")
    assert waits(Ensemble([remote, load_judge(SPEC)]))
    assert not waits(Ensemble([remote, oracle]))


@pytest.mark.parametrize("judge", [SPEC, "oracle", f"ensemble:{SPEC},{SPEC},{SPEC}"])
def test_a_runs_judge_waits_as_the_one_inside_does(judge: str, tmp_path: Path):
    limits: dict[str, Any] = {}
    if judge != "oracle":
        limits = {"judge_budget": "calls=100", "judge_cache": str(tmp_path / "cache.sqlite")}
    run = RunJudge(RunConfig(judge=judge, **limits))
    assert waits(run) == (judge != "oracle")
    run.open(tmp_path, on_asked=lambda: None)
    assert waits(SharedJudge(run)) == (judge != "oracle")
    run.close()


def test_judges_share_what_is_anywhere_inside_both(tmp_path: Path):
    remote, other = load_judge(SPEC), load_judge(SPEC)
    with VerdictStore(tmp_path / "v.db") as store:
        kept = KeptJudge(Canaries(remote, personas("patient", "train")), store)
        assert shared(kept, remote)
        assert shared(Ensemble([other, remote]), kept)
        assert not shared(kept, other)


def test_a_judge_that_hangs_in_another_thread_is_interrupted_and_can_be_asked_again(tmp_path: Path):
    question = LineVsPersona(MEI, "About four hours.", "How long do you sleep?")
    with FaultServer(lambda call: hang) as server, VerdictStore(tmp_path / "v.db") as store:
        asker = load_judge(f"openai:{server.spec}")
        judge, errors = KeptJudge(asker, store), list[Exception]()

        def ask():
            try:
                judge.judge([question])
            except Exception as error:
                errors.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        while not server.in_flight:
            time.sleep(0.01)
        interrupt(judge)
        asking.join(10)
        assert not asking.is_alive()
        assert len(errors) == 1
        server.behave = lambda call: well
        server.answer = lambda prompt: '{"answer": "A"}'
        assert judge.judge([question])[0].label == "invalid", "the same answer in both polarities"
        assert isinstance(asker, LLMJudge)
        assert isinstance(asker.asker, JSONBackend)
        asker.asker.client.close()


def test_interrupting_a_judge_that_is_not_asked_does_nothing():
    for spec in (SPEC, "oracle"):
        interrupt(load_judge(spec))
