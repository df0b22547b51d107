"""Small tokenizers, chat templates and models for the tests of speakers: real, and made in a moment."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "[INST]", "[/INST]")
WORDS = ("you", "are", "ann", "sleep", "four", "hours", "how", "do", "feel", "today", "tired", "i", "am", "a")

CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
DATED = "<s>{{ strftime_now('%d %b %Y') }}\n" + CHATML
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
LEAD_SPACE = (
    "<s>{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}</s>"
    "{% elif m.role == 'system' %}{{ m.content }}\n"
    "{% else %}[INST] {{ m.content }}[/INST]{% endif %}{% endfor %}"
)
PARTS = (
    "{% for m in messages %}<|{{ m.role }}|>{% for part in m.content %}{{ part.text }}{% endfor %}"
    "<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKING = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{{ '<think>\\n' }}"
    "{% if not enable_thinking %}{{ '\\n</think>\\n\\n' }}{% endif %}{% endif %}"
)
NUMBERED = CHATML.replace("{{ m.content", "{% if not plain %}{{ loop.index }}{% endif %}{{ m.content")
NO_END = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
SYSTEM_LAST = (
    "{% for m in messages %}{% if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endif %}"
    "{% endfor %}<|system|>{{ messages[0].content }}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_HISTORY = (
    "<|system|>{{ messages[0].content }}{% for m in messages[-3:] %}{% if m.role != 'system' %}"
    "<|{{ m.role }}|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_OPENING = (
    "{% if messages | length < 2 or messages[1].role != 'user' %}"
    "{{ raise_exception('the user speaks first') }}{% endif %}" + CHATML
)
SHOUTING = CHATML.replace("m.content", "m.content | replace('&', 'and')")


def tokenizer(template: str | None = CHATML, *, pad: str | None = "<pad>") -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with whole words for some; every text round-trips."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [form for word in WORDS for form in (word, "Ġ" + word)]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*SPECIAL, *alphabet, *words]))}
    bpe: Any = Tokenizer(models.BPE(vocabulary, [], ignore_merges=True))
    split = pre_tokenizers.Split(Regex(r" ?\w+|\s+(?!\S)|[^\w\s]|\s+"), "isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_])
    bpe.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="</s>",
        pad_token=pad,
        extra_special_tokens=list(SPECIAL[3:]),
    )
    made.chat_template = template
    return made


def model(vocabulary: int = 400, length: int = 512, seed: int = 0, **more: Any) -> LlamaForCausalLM:
    """A Llama with random weights, large enough for its choices to matter."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    sizes = {"vocab_size": vocabulary, "max_position_embeddings": length}
    return LlamaForCausalLM(LlamaConfig(**{**shape, **heads, **ids, **sizes, **more})).eval()


def saying(ids: list[int], start: int, vocabulary: int = 400, length: int = 512) -> GPT2LMHeadModel:
    """A GPT-2 whose most probable tokens are these, one after the other, after a context of `start` tokens."""
    shape: dict[str, Any] = {"n_embd": length, "n_layer": 1, "n_head": 1, "n_inner": 8, "n_positions": length}
    made = GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, **shape, tie_word_embeddings=False)).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.zero_()
        made.transformer.ln_f.weight.fill_(1.0)
        made.transformer.wpe.weight.copy_(torch.eye(length))
        for place, token in enumerate(ids, start - 1):
            made.lm_head.weight[token, place] = 1.0
    return made
