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

    With `kl_in="loss"` it also checks the algorithm's `ent_coef` and `normalize_advantage`. Before the first step it
    raises InputError if there is no reference or the settings do not fit.

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
        if buffer.kl_in == "loss" and not algorithm.ent_coef > 0:
            raise InputError(
                f"Expected ent_coef > 0 with kl_in='loss', got {algorithm.ent_coef}: it is the coefficient of the KL."
            )
        if buffer.kl_in == "loss" and algorithm.normalize_advantage:
            raise InputError(
                "Expected normalize_advantage=False with kl_in='loss', got True: normalised advantages "
                "change the weight of the KL from batch to batch."
            )

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        algorithm: Any = self.model
        self.logger.record("train/kl_to_reference", algorithm.rollout_buffer.kl_to_reference())
