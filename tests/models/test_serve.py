"""Our client, and the `openai` client beside it, against `transformers serve` with a tiny model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_env.models.chat import ChatReply, ChatRequest
from persona_env.models.chat_api import ChatClient
from persona_env.models.endpoint import Endpoint
from persona_env.models.faults import BadReply
from persona_env.speakers import load_speaker
from persona_env.speakers.remote import RemoteSpeaker
from persona_env.testing import check_speaker
from persona_env.testing.samples import sample_views
from tests.models.served import transformers_serve

pytestmark = pytest.mark.slow
SCHEMA = {"type": "object", "properties": {"answer": {"enum": ["A", "B"]}}, "required": ["answer"]}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    with transformers_serve(Path(tmp_path_factory.mktemp("serve"))) as served:
        yield served


def asked(number: int) -> list[ChatRequest]:
    return [ChatRequest((("system", "you are ann"), ("user", f"how do you feel {i}")), 8) for i in range(number)]


def test_a_real_server_replies(spec: str):
    with ChatClient(Endpoint.parse(spec)) as client:
        replies = client.complete(asked(8))
        assert all(isinstance(reply, ChatReply) for reply in replies), replies
        usage = client.usage
        assert usage.calls == 8
        assert usage.prompt_tokens > 8
        assert 8 <= usage.completion_tokens <= 64


def test_a_real_server_that_ignores_response_format_is_noticed(spec: str):
    def accept(reply: ChatReply) -> None:
        if not reply.text.lstrip().startswith("{"):
            raise BadReply("the reply is no JSON object")

    with ChatClient(Endpoint.parse(spec), max_retries=1) as client:
        request = ChatRequest((("user", "how do you feel"),), 8, schema=SCHEMA)
        assert isinstance(client.complete([request])[0], ChatReply)  # it says 200, and something else
        assert isinstance(client.complete([request], accept)[0], BadReply)


def test_the_openai_client_gets_the_same_reply(spec: str):
    openai = pytest.importorskip("openai")
    model, url = spec.split("@")
    with ChatClient(Endpoint.parse(spec)) as client, openai.OpenAI(base_url=url, api_key="none") as other:
        (ours,) = client.complete(asked(1))
        messages = [{"role": role, "content": text} for role, text in asked(1)[0].messages]
        theirs = other.chat.completions.create(model=model, messages=messages, max_tokens=8, temperature=0)
        assert isinstance(ours, ChatReply)
        assert ours.text == theirs.choices[0].message.content


def test_a_speaker_talks_through_it(spec: str):
    speaker = load_speaker(f"openai:{spec}")
    assert isinstance(speaker, RemoteSpeaker)
    with speaker.client:
        check_speaker(speaker, views=sample_views()[:12], exact=False)
