import random

from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.conversation import Conversation
from persona_env.persona import Persona
from persona_env.world.corpus import LONG, dialogue
from persona_env.world.tokens import SPECIAL_TOKENS, build_tokenizer, grammar_words

TOKENIZER = build_tokenizer()


def ids(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_every_text_comes_back_as_it_went_in(text: str) -> None:
    for special in SPECIAL_TOKENS:
        text = text.replace(special, "")
    assert TOKENIZER.decode(ids(text)) == text


def test_a_word_of_the_grammar_is_one_token_and_its_sentences_hold_no_loose_letters() -> None:
    assert all(len(ids(word)) == 1 for word in grammar_words())
    rng = random.Random(0)
    for _ in range(30):
        talk = dialogue(rng, LONG)
        for text in (talk.persona.prompt, *(message.text for message in talk.messages)):
            pieces = TOKENIZER.convert_ids_to_tokens(ids(text))
            letters = [piece for piece in pieces if len(piece) == 1 and piece.isalpha()]
            assert set(letters) <= {"I", "A"}, text


def test_a_value_is_one_token_with_its_space() -> None:
    assert TOKENIZER.convert_ids_to_tokens(ids("I go by Priya.")) == ["I", "Ġgo", "Ġby", "ĠPriya", "."]


def test_special_tokens_come_first_and_the_bytes_next() -> None:
    assert TOKENIZER.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    assert len(TOKENIZER) == 5 + 256 + len(grammar_words())
    assert (TOKENIZER.pad_token, TOKENIZER.eos_token) == ("<|pad|>", "<|end|>")


def test_the_chat_template_renders_as_specified() -> None:
    talk = Conversation(Persona("m", "patient", "Mei", "You are Mei.")).with_reply("Who are you?")
    messages = talk.with_line("I go by Mei.").with_reply("I see.").view("simulator").chat()
    text = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|system|>You are Mei.<|user|>Who are you?<|assistant|>I go by Mei.<|end|><|user|>I see.<|assistant|>"
    )
    shorter = TOKENIZER.apply_chat_template(messages[:3], tokenize=False)
    assert f"{shorter}<|user|>I see.<|assistant|>" == text
