"""A callback that checks a KL penalty's settings and logs the KL divergence."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from persona_env.errors import InputError
from persona_env.sb3.buffer import TrajectoryRolloutBuffer
from persona_env.sb3.policy import TokenPolicy

__all__ = ["KLCallback"]


class KLCallback(BaseCallback):
    """Logs `train/kl_to_reference`, the KL divergence of the rollout's policy from the reference, in nats per token.

    With `kl_in="loss"` it also checks the algorithm's settings before the first step: `ent_coef`, the coefficient of
    the KL, is 0 by default, and normalised advantages would change its weight from batch to batch.

    Raises:
        InputError: When training starts, if there is no reference or the settings do not fit.

    >>> callback = KLCallback()  # model.learn(10_000, callback=callback)
    """

    def _on_training_start(self) -> None:
        algorithm: Any = self.model
        if not isinstance(algorithm.policy, TokenPolicy) or algorithm.policy.reference is None:
            raise InputError(
                "Expected a policy with a reference, got none: give policy_kwargs=dict(reference='initial')."
            )
        buffer = algorithm.rollout_buffer
        if not isinstance(buffer, TrajectoryRolloutBuffer):
            raise InputError(
                f"Expected a TrajectoryRolloutBuffer, got {type(buffer).__name__}: give it as rollout_buffer_class."
            )
        if buffer.kl_in == "loss":
            _check_loss_settings(algorithm.ent_coef, algorithm.normalize_advantage)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        algorithm: Any = self.model
        self.logger.record("train/kl_to_reference", algorithm.rollout_buffer.kl_to_reference())


def _check_loss_settings(ent_coef: float, normalize_advantage: bool) -> None:
    if not ent_coef > 0:
        raise InputError(f"Expected ent_coef > 0 with kl_in='loss', got {ent_coef}: it is the coefficient of the KL.")
    if normalize_advantage:
        raise InputError(
            "Expected normalize_advantage=False with kl_in='loss', got True: normalised advantages "
            "change the weight of the KL from batch to batch."
        )
