from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from persona_env.conversation import Message, View
from persona_env.errors import RunEnded
from persona_env.judges import LineVsPersona
from persona_env.judges.content_filter import rejection_reason
from persona_env.models.limits import ModelResources
from persona_env.models.reply_cache import ReplyCache
from persona_env.runs.run_judge import RunJudge
from persona_env.speakers import load_speaker
from persona_env.speakers.remote import NoLine, RemoteSpeaker
from persona_env.testing import check_speaker
from tests.models.asked import client
from tests.models.behaviours import (
    HTTP_FAULTS,
    WITHHELD,
    WITHOUT_TEXT,
    Behaviour,
    by_chance,
    cut_off,
    late_copy,
    status,
    well,
)
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
    assert (sent["seed"], sent["temperature"], sent["max_tokens"]) == (2**62 % (2**31 - 1), 0.7, 9)


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


def one_bad(behaviour: Behaviour) -> FaultServer:
    """Misbehaves for one prompt of five."""
    return FaultServer(lambda call: behaviour if call.prompt == "Hi 3." else well, answer=lambda prompt: prompt)


VIEWS = [view(*said(f"Hi {i}.")) for i in range(5)]


def test_a_line_that_does_not_come_is_an_error_and_never_invented():
    told = pytest.raises(NoLine, match="status 500")
    with one_bad(status(500)) as server, client(server, max_retries=1) as asked, told as caught:
        RemoteSpeaker(asked).reply(VIEWS)
    assert isinstance(caught.value, RunEnded)
    assert "\n" not in str(caught.value)


LASTING = {**WITHHELD, **WITHOUT_TEXT, "a refused request": status(400)}


@pytest.mark.parametrize("behaviour", LASTING.values(), ids=LASTING)
def test_a_line_that_is_withheld_is_empty_or_the_stock_line_and_ends_nothing(behaviour: Behaviour):
    with one_bad(behaviour) as server, client(server) as asked:
        lines = RemoteSpeaker(asked).reply(VIEWS)
        stock = RemoteSpeaker(asked).reply(
            [View("patient", "task", "You listen.", (Message("simulator", "Hi 3."),), 0)]
        )
        assert sum(call.prompt == "Hi 3." for call in server.calls) == 4
    assert lines == ["Hi 0.", "Hi 1.", "Hi 2.", "", "Hi 4."]
    assert stock == ["I see. Please go on."]
    assert [getattr(line, "note", "") for line in [*lines, *stock]] == ["", "", "", "filtered", "", "filtered"]


def test_a_server_that_withholds_every_line_ends_the_run_and_says_what_it_did():
    told = pytest.raises(NoLine, match=r"64 in a row .*say thinking=false")
    with FaultServer(lambda call: cut_off) as server, client(server) as asked, told:
        RemoteSpeaker(asked).reply([view(*said(f"Hi {i}.")) for i in range(70)])


def test_an_empty_line_is_told_to_a_server_as_one_that_it_takes():
    messages = (Message("task", "Hi."), Message("simulator", "", "filtered"), Message("task", ""))
    with FaultServer() as server, client(server) as asked:
        RemoteSpeaker(asked).reply([view(*messages)])
        assert [m["content"] for m in server.calls[0].sent["messages"]] == ["You are Ann.", "Hi.", "...", "..."]


def test_a_dialogue_goes_on_after_a_line_that_was_withheld_and_that_line_is_never_consistent():
    env: Any = gym.make("persona_env/Patient-v0", task_agent="interview", split="dev", max_lines=2).unwrapped
    persona = env.reset(seed=0)[1]["persona"]
    with FaultServer(lambda call: WITHHELD["a refusal"]) as server, client(server) as asked:
        info = env.step(RemoteSpeaker(asked).reply([env.view()])[0])[-1]
    env.step("I am tired.")
    assert env.conversation.lines == ("", "I am tired.")
    assert rejection_reason(LineVsPersona(persona, info["line"])) == "says nothing"


def test_lines_are_journaled_and_two_seeds_are_two_requests_even_where_none_is_sent(tmp_path: Path):
    views, journal = [view(*said("Hi."), seed=seed) for seed in (1, 2, 1)], tmp_path / "replies.sqlite"
    number = iter(range(9))
    with FaultServer(answer=lambda prompt: f"Hm {next(number)}.") as server, ReplyCache(journal) as cache:
        said_first = []
        for _ in range(2):
            speaker = load_speaker(f"openai:{server.spec}?seed=none")
            speaker.use(ModelResources((cache,)))
            said_first.append(speaker.reply(views))
            speaker.close()
        assert sorted(set(said_first[0])) == ["Hm 0.", "Hm 1."]
        assert said_first[0] == said_first[1]
        assert said_first[0][0] == said_first[0][2]
        assert ["seed" in call.sent for call in server.calls] == [False, False]


def test_a_resumed_run_asks_for_no_line_again_not_even_for_one_that_was_withheld(tmp_path: Path):
    with one_bad(WITHHELD["a filtered reply"]) as server:
        for _ in range(2):
            speaker, judge = load_speaker(f"openai:{server.spec}"), RunJudge("oracle")
            judge.open(tmp_path, speakers=[speaker])
            assert speaker.reply(VIEWS) == ["Hi 0.", "Hi 1.", "Hi 2.", "", "Hi 4."]
            judge.close()
            speaker.close()
        assert len(server.calls) == 4 + 2


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
    for wrong in ("openai", "openai:", "openai:m@ftp://x", "openai:m@host:80/v1", "tiny:x", "hf"):
        with pytest.raises(ValueError, match="Expected"):
            load_speaker(wrong)


def test_a_copy_of_a_reply_that_comes_late_is_never_the_line_of_another_dialogue():
    texts = [f"Hi {i}." for i in range(40)]
    with FaultServer(lambda call: late_copy, answer=lambda prompt: prompt, latency=0.01) as server:
        speaker = load_speaker(f"openai:{server.spec}")
        for _ in range(5):
            assert speaker.reply([view(*said(text)) for text in texts]) == texts
        speaker.close()


def test_it_keeps_to_the_protocol_through_faults():
    with FaultServer(by_chance(0.3, HTTP_FAULTS)) as server, client(server) as asked:
        check_speaker(RemoteSpeaker(asked), exact=False)
