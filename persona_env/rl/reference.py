"""The frozen reference model that a KL penalty is measured against."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from persona_env.models.merging import base_model, is_peft_model
from persona_env.rl.packed_forward import ChoicePositions, MemoryLimits, choice_logits, choice_scores

__all__ = ["Reference"]


class Reference:
    """A frozen model that the policy is compared with; with `adapters_off` the policy's own without its adapters."""

    def __init__(self, model: PreTrainedModel, *, adapters_off: bool = False):
        self.model, self.adapters_off = model, adapters_off
        if not adapters_off:
            self.model.requires_grad_(False).eval()

    @classmethod
    def initial(cls, model: Any) -> Reference:
        """Returns the model as it is now: a frozen copy, or the base under its adapters where it has some."""
        return cls(model, adapters_off=True) if is_peft_model(model) else cls(copy.deepcopy(model))

    @torch.no_grad()
    def logits(self, positions: ChoicePositions, limits: MemoryLimits) -> Tensor:
        """Returns the reference's logits (A, V), see `choice_logits`."""
        with self._ready(positions) as model:
            return choice_logits(model, positions, limits=limits)[0]

    @torch.no_grad()
    def log_probs(
        self, positions: ChoicePositions, actions: Tensor, allowed: Callable[[Tensor], Tensor], limits: MemoryLimits
    ) -> Tensor:
        """Returns the reference's log-probabilities of chosen tokens (A,), see `choice_scores`."""
        with self._ready(positions) as model:
            return choice_scores(model, positions, actions, allowed, limits=limits).chosen

    @contextlib.contextmanager
    def _ready(self, positions: ChoicePositions) -> Iterator[Any]:
        """The reference on the device of the positions, or the policy's model with its adapters switched off."""
        model: Any = self.model
        with model.disable_adapter() if self.adapters_off else contextlib.nullcontext():
            yield base_model(model) if self.adapters_off else model.to(positions.input_ids.device)
