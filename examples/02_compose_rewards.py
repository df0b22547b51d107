"""Put rewards around an environment, one per drift type, and see what each line earns.

Run: python examples/02_compose_rewards.py
"""

import gymnasium as gym

import persona_env  # noqa: F401  (registers the ids)
import persona_wrappers as pw
from persona_env import load_speaker


def main() -> None:
    """Plays a dialogue of the drifting embedded model and prints what its lines are worth."""
    env = gym.make("persona_env/ChatPartner-v0", split="dev", max_lines=5)
    env = pw.PromptToLineReward(env, judge="oracle", weight=1.0)
    env = pw.LineToLineReward(env, judge="oracle", weight=0.5)
    env = pw.QuestionAnswerReward(env, judge="oracle", weight=1.0, every=2)
    env = pw.RelevanceReward(env, judge="oracle", weight=0.25)
    assert env.spec is not None
    print("the stack, as its spec holds it:", [wrapper.name for wrapper in env.spec.additional_wrappers])

    speaker, total, done, step = load_speaker("tiny"), 0.0, False, 0
    _, info = env.reset(seed=1)
    print(info["persona"].prompt)
    while not done:
        line = speaker.reply([env.get_wrapper_attr("view")(seed=step)])[0]
        _, reward, terminated, truncated, info = env.step(line)
        values = {key.split("/")[1]: value for key, value in info.items() if key.startswith("consistency/")}
        kind = "answer" if "answer" in info else "line"
        print(f"{kind:>6} {reward:5.2f}  {line}   {values}")
        total, done, step = total + float(reward), terminated or truncated, step + 1
    print(f"return {total:.2f}")


if __name__ == "__main__":
    main()
