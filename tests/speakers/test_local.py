"""A language model speaks: deterministic by seed, cached between turns, loaded and saved safely."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from persona_env.conversation import Conversation, Message, View
from persona_env.persona import Persona
from persona_env.speakers import load_speaker
from persona_env.speakers.local import LanguageModel, load_model, load_tokenizer
from tests.speakers import small

torch.set_num_threads(1)
REPLIES = ("How do you feel?", "Since when?", "Tell me more about it, please.", "Oh.")


def speaker(**options: Any) -> LanguageModel:
    return LanguageModel(small.model(), small.tokenizer(), **{"max_tokens": 10, **options})


def embeddings(lm: LanguageModel) -> Any:
    return lm.model.get_input_embeddings()


def opened(count: int) -> list[Conversation]:
    personas = [Persona(f"p{i}", "patient", "Ann", f"You are Ann, number {i}.") for i in range(count)]
    return [Conversation(p).with_reply(REPLIES[i % 4]) for i, p in enumerate(personas)]


def play(lm: LanguageModel, talks: list[Conversation], turns: int = 3) -> list[Conversation]:
    for turn in range(turns):
        views = [talk.view("simulator", seed=100 * turn + i) for i, talk in enumerate(talks)]
        said = zip(talks, lm.reply(views), strict=True)
        talks = [talk.with_line(x).with_reply(REPLIES[(turn + len(x)) % 4]) for talk, x in said]
    return talks


def test_the_same_seeds_say_the_same_and_others_something_else() -> None:
    view = opened(1)[0].view
    lines = [speaker().reply([view("simulator", seed=s)])[0] for s in (1, 1, 2)]
    assert lines[0] == lines[1] != lines[2]


def test_dialogues_do_not_hang_on_batching_or_on_what_was_cached() -> None:
    together = play(speaker(), opened(5))
    lm = speaker()
    for i, talk in enumerate(opened(5)):
        for turn in range(3):
            line = lm.reply([talk.view("simulator", seed=100 * turn + i)])[0]
            talk = talk.with_line(line).with_reply(REPLIES[(turn + len(line)) % 4])
        assert talk.messages == together[i].messages
    assert play(lm, opened(5)) == together, "a larger batch"


def test_order_and_probes_leave_no_trace() -> None:
    plain = play(speaker(), opened(4))
    lm, talks = speaker(), opened(4)
    for turn in range(3):
        views = [talk.view("simulator", seed=100 * turn + i) for i, talk in enumerate(talks)]
        lines = lm.reply(views[::-1])[::-1]
        asked = [t.with_line(x).with_reply("Who are you?") for t, x in zip(talks, lines, strict=True)]
        lm.reply([talk.view("simulator", seed=9) for talk in asked[:2]])
        talks = [t.with_line(x).with_reply(REPLIES[(turn + len(x)) % 4]) for t, x in zip(talks, lines, strict=True)]
    assert [t.messages for t in talks] == [t.messages for t in plain]


def test_a_second_turn_runs_only_what_is_new() -> None:
    lm, run = speaker(), []
    talk = opened(1)[0]
    line = lm.reply([talk.view("simulator", seed=1)])[0]
    embeddings(lm).register_forward_hook(lambda m, a, out: run.append(out.shape[1]))
    lm.reply([talk.with_line(line).with_reply("Oh.").view("simulator", seed=2)])
    # the last token of the line, perhaps its end, and the incoming line
    assert run[0] <= 2 + len(lm.chat.incoming("Oh."))
    assert set(run[1:]) <= {1}


def test_sampled_ids_stay_the_context_though_their_text_would_be_encoded_otherwise() -> None:
    lm, talk = speaker(), opened(1)[0]
    tail, differ = lm.chat.incoming("Oh."), 0
    for seed in range(40):
        line = lm.reply([talk.view("simulator", seed=seed)])[0]
        view = talk.with_line(line).with_reply("Oh.").view("simulator")
        context, start = lm._context(view), len(lm.chat.opening(view.system, REPLIES[0]))
        differ += context != lm.chat.context(view)
        assert lm.chat.decode(context[start : -len(tail)]) == line
        assert context[-len(tail) :] == tail
        assert context[-len(tail) - 1] in lm.chat.end_ids
    assert differ, "some sampled line is not what its text encodes to"


def test_sampling_inverts_the_distribution_function() -> None:
    lm = speaker()
    logits = torch.full((5, 400), -1e9)
    logits[:, [40, 50, 60]] = torch.log(torch.tensor([0.5, 0.25, 0.25]))
    logits[:, list(lm.chat.forbidden_ids)] = 50.0  # never sampled
    draws = np.array([0.0, 0.49, 0.51, 0.76, 1 - 2**-53])
    assert lm._sample(logits, draws).tolist() == [40, 40, 50, 60, 60]


def test_temperature_zero_is_greedy_and_hears_no_seed() -> None:
    lm, talk = speaker(temperature=0), opened(1)[0]
    assert lm.reply([talk.view("simulator", 1)]) == lm.reply([talk.view("simulator", 2)])


def test_changed_weights_are_noticed() -> None:
    lm, talk = speaker(temperature=0), opened(1)[0]
    lm.reply([talk.view("simulator")])
    with torch.no_grad():
        embeddings(lm).weight.mul_(-1)
    line = lm.reply([talk.view("simulator")])
    lm.reset_cache()
    assert line == lm.reply([talk.view("simulator")])


def test_a_view_without_messages_is_opened_and_one_that_ends_with_an_own_line_refused() -> None:
    lm = speaker()
    assert lm.reply([View("patient", "simulator", "You are Ann.", (), 0)])[0]
    own = View("patient", "simulator", "You are Ann.", (Message("simulator", "I am"),), 0)
    with pytest.raises(ValueError, match="incoming line last"):
        lm.reply([own])


def test_a_context_that_is_too_long_is_refused_in_one_line() -> None:
    lm = LanguageModel(small.model(length=40), small.tokenizer(), max_tokens=10)
    with pytest.raises(ValueError, match="Expected a context of at most 30 tokens, got") as caught:
        lm.reply([Conversation(opened(1)[0].persona).with_reply("a " * 40).view("simulator")])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("vocabulary", "options", "message"),
    [
        (400, {"max_tokens": 0}, "max_tokens"),
        (400, {"temperature": -1.0}, "temperature"),
        (50, {}, "load the tokenizer"),
    ],
)
def test_what_does_not_fit_is_refused(vocabulary: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"Expected.*{message}"):
        LanguageModel(small.model(vocabulary), small.tokenizer(), **options)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    speaker().save_pretrained(folder)
    return folder


def test_what_is_saved_speaks_the_same_when_loaded(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    views = [talk.view("simulator", seed=5) for talk in opened(2)]
    assert LanguageModel.load(f"hf:{saved}", max_tokens=10).reply(views) == speaker().reply(views)
    assert list(saved.glob("*.safetensors"))
    assert not list(saved.glob("*.bin"))
    assert capfd.readouterr() == ("", ""), "loading and saving are silent"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        *((spec, "Expected a model") for spec in ("tinny", "hf:", "hf:/no/such/folder", "hf:../no", "hf:runs/a/model")),
        ("hf:nobody-at-all/has-this", "the hub cannot be reached"),
    ],
)
@pytest.mark.parametrize("load", [load_tokenizer, load_model])
def test_a_spec_that_names_nothing_is_refused_in_one_line(
    spec: str, message: str, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=message) as caught:
        load(spec)
    assert "\n" not in str(caught.value)


URL = ":m@http://ann:a/GEHEIM@127.0.0.1:9/v1"
BAD = (*(kind + URL for kind in ("opnai", "tiny", "hf", "hf:.")), "x" * 9000, "hf:" + "x" * 9000, "hf:" + "/x" * 2000)


@pytest.mark.parametrize("spec", BAD, ids=lambda spec: spec[:8])
def test_neither_a_password_in_a_spec_nor_a_whole_long_spec_is_told(spec: str) -> None:
    with pytest.raises(ValueError, match=r"^Expected ") as refused:
        load_speaker(spec)
    assert "GEHEIM" not in repr(refused.value)
    assert len(str(refused.value)) < 500


def edited(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def with_nan(folder: Path) -> None:
    lm = speaker()
    with torch.no_grad():
        embeddings(lm).weight[3, 3] = float("nan")
    lm.save_pretrained(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "got no ones"),
        (pickled, "got pickled ones"),
        (with_nan, r"Expected finite weights .*embed_tokens"),
        (lambda folder: edited(folder, num_hidden_layers=3), "Expected all weights"),
        (lambda folder: (folder / "config.json").write_text("{"), "Expected a whole model"),
        (lambda folder: (folder / "config.json").unlink(), r"without a config\.json"),
    ],
)
def test_spoilt_models_are_refused(saved: Path, spoil: Any, message: str) -> None:
    spoil(saved)
    with pytest.raises(ValueError, match=message):
        load_model(f"hf:{saved}")


def test_weights_are_float32_on_the_cpu_unless_asked_otherwise(tmp_path: Path) -> None:
    LanguageModel(small.model().bfloat16(), small.tokenizer()).save_pretrained(tmp_path)
    spec = f"hf:{tmp_path}"
    assert load_model(spec, device="cpu").dtype == torch.float32
    assert load_model(spec, device="cpu", dtype="bfloat16").dtype == torch.bfloat16
    assert LanguageModel.load(spec, device="cpu", dtype="bfloat16").reply([opened(1)[0].view("simulator")])[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(dtype="float16"), "Expected dtype among auto, float32, bfloat16"),
        (dict(device="abacus"), "Expected a device of torch"),
        (dict(device="cpu", load_in_4bit=True), "Expected a CUDA GPU for 4-bit loading"),
        (dict(device="cuda"), "without a GPU"),
    ],
)
def test_a_form_that_cannot_be_loaded_is_refused_in_one_line(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message) as caught:
        load_model("tiny", **options)
    assert "\n" not in str(caught.value)


def test_code_in_a_models_folder_is_never_run(saved: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    (saved / "evil.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass C: pass\nclass M: pass\n")
    edited(saved, model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"})
    with pytest.raises(ValueError, match="Expected a whole model"):
        load_model(f"hf:{saved}")
    assert not trace.exists()


def test_two_speakers_that_may_say_different_lines_have_different_identities(tmp_path: Path) -> None:
    lm = speaker()
    first = lm.identity
    assert json.loads(json.dumps(first)) == first == speaker().identity
    assert (first["kind"], first["dtype"], first["temperature"], first["max_tokens"]) == (
        "hf",
        "torch.float32",
        1.0,
        10,
    )
    other_words, halved = small.tokenizer(), small.model()
    halved.bfloat16()
    other_words.add_tokens(["zzz"])
    others = [
        speaker(temperature=0.5).identity,
        speaker(max_tokens=11).identity,
        LanguageModel(halved, small.tokenizer(), max_tokens=10).identity,
        LanguageModel(small.model(seed=1), small.tokenizer(), max_tokens=10).identity,
        LanguageModel(small.model(rope_theta=77.0), small.tokenizer(), max_tokens=10).identity,
        LanguageModel(small.model(), small.tokenizer(small.LEAD_SPACE), max_tokens=10).identity,
        LanguageModel(small.model(), other_words, max_tokens=10).identity,
    ]
    with torch.no_grad():
        next(lm.model.parameters())[0, 0] += 1
    others.append(lm.identity)
    texts = [json.dumps(identity, sort_keys=True) for identity in (first, *others)]
    assert len(set(texts)) == len(texts)
