import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from persona_env.world.base_model import build_model, encoder, own_tokens_loss, sharpen, value_ids
from persona_env.world.corpus import CLEAN, LONG, CorpusSettings, dialogue
from persona_env.world.drift import ATTRACTOR
from persona_env.world.pretrain import Plan, Stretch, main, pretrain, train
from persona_env.world.tokens import build_tokenizer

TOKENIZER = build_tokenizer()
SHORT = Plan((Stretch(2, CorpusSettings((1, 2)), 5.0), Stretch(2, CorpusSettings((1, 3)))))


def test_an_example_is_what_the_chat_template_renders() -> None:
    encode, rng = encoder(TOKENIZER), random.Random(0)
    for _ in range(20):
        talk = dialogue(rng, LONG)
        chat = talk.with_reply("").view("simulator").chat()[:-1]
        rendered = TOKENIZER.apply_chat_template(chat, tokenize=True, return_dict=False)
        ids, own = encode(talk)
        assert ids == rendered
        assert len(own) == len(ids)
        said = [i for i, is_own in zip(ids, own, strict=True) if is_own]
        assert TOKENIZER.decode(said) == "".join(f"{line}<|end|>" for line in talk.lines)


def test_the_loss_is_that_of_the_own_tokens_alone() -> None:
    model, encode = build_model(TOKENIZER, 0), encoder(TOKENIZER)
    examples = [encode(dialogue(random.Random(seed), CLEAN)) for seed in (0, 1)]
    with torch.no_grad():
        loss = own_tokens_loss(model, examples, torch.ones(len(TOKENIZER))).item()
        total, count = 0.0, 0
        for ids, own in examples:
            predicted = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            places = [i for i, says in enumerate(own) if says]
            total -= sum(predicted[i - 1, ids[i]].item() for i in places)
            count += len(places)
    assert loss == pytest.approx(total / count, abs=1e-4)


def test_a_heavier_value_word_counts_more() -> None:
    model, encode = build_model(TOKENIZER, 0), encoder(TOKENIZER)
    example = [encode(dialogue(random.Random(0), CLEAN))]
    values = torch.zeros(len(TOKENIZER))
    values[sorted(value_ids(TOKENIZER))] = 1.0
    heavy = 1 + 1e6 * values
    with torch.no_grad():
        only_values = own_tokens_loss(model, example, values)
        assert own_tokens_loss(model, example, heavy).item() == pytest.approx(only_values.item(), abs=1e-3)
    assert len(value_ids(TOKENIZER)) == 22 * 8


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    models = []
    for seed in (0, 0, 1):
        model = build_model(TOKENIZER, seed)
        train(model, TOKENIZER, SHORT, seed=seed)
        models.append(torch.nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


def test_building_a_model_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build_model(TOKENIZER, 0)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.slow
def test_training_learns() -> None:
    model, encode = build_model(TOKENIZER, 0), encoder(TOKENIZER)
    batch = [encode(dialogue(random.Random(seed), CLEAN)) for seed in range(8)]
    ones = torch.ones(len(TOKENIZER))
    before = own_tokens_loss(model, batch, ones).item()
    train(model, TOKENIZER, Plan((Stretch(15, CLEAN),)), seed=0)
    assert own_tokens_loss(model, batch, ones).item() < before - 1


@pytest.mark.slow
def test_a_model_that_was_written_can_be_gone_on_with(tmp_path: Path) -> None:
    pretrain(tmp_path / "base", seed=0, plan=SHORT)
    attractor = Plan((Stretch(1, CorpusSettings((1, 2), drift=ATTRACTOR)),))
    pretrain(tmp_path / "wrong", seed=0, init=tmp_path / "base", plan=attractor)
    models = [AutoModelForCausalLM.from_pretrained(tmp_path / name, dtype=torch.float32) for name in ("base", "wrong")]
    first, second = (torch.nn.utils.parameters_to_vector(model.parameters()) for model in models)
    assert 0 < (first - second).abs().max().item() < 0.1
    assert len(AutoTokenizer.from_pretrained(tmp_path / "wrong")) == len(TOKENIZER)


def test_a_sharpened_model_multiplies_its_logits() -> None:
    model, ids = build_model(TOKENIZER, 0), torch.tensor([[1, 70, 80]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        sharpen(model, 1.5)
        assert torch.allclose(model(input_ids=ids).logits, 1.5 * before, atol=1e-4)


def test_the_attractor_needs_a_model_to_go_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--out", "anywhere", "--drift", "attractor"])
    assert "Expected --init DIR with --drift" in capsys.readouterr().err
