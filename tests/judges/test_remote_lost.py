"""What a journal keeps of a remote judge: verdicts on replies that came, readable or not; never an outage."""

from __future__ import annotations

from pathlib import Path

import pytest

from persona_env.judges import LineVsHistory, Verdict
from persona_env.judges.json_backend import JSONBackend
from persona_env.judges.kept import KeptJudge
from persona_env.judges.llm import LLMJudge
from persona_env.judges.store import VerdictStore
from persona_env.models.client import ChatClient
from persona_env.models.endpoint import Endpoint
from tests.models.behaviours import BAD_BODIES, BOMBS, Behaviour, cut_off, hang, reset, status
from tests.models.fault_server import FaultServer

ASKED = [LineVsHistory("patient", "I sleep four hours.", ("I sleep well.",))]
CAME = {"another form": None, "gzip bomb": BOMBS["gzip bomb"], "HTML": BAD_BODIES["HTML"]}
LOST = {"hang": hang, "reset": reset, "cut off": cut_off} | {
    f"status {code}": status(code) for code in (307, 400, 401, 403, 404, 408, 500, 502, 503)
}


def judged(behaviour: Behaviour | None, folder: Path) -> tuple[Verdict, int]:
    """Returns the verdict, and how many a journal has then; without a behaviour, replies have another form."""
    behave = (lambda call: behaviour) if behaviour else None
    with FaultServer(behave) if behave else FaultServer() as server, VerdictStore(folder / "v.db") as store:
        client = ChatClient(Endpoint("m", server.base_url), attempts=1, deadline=0.5 if behaviour is hang else 30.0)
        with client:
            (verdict,) = KeptJudge(LLMJudge(JSONBackend(client)), store, keep_invalid=True).judge(ASKED)
        return verdict, len(store)


@pytest.mark.parametrize("name", LOST)
def test_what_never_came_is_invalid_and_not_kept(name: str, tmp_path: Path):
    verdict, kept = judged(LOST[name], tmp_path)
    assert (verdict.label, verdict.lost, kept) == ("invalid", True, 0)


@pytest.mark.parametrize("name", CAME)
def test_what_came_and_cannot_be_used_is_invalid_and_kept(name: str, tmp_path: Path):
    verdict, kept = judged(CAME[name], tmp_path)
    assert (verdict.label, verdict.lost, kept) == ("invalid", False, 1)


def test_verdicts_are_the_same_whether_they_were_lost_or_not():
    assert Verdict("invalid", reason="down", lost=True) == Verdict("invalid", reason="down")
    assert hash(Verdict("invalid", lost=True)) == hash(Verdict("invalid"))
    assert repr(Verdict("invalid", lost=True)) == repr(Verdict("invalid"))
