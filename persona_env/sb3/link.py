"""How a rollout buffer finds the policy of its algorithm.

stable-baselines3 makes the buffer, then the policy, and tells neither of the other. The observation space is the one
object that both get: the buffer puts a `RolloutLink` there, and the policy takes it from there and binds itself to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from persona_env.errors import InputError
from persona_env.rl.reference import Reference
from persona_env.rl.value_head import ValueHead
from persona_env.spaces import TokenContext

__all__ = ["KLPlace", "RolloutLink", "RolloutScorer", "take_link"]

KLPlace = Literal["reward", "loss"]


class RolloutScorer(Protocol):
    """What a rollout buffer needs of a policy."""

    reference: Reference | None
    value_head: ValueHead

    @property
    def shares_prefixes(self) -> bool:
        """Whether the segments of a dialogue can share a row of the update."""
        ...

    def predict_values(self, obs: Any) -> Tensor:
        """Returns values (N, 1)."""
        ...

    def reference_log_probs(self, obs: Any, actions: Tensor) -> Tensor:
        """Returns the reference's log-probabilities of chosen tokens (A,)."""
        ...


@dataclass(eq=False)
class RolloutLink:
    """The link from a buffer to the policy whose rollouts it holds.

    Attributes:
        kl_in: Where the buffer wants the KL penalty.
        kl_coef: The coefficient that the buffer was given; None for its default.
        policy: The policy; None before the algorithm has made it.
    """

    kl_in: KLPlace
    kl_coef: float | None
    policy: RolloutScorer | None = None

    def bind(self, policy: RolloutScorer) -> None:
        """Sets the policy.

        Raises:
            InputError: If a KL penalty is wanted and the policy has no reference.
        """
        if (self.kl_in == "loss" or self.kl_coef) and policy.reference is None:
            raise InputError(
                f"Expected a reference for kl_in={self.kl_in!r}, kl_coef={self.kl_coef}, got none: "
                "give policy_kwargs=dict(reference='initial')."
            )
        self.policy = policy


def take_link(space: TokenContext) -> RolloutLink | None:
    """Returns the link that a buffer has put on the space, if one has, and takes it off."""
    link, space.rollout_link = space.rollout_link, None
    return link
