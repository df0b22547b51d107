"""The commands against a server that behaves like a current hosted API, and against one that takes no key."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from persona_env.calibration.label_file import save_labels
from persona_env.io import load_logs
from tests.evaluation.drifted import drifted_votes
from tests.judges.backends import reply
from tests.models.behaviours import WITHHELD, Behaviour, Call, changed, raw, status
from tests.models.fault_server import FaultServer
from tests.test_cli import BENCH, SMALL, run

KEY = "az-hunter2-0123456789"


def refusal(call: Call) -> str:
    """Why a hosted API takes a request not, "" if it does."""
    sent = call.sent
    if "max_tokens" in sent:
        return (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
    if "temperature" in sent:
        return "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) is supported."
    if sent.get("seed", 0) >= 2**32:
        return "seed must be less than 4294967296"
    return "" if call.headers.get("x-team") == "speech" else "the header X-Team is missing"


def hosted(filters: Callable[[Call], bool]) -> Callable[[Call], Behaviour]:
    """Refuses what it does not take, thinks aloud, and filters some lines."""

    def aloud(good: dict) -> dict:
        message = good["choices"][0]["message"]
        thought = "<think>\nThe user wants a reply. Thinking of it.\n</think>\n\n"
        return good | {"choices": [{"message": {**message, "content": thought + message["content"]}}]}

    def behave(call: Call) -> Behaviour:
        if call.headers.get("api-key") != KEY or "?api-version=1" not in call.target:
            return status(401)
        if said := refusal(call):
            return raw(json.dumps({"error": {"message": said}}).encode(), 400)
        return WITHHELD["a filtered reply"] if filters(call) else changed(aloud)

    return behave


def answer(prompt: str) -> str:
    """A judge that knows the embedded world, or a person who sleeps badly."""
    return reply(prompt) if prompt.endswith(("}.", "}")) and '{"id": "' in prompt else f"I sleep badly ({len(prompt)})."


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> str:
    """What has to be said of the hosted API, with `{}` for its address."""
    monkeypatch.setenv("AZURE_KEY", KEY)
    return "openai:m@{}?key_env=AZURE_KEY&header=api-key&header=X-Team:speech&query=api-version=1"


def test_a_benchmark_of_a_hosted_model_by_a_hosted_judge_needs_nothing_but_its_spec(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    filtered = set[str]()

    def filters(call: Call) -> bool:
        if not filtered and '{"id": "' not in call.prompt:
            filtered.add(call.prompt)
        return call.prompt in filtered

    with FaultServer(hosted(filters), answer=answer) as server:
        model = spec.format(server.base_url)
        out = tmp_path / "bench"
        assert run(["bench", model, *BENCH[2:], out, "--judge", model], monkeypatch) == 0
        refused = [call for call in server.calls if refusal(call)]
        withheld = [call for call in server.calls if call.prompt in filtered and not refusal(call)]
    assert len(refused) == 2 * 2, "the model and the judge learn two fields each"
    assert len(withheld) % 2 == 0
    lines = [message for log in load_logs(out / "eval.jsonl") for message in log.conversation().messages]
    said = [line.text for line in lines if line.side == "simulator"]
    assert "" in said
    assert all(re.fullmatch(r"I sleep badly \(\d+\)\.", text) for text in said if text)
    written = "".join(path.read_text("utf-8", "replace") for path in out.rglob("*") if path.is_file())
    shown = written + "".join(capsys.readouterr())
    assert "Thinking of it" not in shown
    assert KEY not in shown


def commands(judge: str, folder: Path) -> dict[str, Sequence[str | Path]]:
    """The commands that ask a judge or a model behind a server."""
    save_labels(folder / "labels.jsonl", drifted_votes())
    return {
        "bench a judge": [*BENCH, folder / "out", "--judge", judge],
        "bench a model": ["bench", judge, *BENCH[2:], folder / "out"],
        "train": ["train", *SMALL, "--judge", judge, "--out", folder / "out"],
        "calibrate": ["judge", "calibrate", "--judge", judge, "--labels", folder / "labels.jsonl"],
    }


@pytest.mark.parametrize("name", ["bench a judge", "bench a model", "train", "calibrate"])
def test_a_wrong_key_ends_each_command_after_one_call_and_says_so(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789")
    refuses = raw(b'{"error": {"message": "This key was revoked."}}', 401)
    with FaultServer(lambda call: refuses, latency=0.2) as server:
        assert run(commands(f"openai:{server.spec}", tmp_path)[name], monkeypatch) == 75
        assert len(server.calls) == 1
    shown = " ".join("".join(capsys.readouterr()).split())
    assert re.search(r"got status 401: put a valid key into OPENAI_API_KEY, then resume\. .*revoked", shown)
