"""Small models of many families of transformers, with random weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf

SHAPE: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SLIDING = {**SHAPE, "head_dim": 8, "sliding_window": 8}
FAMILIES = {
    "Llama": tf.LlamaConfig(**SHAPE),
    "Qwen2": tf.Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    "Qwen3": tf.Qwen3Config(**SHAPE, head_dim=8),
    "GPT2": tf.GPT2Config(
        vocab_size=120, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2, bos_token_id=1, eos_token_id=2
    ),
    "Gemma2": tf.Gemma2Config(**{**SLIDING, "query_pre_attn_scalar": 8, "attn_implementation": "eager"}),
    "Gemma3": tf.Gemma3TextConfig(**SLIDING, query_pre_attn_scalar=8),
    "Mistral": tf.MistralConfig(**SHAPE, sliding_window=8),
}
BLOOM = tf.BloomConfig(vocab_size=120, hidden_size=32, n_layer=1, n_head=4, pad_token_id=0)
MAMBA = tf.MambaConfig(vocab_size=120, hidden_size=16, num_hidden_layers=1, state_size=4)


def built(config: Any) -> Any:
    torch.manual_seed(0)
    return tf.AutoModelForCausalLM.from_config(config).eval()


def llama4(floor: int, **more: Any) -> Any:
    """Its layers without RoPE sharpen their attention from position `floor` on."""
    shape = {**SHAPE, "intermediate_size_mlp": 48, "head_dim": 8, "attention_chunk_size": 8, "moe_layers": []}
    layers = {"layer_types": ["chunked_attention", "full_attention"], "no_rope_layers": [1, 0]}
    return built(tf.Llama4TextConfig(**shape, **layers, floor_scale=floor, attn_scale=1.0, **more))
