"""The leash to a reference model: what it measures, how it is checked, and what is logged of it."""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor
from transformers import PreTrainedModel

from persona_env.errors import InputError
from persona_env.rl.packed_forward import ChoicePositions, MemoryLimits, choice_logits, choice_scores

if TYPE_CHECKING:
    from persona_env.sb3.buffer import TrajectoryRolloutBuffer
    from persona_env.sb3.policy import TokenPolicy

__all__ = [
    "KLCallback",
    "Reference",
    "announce",
    "half_square",
    "introduce",
    "kl_to_reference",
    "watch_loss_leash",
]

EXACT_VOCABULARY = 32_768
"""With more token ids a full KL (or entropy) in the loss takes too much memory."""


class Reference:
    """A frozen model that the policy is held to; never trained, never saved.

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
        if hasattr(model, "disable_adapter"):
            return cls(model, adapters_off=True)
        return cls(copy.deepcopy(model))

    @torch.no_grad()
    def logits(self, places: ChoicePositions, bounds: MemoryLimits) -> Tensor:
        """Returns the reference's logits (A, V); the arguments are those of `choice_logits`."""
        with self._standing(places.input_ids.device) as model:
            return choice_logits(model, *places, bounds=bounds)[0]

    @torch.no_grad()
    def log_probs(
        self, places: ChoicePositions, actions: Tensor, allowed: Callable[[Tensor], Tensor], bounds: MemoryLimits
    ) -> Tensor:
        """Returns the reference's log-probabilities of chosen tokens (A,), as `choice_scores` does."""
        with self._standing(places.input_ids.device) as model:
            return choice_scores(model, places, actions, allowed, bounds=bounds).chosen

    @contextlib.contextmanager
    def _standing(self, device: torch.device) -> Iterator[Any]:
        """The reference, ready to be run."""
        model: Any = self.model
        if not self.adapters_off:
            yield model.to(device)
            return
        with model.disable_adapter():
            yield model.get_base_model()

    def __deepcopy__(self, memo: dict[int, Any]) -> Reference:
        return self


def kl_to_reference(log_probs: Tensor, reference: Tensor, chosen: Tensor, actions: Tensor) -> Tensor:
    """Returns the divergence from the reference at each choice (A,), to be minimised as a loss.

    KL(pi || ref) in full; for a large vocabulary k2, half the square of the sampled token's log-ratio,
    whose gradient is right in expectation (that of k1 is 0 and that of k3 is KL(ref || pi)'s).

    Source: Schulman, "Approximating KL Divergence" (2020), for k1 to k3.

    Args:
        log_probs: (A, V) the policy's.
        reference: (A, V) the reference's.
        chosen: (A,) the policy's, of the sampled tokens.
        actions: (A,) the sampled tokens.
    """
    if log_probs.shape[-1] <= EXACT_VOCABULARY:
        return (log_probs.exp() * (log_probs - reference)).sum(-1)
    return half_square(chosen, reference.gather(-1, actions[:, None])[:, 0])


def half_square(chosen: Tensor, reference: Tensor) -> Tensor:
    """Returns k2, half the square of the log-ratio (A,), of two models' log-probabilities of sampled tokens."""
    return (chosen - reference).square() / 2


def watch_loss_leash(log_prob: Tensor, minus_kl: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
    """Returns both as they are, watched: the algorithm's own gradients tell whether the leash holds.

    stable-baselines3 weighs the leash with `ent_coef` (0 by default: no leash), and normalised
    advantages change its weight from batch to batch. Neither can be seen before the first update.

    Args:
        log_prob: (A,) of the sampled tokens, where the policy is still the one that sampled them.
        minus_kl: (A,) what the algorithm takes for the entropy.
        advantages: (A,) as the buffer gave them.
    """

    def check_weight(gradient: Tensor) -> None:
        if not float(gradient.sum()) < 0:
            raise InputError("Expected ent_coef > 0 with leash='loss', got no weight on the KL: ent_coef is it.")

    def check_advantages(gradient: Tensor) -> None:
        used, tolerance = -gradient * len(gradient), 1e-2 * float(advantages.abs().max()) + 1e-6
        if not torch.allclose(used, advantages, rtol=1e-2, atol=tolerance):
            raise InputError(
                "Expected normalize_advantage=False with leash='loss', got normalised advantages: "
                "they change the leash's weight from batch to batch."
            )

    log_prob, minus_kl = log_prob.clone(), minus_kl.clone()
    if minus_kl.requires_grad:
        minus_kl.register_hook(check_weight)
        log_prob.register_hook(check_advantages)
    return log_prob, minus_kl


class _Waiting:
    """A buffer that waits on the observation space for the policy; it is not copied or saved with the space."""

    def __init__(self, buffer: TrajectoryRolloutBuffer):
        self.buffer = weakref.ref(buffer)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def announce(space: spaces.Space[Any], buffer: TrajectoryRolloutBuffer) -> None:
    """Lets the policy that is made next for this very space find the buffer.

    stable-baselines3 makes the buffer, then the policy, and tells neither of the other; the space is
    the one object that it gives to both.
    """
    space.__dict__["awaiting_policy"] = _Waiting(buffer)


def introduce(space: spaces.Space[Any], policy: TokenPolicy) -> None:
    """Hands the policy to the buffer that waits for it, if one does."""
    waiting = space.__dict__.pop("awaiting_policy", None)
    buffer = waiting.buffer() if waiting else None
    if buffer is not None:
        buffer.meet(policy)


class KLCallback(BaseCallback):
    """Logs `train/kl_to_reference`: how far the rollout's policy is from the reference, in nats per token.

    With `leash="loss"` it also checks the algorithm's settings before the first step.

    >>> callback = KLCallback()  # model.learn(10_000, callback=callback)
    """

    def _on_training_start(self) -> None:
        algorithm: Any = self.model
        if getattr(algorithm.policy, "reference", None) is None:
            raise InputError(
                "Expected a policy with a reference, got none: give policy_kwargs=dict(reference='initial')."
            )
        if getattr(algorithm.rollout_buffer, "leash", "reward") == "loss":
            _check_loss_settings(algorithm.ent_coef, algorithm.normalize_advantage)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        algorithm: Any = self.model
        self.logger.record("train/kl_to_reference", algorithm.rollout_buffer.kl_to_reference())


def _check_loss_settings(ent_coef: float, normalize_advantage: bool) -> None:
    if not ent_coef > 0:
        raise InputError(f"Expected ent_coef > 0 with leash='loss', got {ent_coef}: it is the weight of the KL.")
    if normalize_advantage:
        raise InputError(
            "Expected normalize_advantage=False with leash='loss', got True: normalised advantages "
            "change the leash's weight from batch to batch."
        )
