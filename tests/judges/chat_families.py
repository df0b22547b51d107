"""Tokenizers with the control tokens and chat templates of well-known families, made in a moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from persona_env.judges.prompts import JudgePrompts
from persona_env.roles import BUNDLED


@dataclass(frozen=True)
class Family:
    """Its control tokens (the beginning of a text and the end of a line are the first two) and its template."""

    tokens: tuple[str, ...]
    template: str
    normalises: bool = False


def _each(message: str, prompt: str) -> str:
    """The template that renders each message so, and asks for the next one so."""
    return "{% for m in messages %}" + message + "{% endfor %}{% if add_generation_prompt %}" + prompt + "{% endif %}"


FAMILIES: Mapping[str, Family] = {
    "chatml": Family(
        ("<|endoftext|>", "<|im_end|>", "<|im_start|>"),
        _each("<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n", "<|im_start|>assistant\n"),
    ),
    "llama3": Family(
        ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>"),
        "<|begin_of_text|>"
        + _each(
            "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ),
    "gemma": Family(
        ("<bos>", "<end_of_turn>", "<start_of_turn>", "<eos>"),
        "<bos>{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + _each(
            "<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n{{ m.content | trim }}<end_of_turn>\n",
            "<start_of_turn>model\n",
        ),
    ),
    "mistral": Family(
        ("<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CALLS]"),
        "<s>{% for m in messages %}{% if m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]"
        "{% elif m.role == 'user' %}[INST]{{ m.content }}[/INST]"
        "{% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
    ),
    "zephyr": Family(
        ("<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        _each("<|{{ m.role }}|>\n{{ m.content }}</s>\n", "<|assistant|>\n"),
    ),
    "fullwidth": Family(
        ("<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>",
         "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"),
        "<\uff5cbegin\u2581of\u2581sentence\uff5c>{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}"
        "{% elif m.role == 'user' %}<\uff5cUser\uff5c>{{ m.content }}"
        "{% else %}<\uff5cAssistant\uff5c>{{ m.content }}<\uff5cend\u2581of\u2581sentence\uff5c>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<\uff5cAssistant\uff5c>{% endif %}",
    ),
    "normalising": Family(  # finds its tokens after full-width letters are folded, too
        ("<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"),
        _each("<|{{ m.role }}|>{{ m.content }}</s>", "<|assistant|>"),
        normalises=True,
    ),
}  # fmt: skip


def _texts() -> Iterator[str]:
    prompts = JudgePrompts.load()
    for role in BUNDLED:
        yield prompts.roles[role].system
        for wording in prompts.roles[role].wordings.values():
            yield from (wording.shown, wording.negative, wording.positive)


@cache
def tokenizer(name: str, vocabulary: int = 1200) -> PreTrainedTokenizerFast:
    """A byte-level BPE that has learnt its merges from the judge prompts, with a family's control tokens."""
    family = FAMILIES[name]
    made: Any = Tokenizer(models.BPE())
    if family.normalises:
        made.normalizer = normalizers.NFKC()
    split = pre_tokenizers.Split(Regex(r" ?\p{L}+|\s+(?!\S)|\d|[^\s\p{L}]|\s+"), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer: Any = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(_texts(), trainer)
    made.add_special_tokens(
        [AddedToken(token, special=True, normalized=family.normalises) for token in ("<pad>", *family.tokens)]
    )
    bos, end = family.tokens[:2]
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=bos, eos_token=end, pad_token="<pad>")
    fast.chat_template = family.template
    return fast


def control_ids(name: str) -> frozenset[int]:
    """The ids of a family's control tokens."""
    added = tokenizer(name).added_tokens_decoder
    return frozenset(index for index, token in added.items() if token.special)
