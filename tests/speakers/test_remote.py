import pytest

from persona_env.conversation import Message, View
from persona_env.errors import RunEnded
from persona_env.speakers import load_speaker
from persona_env.speakers.remote import NoLine, RemoteSpeaker
from persona_env.testing import check_speaker
from tests.models.asked import client
from tests.models.behaviours import HTTP_FAULTS, by_chance, status, well
from tests.models.fault_server import FaultServer


def said(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("simulator" if i % 2 else "task", text) for i, text in enumerate(texts))


def view(*messages: Message, seed: int = 0) -> View:
    return View("patient", "simulator", "You are Ann.", messages, seed)


def test_own_lines_are_the_assistant_and_heard_ones_the_user():
    with FaultServer() as server, client(server) as asked:
        RemoteSpeaker(asked, temperature=0.7, max_tokens=9).reply([view(*said("Hi.", "Tired.", "Why?"), seed=2**62)])
        sent = server.calls[0].sent
    roles = [(message["role"], message["content"]) for message in sent["messages"]]
    assert roles == [("system", "You are Ann."), ("user", "Hi."), ("assistant", "Tired."), ("user", "Why?")]
    assert (sent["seed"], sent["temperature"], sent["max_tokens"]) == (2**62, 0.7, 9)


def test_a_side_that_opens_is_told_a_stub_and_lines_of_one_side_are_joined():
    messages = (Message("simulator", "Well."), Message("task", "A"), Message("task", "B"))
    with FaultServer() as server, client(server) as asked:
        RemoteSpeaker(asked).reply([view(), view(*messages)])
        chats = sorted(([m["content"] for m in call.sent["messages"]] for call in server.calls), key=len)
    assert chats == [["You are Ann.", "Hello."], ["You are Ann.", "Hello.", "Well.", "A\nB"]]


def test_a_line_is_the_whole_reply_stripped_and_the_end_marker_stays_for_the_environment():
    with FaultServer(answer=lambda prompt: "\n I am\n so tired. [END] \n") as server, client(server) as asked:
        assert RemoteSpeaker(asked).reply([view(*said("Hi."))]) == ["I am\n so tired. [END]"]


def test_all_views_are_in_flight_together_and_keep_their_order():
    views = [view(*said(f"Hi {i}.")) for i in range(24)]
    with FaultServer(answer=lambda prompt: prompt, latency=lambda call: 0.03 * (call.number % 3)) as server:
        with client(server) as asked:
            assert RemoteSpeaker(asked).reply(views) == [f"Hi {i}." for i in range(24)]
        assert server.most_in_flight >= 8


def test_a_line_that_does_not_come_is_an_error_and_never_invented():
    def behave(call: object):
        return status(400) if getattr(call, "prompt") == "Hi 3." else well  # noqa: B009

    told = pytest.raises(NoLine, match="status 400")
    with FaultServer(behave) as server, client(server) as asked, told as caught:
        RemoteSpeaker(asked).reply([view(*said(f"Hi {i}.")) for i in range(5)])
    assert isinstance(caught.value, RunEnded)
    assert "\n" not in str(caught.value)


def test_it_speaks_only_when_it_is_its_turn():
    with FaultServer() as server, client(server) as asked:
        assert RemoteSpeaker(asked).reply([]) == []
        with pytest.raises(ValueError, match="its turn"):
            RemoteSpeaker(asked).reply([view(*said("Hi.", "Tired."))])
        assert not server.calls


def test_a_spec_names_it():
    speaker = load_speaker("openai:org/m@http://127.0.0.1:1/v1")
    assert isinstance(speaker, RemoteSpeaker)
    assert speaker.client.endpoint.model == "org/m"
    for wrong in ("openai", "openai:", "openai:m", "openai:m@ftp://x", "tiny:x", "hf"):
        with pytest.raises(ValueError, match="Expected"):
            load_speaker(wrong)


def test_it_keeps_to_the_protocol_through_faults():
    with FaultServer(by_chance(0.3, HTTP_FAULTS)) as server, client(server) as asked:
        check_speaker(RemoteSpeaker(asked), exact=False)
