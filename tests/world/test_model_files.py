from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import persona_env.world
from persona_env.conversation import Conversation
from persona_env.judges import AnswerVsGold
from persona_env.roles import BUNDLED
from persona_env.world import personas
from persona_env.world.oracle import OracleJudge
from persona_env.world.tokens import CHAT_TEMPLATE, build_tokenizer

FOLDER = Path(persona_env.world.__file__).parent / "model"


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER, padding_side="left")


def test_the_shipped_files_are_the_usual_ones_and_small() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert {"chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"} < names
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 2_000_000


def test_the_shipped_tokenizer_is_the_one_that_the_code_builds(tokenizer) -> None:
    built = build_tokenizer()
    assert tokenizer.get_vocab() == built.get_vocab()
    assert tokenizer.chat_template == CHAT_TEMPLATE
    for text in ("I sleep four hours, don't I?", "Ça va 😀\n"):
        assert tokenizer(text)["input_ids"] == built(text)["input_ids"]
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|pad|>", "<|end|>")


def test_the_shipped_model_fits_its_tokenizer(model, tokenizer) -> None:
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model.config.max_position_embeddings >= 2048
    assert model.num_parameters() < 1_000_000


def test_the_shipped_model_answers_from_its_persona_when_nothing_has_happened_yet(model, tokenizer) -> None:
    people = [person for role in BUNDLED for person in personas(role, "dev")[:40]]
    items = [person.questions[i % len(person.questions)] for i, person in enumerate(people)]
    asked = [item.wording(i, held_out=True) for i, item in enumerate(items)]
    talks = [Conversation(person).with_reply(text) for person, text in zip(people, asked, strict=True)]
    prompts = [talk.view("simulator").chat() for talk in talks]
    batch = tokenizer.apply_chat_template(
        prompts, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        said = model.generate(**batch, do_sample=False, max_new_tokens=24)
    answers = tokenizer.batch_decode(said[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    told = zip(people, items, answers, strict=True)
    verdicts = OracleJudge().judge([AnswerVsGold(p.role, item.wording(0), item.gold, said) for p, item, said in told])
    assert sum(verdict.value for verdict in verdicts) / len(verdicts) >= 0.95
