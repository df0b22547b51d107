"""The embedded world's tokenizer: a word of the grammar is one token, and any other text is bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from persona_env.world.lexicon import ATTRIBUTES, WORDS
from persona_env.world.reading import clause

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["CHAT_TEMPLATE", "CONTEXT", "SPECIAL_TOKENS", "build_tokenizer", "grammar_words"]

SPECIAL_TOKENS = ("<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
PAD, SYSTEM, USER, ASSISTANT, END = SPECIAL_TOKENS
CONTEXT = 4096
"""The longest context of the base model, in tokens."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] -}}"
    "{%- if message['role'] == 'assistant' -%}{{- '<|end|>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)

_WORD = r" ?[A-Za-z]+(?:'[a-z]+)?"


def _texts() -> Iterator[str]:
    """Every sentence of the grammar, and every way in which one can follow another."""
    for role, attributes in ATTRIBUTES.items():
        yield from WORDS.roles[role].drift_lines
        for attribute in attributes.values():
            yield from (*attribute.questions, *attribute.held_out, *attribute.answers)
            yield from (f"x, and {clause(text)}" for text in attribute.answers)
            for value in attribute.values:
                yield attribute.leading(value)
                yield attribute.sentence.format(value)
    yield from (*WORDS.hedges, *WORDS.greetings, *WORDS.plain_reactions, *WORDS.warm_reactions)
    yield from (WORDS.hedge_reaction, WORDS.echo_reaction)


def grammar_words() -> list[str]:
    """Returns the pieces of the grammar that become one token each, sorted; most start with a space."""
    words: set[str] = set()
    for text in _texts():
        words.update(re.findall(_WORD, text), re.findall(_WORD, f" {text}"))
    return sorted(word for word in words if len(word) > 1)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Returns the tokenizer: special tokens, the 256 bytes, then the words of the grammar.

    Byte-level BPE without merges: a piece that is in the vocabulary is one token, any other falls
    apart into bytes, so every text comes back as it went in.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    byte_symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [word.replace(" ", "Ġ") for word in grammar_words()]
    vocabulary = {piece: i for i, piece in enumerate((*SPECIAL_TOKENS, *byte_symbols, *words))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    split = pre_tokenizers.Split(Regex(_WORD), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
