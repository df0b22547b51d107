"""What PPO and A2C share: stable-baselines3's loop on tokens, its figures, and the state a checkpoint needs.

The KL penalty is in the loss, where it is the exact divergence at each token; in the reward it would be one sample.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from persona_env.algorithms.base import Algorithm, Run
from persona_env.settings import Setting

if TYPE_CHECKING:
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

    from persona_env.speakers.local import LanguageModel

__all__ = ["OnPolicy"]


@dataclass(frozen=True, kw_only=True)
class OnPolicy(Algorithm):
    """Hyperparameters that PPO and A2C share, and how they train."""

    steps: Annotated[int, Setting("Tokens of each dialogue in a rollout.", ge=1)] = 128
    learning_rate: Annotated[float, Setting("Adam's step size at first; it falls linearly to a tenth.", gt=0)] = 1.5e-3
    kl_coef: Annotated[float, Setting("KL coefficient towards the initial model (reward per nat).", ge=0)] = 0.11
    line_gamma: Annotated[float, Setting("Discount from a line to the next.", ge=0, le=1)] = 0.25
    line_lambda: Annotated[float, Setting("Lambda of the advantage estimate between lines.", ge=0, le=1)] = 0.8
    lora_rank: Annotated[int, Setting("Train LoRA adapters of this rank; 0 trains the weights.", ge=0)] = 0
    lora_alpha: Annotated[float, Setting("Scale of the adapters; 0 for twice the rank.", ge=0)] = 0.0
    lora_targets: Annotated[str, Setting("Layers with adapters: all-linear, or names with commas.")] = "all-linear"
    micro_batch: Annotated[int, Setting("At most this many tokens in one pass of an update; 0: no bound.", ge=0)] = 0
    gradient_checkpointing: Annotated[bool, Setting("Recompute layers in the backward pass: less memory.")] = False

    @property
    def trains_adapters(self) -> bool:
        """Whether adapters are trained instead of the weights."""
        return self.lora_rank > 0

    def fit(self, model: LanguageModel, data: Any, run: Run) -> LanguageModel:
        """Trains the model in the token-level vector environment `data`, with its rewards; see `Algorithm.fit`."""
        from persona_env.algorithms.on_policy_learner import OnPolicyLearner

        learner = OnPolicyLearner(self.make(model, data, run.seed))
        return learner.train(run, model.max_tokens)

    @abstractmethod
    def make(self, model: Any, envs: Any, seed: int) -> OnPolicyAlgorithm:
        """Returns stable-baselines3's algorithm on the environments, with the model (or a spec) as its policy."""

    def options(self, model: Any, envs: Any, seed: int) -> dict[str, Any]:
        """Returns the keywords that stable-baselines3's on-policy algorithms share."""
        from persona_env.sb3 import TokenPolicy, TrajectoryRolloutBuffer, as_sb3

        penalty = self.kl_coef > 0
        return dict(
            policy=TokenPolicy,
            env=as_sb3(envs),
            n_steps=self.steps,
            learning_rate=self._learning_rate_at,
            gamma=1.0,
            vf_coef=0.1,
            max_grad_norm=1.0,
            ent_coef=self.kl_coef,
            normalize_advantage=not penalty,
            seed=seed,
            device="auto",
            rollout_buffer_class=TrajectoryRolloutBuffer,
            rollout_buffer_kwargs=dict(
                line_gamma=self.line_gamma,
                line_lambda=self.line_lambda,
                reward_centering=True,
                kl_in="loss" if penalty else "reward",
            ),
            policy_kwargs=dict(
                model=model,
                reference="initial" if penalty else None,
                optimizer_kwargs=dict(eps=1e-6),
                lora=self._lora(),
                micro_batch=self.micro_batch or None,
                gradient_checkpointing=self.gradient_checkpointing,
            ),
        )

    def _learning_rate_at(self, left: float) -> float:
        """Returns the step size when a share `left` of the run is still to come."""
        return self.learning_rate * max(left, 0.1)

    def _lora(self) -> Any:
        from persona_env.rl.lora import LoraOptions

        if not self.lora_rank:
            return None
        names = tuple(part.strip() for part in self.lora_targets.split(",") if part.strip())
        targets = "all-linear" if names == ("all-linear",) else names
        return LoraOptions(rank=self.lora_rank, alpha=self.lora_alpha or 2 * self.lora_rank, targets=targets)
