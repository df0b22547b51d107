"""A learner, its personas and the three forms of a dialogue, for the tests of the rewards."""

from __future__ import annotations

import zlib
from types import SimpleNamespace

import gymnasium as gym

import persona_env
import persona_wrappers as pw

MENU = (
    "I'm happy to assist, what can I do for you?",
    "About four hours.",
    "My nights are nine hours.",
    "I'd rather not say.",
    "I have been {mood} for days.",
    "{recital}",
    "",
    "Pretty sad.",
)
CLASSES = {
    "prompt_to_line": "PromptToLineReward",
    "line_to_line": "LineToLineReward",
    "question_answer": "QuestionAnswerReward",
    "relevance": "RelevanceReward",
    "evasion": "EvasionPenalty",
    "role_flip": "RoleFlipPenalty",
    "copying": "CopyPenalty",
    "repetition": "RepetitionPenalty",
}
NAMES = tuple(CLASSES)
PENALTIES = tuple(name for name, made in CLASSES.items() if made.endswith("Penalty"))
WEIGHTS = dict(zip(NAMES, (0.3, 0.7, 0.1, 1 / 3, 0.4, 0.6, 0.5, 0.9), strict=True))


def line_of(observation):
    """A learner that is a pure function of what it sees: any trace of a probe changes its lines."""
    seen = zlib.crc32(observation["dialogue"].encode())
    recital = observation["prompt"].replace("You are", "I am")
    return MENU[seen % len(MENU)].format(mood=("sad", "hopeless", "empty")[seen % 3], recital=recital)


def play(env, episodes=3, seed=5, policy=line_of):
    """Plays dialogues; returns each one's rewards, infos and record."""
    played = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed if episode == 0 else None)
        rewards, infos, ended = [], [], [False]
        while not any(ended):
            observation, reward, *ended, info = env.step(policy(observation))
            rewards.append(float(reward))
            infos.append(info)
        played.append(SimpleNamespace(rewards=rewards, infos=infos, conversation=env.unwrapped.conversation))
    return played


def play_rows(envs, episodes=3, seed=5, policy=line_of):
    """Plays at least that many dialogues in each row; returns per row its dialogues' rewards."""
    observations, _ = envs.reset(seed=seed)
    rows = [[[]] for _ in range(envs.num_envs)]
    while min(len(row) for row in rows) <= episodes:
        seen = [{key: observations[key][i] for key in observations} for i in range(envs.num_envs)]
        observations, rewards, terminated, truncated, _ = envs.step([policy(one) for one in seen])
        for i, row in enumerate(rows):
            row[-1].append(float(rewards[i]))
            if terminated[i] or truncated[i]:
                row.append([])
    return [row[:episodes] for row in rows]


def stacked(env, order, weights=WEIGHTS, home=pw, **arguments):
    """Wraps an environment in the rewards of these drift types, innermost first."""
    for name in order:
        more = arguments if name == "question_answer" else {}
        env = getattr(home, CLASSES[name])(env, weight=weights[name], **more)
    return env


def gym_env(**settings):
    return gym.make("persona_env/Patient-v0", **{"max_lines": 4, **settings})


def vector_env(num_envs=3, **settings):
    return gym.make_vec("persona_env/Patient-v0", num_envs, **{"max_lines": 4, **settings})


def aec_env(**settings):
    return persona_env.dialogue_v0.env(role="patient", **{"max_lines": 4, **settings})
