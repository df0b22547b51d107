"""Make an environment and hold a dialogue in it: a speaker is the patient, the therapist is frozen.

Run: python examples/01_make_and_step.py
"""

import gymnasium as gym

import persona_env  # noqa: F401  (registers the ids)
from persona_env import Conversation, load_speaker


def main() -> None:
    """Plays one dialogue with a simulator that never drifts, and one with the embedded model."""
    for simulator in ("scripted", "tiny"):
        env = gym.make("persona_env/Patient-v0", split="dev", max_lines=4)
        speaker = load_speaker(simulator)
        _, info = env.reset(seed=7)
        print(f"--- {simulator}: {info['persona'].prompt}")
        done, talk = False, Conversation(info["persona"])
        while not done:
            line = speaker.reply([env.get_wrapper_attr("view")(seed=len(talk.lines))])[0]
            _, reward, terminated, truncated, info = env.step(line)
            talk, done = info["conversation"], terminated or truncated
            assert reward == 0.0  # the reward of the bare environment is 0: rewards come from wrappers
        for message in talk.messages:
            print(f"{message.side:>10}: {message.text}")
        env.close()


if __name__ == "__main__":
    main()
