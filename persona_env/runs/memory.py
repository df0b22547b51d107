"""What of a run's settings bounds its memory: precision, adapters, and how much one pass keeps."""

from __future__ import annotations

from persona_env.errors import InputError

from typing import Any

from persona_env.runs.config import RunConfig
from persona_env.rl.lora import LoraOptions

__all__ = ["loading_options", "memory_options"]


def memory_options(settings: RunConfig) -> dict[str, Any]:
    """Returns the keywords of `TokenPolicy` that say what is trained and what a pass keeps in memory.

    A field that the settings do not have, or 0, leaves the policy's default.

    Raises:
        ValueError: If the adapters cannot be.
    """
    rank = getattr(settings, "lora_rank", 0)
    lora = None
    if rank:
        targets = getattr(settings, "lora_targets", "all-linear")
        if isinstance(targets, str) and targets != "all-linear":
            targets = tuple(part.strip() for part in targets.split(",") if part.strip())
        lora = LoraOptions(rank=rank, alpha=getattr(settings, "lora_alpha", 0) or 2 * rank, targets=targets)
    return dict(
        lora=lora,
        micro_batch=getattr(settings, "micro_batch", 0) or None,
        gradient_checkpointing=getattr(settings, "gradient_checkpointing", False),
    )


def loading_options(settings: RunConfig) -> dict[str, Any]:
    """Returns the keywords of `LanguageModel.load` that say in what form the simulator's weights are loaded.

    Raises:
        ValueError: If weights that cannot be trained are to be trained.
    """
    packed = getattr(settings, "load_in_4bit", False)
    if packed and not getattr(settings, "lora_rank", 0):
        raise InputError(
            "Expected lora_rank >= 1 with load_in_4bit, got 0: 4-bit weights cannot be trained themselves."
        )
    return dict(dtype=getattr(settings, "dtype", "auto"), load_in_4bit=packed)
