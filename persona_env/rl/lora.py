"""Low-rank adapters: a large model is trained through a few small matrices; its own weights stay frozen."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from persona_env.errors import InputError
from persona_env.models.merging import has_adapters, is_peft_model

__all__ = ["LoraOptions", "add_adapters"]

_ADDED = "persona_env_adapters"


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """The size of the adapters, and the modules that get them, without dropout.

    Source: Hu et al., arXiv 2106.09685, section 4.1: W + (alpha / rank) B A, with B = 0 at first.

    The targets are `all-linear` (every linear layer but the output layer), or names of modules.

    >>> LoraOptions(rank=8).alpha
    32.0
    """

    rank: int = 16
    alpha: float = 32.0
    targets: str | Sequence[str] = "all-linear"

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"Expected a LoRA rank >= 1, got {self.rank}: 16 is usual.")
        if not 0 < self.alpha < math.inf:
            raise InputError(f"Expected a LoRA alpha > 0, got {self.alpha}: twice the rank is usual.")
        if not self.targets:
            raise InputError("Expected LoRA targets, got none: give 'all-linear' or names of modules.")

    @classmethod
    def of(cls, value: LoraOptions | Mapping[str, Any] | None) -> LoraOptions | None:
        """Returns options that were given as such, as keywords, or not at all."""
        if value is None or isinstance(value, LoraOptions):
            return value
        try:
            return cls(**value)
        except TypeError as error:
            raise InputError(f"Expected lora= rank, alpha and targets, got {value!r} ({error}): correct it.") from None


def add_adapters(model: Any, options: LoraOptions) -> Any:
    """Returns the model with adapters in it (a `peft.PeftModel`): only they are trained, and at first they do nothing.

    The adapters are kept in float32, whatever the precision of the weights under them. The model is changed in
    place; a second call with the same options returns the adapters that it has.

    Raises:
        InputError: If `peft` is not installed, the model has adapters already, or has none of the targets.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("Expected peft for LoRA, got none: pip install 'persona-env[lora]'.") from None
    known, adapted = model.__dict__.get(_ADDED, (None, None))
    if known == options:
        return adapted
    if is_peft_model(model) or has_adapters(model):
        raise InputError("Expected a model without adapters for lora=, got one with some: leave lora= out.")
    targets = options.targets if isinstance(options.targets, str) else list(options.targets)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=options.rank,
        lora_alpha=options.alpha,  # type: ignore[arg-type]  # a factor: fractions serve too
        target_modules=targets,
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in model.modules()),  # GPT-2: weights (in, out)
    )
    try:
        with warnings.catch_warnings():
            # peft asks transformers for a property by its old name, and sets ranks for experts, which get none
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            warnings.filterwarnings("ignore", r"The following \w+_pattern keys", RuntimeWarning)
            adapted = get_peft_model(model, config)
    except ValueError as error:
        why = " ".join(str(error).split())[:160]
        raise InputError(f"Expected LoRA targets in the model, got {targets} ({why}): name its modules.") from None
    model.__dict__[_ADDED] = (options, adapted)  # not as a submodule: it holds the model
    return adapted
