"""The frozen reference model that a KL penalty is measured against."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from persona_env.models.merging import is_peft_model
from persona_env.rl.packed_forward import ChoicePositions, MemoryLimits, choice_logits, choice_scores

__all__ = ["Reference"]


class Reference:
    """A frozen model that the policy is compared with; never trained, never saved.

    Args:
        model: The model. Its parameters are frozen, unless it is the policy's own.
        adapters_off: The model is the policy's own with adapters (LoRA): the reference is it without them.
    """

    def __init__(self, model: PreTrainedModel, *, adapters_off: bool = False):
        self.model, self.adapters_off = model, adapters_off
        if not adapters_off:
            self.model.requires_grad_(False).eval()

    @classmethod
    def initial(cls, model: Any) -> Reference:
        """Returns the model as it is now: a frozen copy, or the base under its adapters where it has some."""
        if is_peft_model(model):
            return cls(model, adapters_off=True)
        return cls(copy.deepcopy(model))

    @torch.no_grad()
    def logits(self, positions: ChoicePositions, limits: MemoryLimits) -> Tensor:
        """Returns the reference's logits (A, V); the arguments are those of `choice_logits`."""
        with self._ready(positions.input_ids.device) as model:
            return choice_logits(model, positions, limits=limits)[0]

    @torch.no_grad()
    def log_probs(
        self, positions: ChoicePositions, actions: Tensor, allowed: Callable[[Tensor], Tensor], limits: MemoryLimits
    ) -> Tensor:
        """Returns the reference's log-probabilities of chosen tokens (A,), as `choice_scores` does."""
        with self._ready(positions.input_ids.device) as model:
            return choice_scores(model, positions, actions, allowed, limits=limits).chosen

    @contextlib.contextmanager
    def _ready(self, device: torch.device) -> Iterator[Any]:
        """The reference on a device, or the policy's model with its adapters switched off meanwhile."""
        model: Any = self.model
        if not self.adapters_off:
            yield model.to(device)
            return
        with model.disable_adapter():
            yield model.get_base_model()

    def __deepcopy__(self, memo: dict[int, Any]) -> Reference:
        return self
