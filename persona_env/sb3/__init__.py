"""The adapter: unmodified stable-baselines3 PPO and A2C train a transformers language model token by token.

In here: `TokenPolicy` (the model as an actor-critic policy), `TrajectoryRolloutBuffer` (each trajectory stored once,
turn-level GAE, the KL penalty), `as_sb3` (the bridge from Gymnasium's vector environments), `LoraOptions` (adapters
for large models), and `KLCallback`, which logs the KL divergence from the reference model.

    envs = gym.make_vec("persona_env/PatientTokens-v0", num_envs=32)
    model = PPO(TokenPolicy, as_sb3(envs), rollout_buffer_class=TrajectoryRolloutBuffer,
                policy_kwargs=dict(model="tiny"), n_steps=256, gamma=1.0)
    model.learn(200_000)
    model.policy.save_pretrained("runs/patient/model")
"""

from __future__ import annotations

from persona_env.rl.lora import LoraOptions
from persona_env.sb3.buffer import TrajectoryRolloutBuffer
from persona_env.sb3.callbacks import KLCallback
from persona_env.sb3.policy import TokenPolicy
from persona_env.sb3.token_observation import TokenObservation
from persona_env.sb3.vec_env import as_sb3

__all__ = ["KLCallback", "LoraOptions", "TokenObservation", "TokenPolicy", "TrajectoryRolloutBuffer", "as_sb3"]
