"""Our client against `transformers serve` with a tiny model."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import WrongForm
from persona_env.speakers import load_speaker
from persona_env.speakers.remote import RemoteSpeaker
from persona_env.testing import check_speaker
from persona_env.testing.samples import sample_views
from tests.models.asked import free_port
from tests.speakers.small import model, tokenizer

pytestmark = pytest.mark.slow
SCHEMA = {"type": "object", "properties": {"answer": {"enum": ["A", "B"]}}, "required": ["answer"]}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    folder, words = tmp_path_factory.mktemp("serve"), tokenizer()
    made = folder / "model"
    model(len(words), seed=1).save_pretrained(made)
    words.save_pretrained(made)
    (folder / "home" / "hub").mkdir(parents=True)
    port = free_port()
    run = [str(Path(sys.executable).with_name("transformers")), "serve", str(made)]
    run += ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log, subprocess.Popen(run, stdout=log, stderr=log, env=env) as process:
        try:
            with ChatClient(Endpoint("m", f"http://127.0.0.1:{port}/v1"), outage_timeout=60.0) as client:
                client.complete(asked(1))  # which waits for it
            yield f"{made}@http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def asked(number: int) -> list[ChatRequest]:
    return [ChatRequest((("system", "you are ann"), ("user", f"how do you feel {i}")), 8) for i in range(number)]


def test_a_real_server_replies(spec: str):
    with ChatClient(Endpoint.parse(spec)) as client:
        replies = client.complete(asked(8))
        assert all(isinstance(reply, ChatReply) for reply in replies), replies
        assert (client.usage.calls, client.usage.prompt_tokens > 8) == (8, True)
        assert 8 <= client.usage.completion_tokens <= 64


def test_a_real_server_that_ignores_response_format_is_noticed(spec: str):
    def accept(reply: ChatReply) -> None:
        if not reply.text.lstrip().startswith("{"):
            raise WrongForm("the reply is no JSON object")

    with ChatClient(Endpoint.parse(spec), max_retries=1) as client:
        request = ChatRequest((("user", "how do you feel"),), 8, schema=SCHEMA)
        assert isinstance(client.complete([request])[0], ChatReply)  # it says 200, and something else
        assert isinstance(client.complete([replace(request, accept=accept)])[0], WrongForm)


def test_a_speaker_talks_through_it(spec: str):
    speaker = load_speaker(f"openai:{spec}")
    assert isinstance(speaker, RemoteSpeaker)
    with speaker.client:
        check_speaker(speaker, views=sample_views()[:12], exact=False)
