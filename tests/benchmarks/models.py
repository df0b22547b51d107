"""Models of three sizes with random weights, and a clock; for the speed comparisons."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

SIZES: dict[str, dict[str, Any]] = {
    "0.7M": dict(vocab_size=1000, hidden_size=128, num_hidden_layers=3, num_attention_heads=4),
    "33M": dict(vocab_size=8000, hidden_size=512, num_hidden_layers=8, num_attention_heads=8),
    "170M": dict(vocab_size=32_000, hidden_size=1024, num_hidden_layers=11, num_attention_heads=16),
}


def llama(**size: Any) -> Any:
    """Returns a Llama with random weights; 0 is its padding, and no token ends its text."""
    torch.manual_seed(0)
    ends: dict[str, Any] = dict(pad_token_id=0, bos_token_id=None, eos_token_id=None)
    more = dict(intermediate_size=2 * size["hidden_size"], num_key_value_heads=size["num_attention_heads"])
    return LlamaForCausalLM(LlamaConfig(**size, **more, **ends, tie_word_embeddings=True)).eval()


def best_seconds(call: Callable[[], Any], times: int) -> float:
    """Returns the shortest of some runs: what else the machine does can only add to one."""
    return min(timeit.repeat(call, number=1, repeat=times))


def times_as_fast(call: Callable[[], Any], other: Callable[[], Any], rounds: int) -> float:
    """Returns the other's seconds through the call's: the median of rounds in which they take turns."""
    return statistics.median(best_seconds(other, 1) / best_seconds(call, 1) for _ in range(rounds))
