"""Train the embedded model with unmodified stable-baselines3 PPO, token by token.

Run: python examples/03_train_ppo.py [tokens]      (40960 tokens: about half a minute on one core)
"""

import sys
import tempfile

import gymnasium as gym
from stable_baselines3 import PPO

import persona_env  # noqa: F401  (registers the ids)
import persona_wrappers as pw
from persona_env.evaluation import EvalSuite, run_arm, scores
from persona_env.judges import load_judge
from persona_env.sb3 import TokenPolicy, TrajectoryRolloutBuffer, as_sb3
from persona_env.speakers import load_speaker


def main(tokens: int = 40_960) -> None:
    """Trains on personas of the training split and measures on others."""
    envs = gym.make_vec("persona_env/PatientTokens-v0", num_envs=32, split="train")
    envs = pw.vector.ConsistencyRewards(envs, prompt_to_line=0.5, line_to_line=0.3, question_answer=0.5, relevance=0.5)
    model = PPO(
        TokenPolicy,
        as_sb3(envs),
        n_steps=128,
        batch_size=1024,
        n_epochs=1,
        learning_rate=6e-4,
        gamma=1.0,
        vf_coef=0.1,
        rollout_buffer_class=TrajectoryRolloutBuffer,
        policy_kwargs=dict(model="tiny", reference="initial"),
        seed=0,
    )
    model.learn(tokens, progress_bar=sys.stdout.isatty())
    assert isinstance(model.policy, TokenPolicy)
    with tempfile.TemporaryDirectory() as folder:
        model.policy.save_pretrained(folder)
        suite, judge = EvalSuite(role="patient", split="dev", dialogues=48), load_judge("oracle")
        for name, spec in (("before", "tiny"), ("after", f"hf:{folder}")):
            found = scores(run_arm(load_speaker(spec), suite, judge)).estimates
            shown = ", ".join(f"{metric} {found[metric].value:.2f}" for metric in ("prompt_to_line", "relevance"))
            print(f"{name:>6}: {shown}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
