"""What `load_speaker` passes on to the speaker of a spec."""

import pytest

from persona_env.conversation import Conversation
from persona_env.speakers import load_speaker
from persona_env.speakers.local import LanguageModel
from persona_env.speakers.remote import RemoteSpeaker
from persona_env.world import personas
from persona_env.world.scripted import ScriptedSpeaker
from tests.models.fault_server import FaultServer
from tests.speakers import small

VIEWS = [
    Conversation(p).with_reply("How do you sleep?").view("simulator", seed=5) for p in personas("patient", "dev")[:4]
]


def test_a_bound_reaches_the_embedded_model_and_a_loaded_one(tmp_path):
    LanguageModel(small.model(), small.tokenizer()).save_pretrained(tmp_path / "small")
    for spec in ("tiny", f"hf:{tmp_path / 'small'}"):
        whole, short = load_speaker(spec), load_speaker(spec, 3)
        assert isinstance(whole, LanguageModel)
        assert isinstance(short, LanguageModel)
        assert (whole.max_tokens, short.max_tokens) == (24, 3)
        assert short.reply(VIEWS) == LanguageModel.load(spec, max_tokens=3).reply(VIEWS) != whole.reply(VIEWS)


def test_a_bound_reaches_the_server():
    with FaultServer() as server:
        for bound in (None, 7):
            speaker = load_speaker(f"openai:{server.spec}", max_tokens=bound)
            assert isinstance(speaker, RemoteSpeaker)
            speaker.reply(VIEWS[:1])
            speaker.client.close()
        assert [call.sent["max_tokens"] for call in server.calls] == [128, 7]


def test_the_grammar_does_without_a_bound_and_a_speaker_is_returned_as_it_is():
    speaker = load_speaker("scripted", max_tokens=3)
    assert isinstance(speaker, ScriptedSpeaker)
    assert speaker.reply(VIEWS) == load_speaker("scripted").reply(VIEWS)
    assert load_speaker(speaker, max_tokens=3) is speaker


@pytest.mark.parametrize("spec", ["tiny", "scripted", "openai:m@http://127.0.0.1:1/v1"])
def test_a_bound_below_one_is_refused(spec: str):
    with pytest.raises(ValueError, match=r"^Expected max_tokens >= 1, got 0: give a larger one\.$"):
        load_speaker(spec, max_tokens=0)


@pytest.mark.parametrize("option", ["max_tokens=0", "temperature=x"])
def test_an_impossible_option_is_refused_before_the_model_is_loaded(option: str):
    with pytest.raises(ValueError, match=f"^Expected .*{option.partition('=')[0]}"):
        load_speaker(f"hf:/no/such/folder?{option}")
