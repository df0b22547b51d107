"""What every reward wrapper must do, in each of its three forms."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from persona_env import dialogue_v0
from persona_env.envs.single_agent import SingleAgentEnv
from persona_env.testing.samples import require

__all__ = ["check_reward_wrapper"]

Form = Literal["gym", "vector", "aec"]


@dataclass
class _Dialogue:
    """The reward and the info of each step."""

    rewards: list[float] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)

    @property
    def record(self) -> list[tuple[str, str]]:
        """What was said, probes left out."""
        last = [info["conversation"] for info in self.infos if "conversation" in info][-1]
        return [(message.side, message.text) for message in last.messages]


_MENU = (
    "I'm happy to assist, what can I do for you?",
    "I'd rather not say.",
    "About four hours.",
    "My nights are nine hours.",
    "{recital}",
    "Pretty sad.",
    "",
)


def _next_line(observation: dict[str, str]) -> str:
    """A learner that is a function of what it sees: whatever leaves a trace changes its lines."""
    choice = _MENU[zlib.crc32(observation["dialogue"].encode()) % len(_MENU)]
    return choice.format(recital=observation["prompt"].replace("You are", "I am"))


def check_reward_wrapper(
    wrap: Callable[[Any], Any], *, form: Form = "gym", seed: int = 0, dialogues: int = 6, spec: bool = True
) -> None:
    """Checks that a reward wrapper rewards completed lines and answers, and leaves the dialogue alone.

    `wrap` takes an environment of that `form` (`vector`: a VectorEnv, `aec`: of PettingZoo). With `spec` the spec of a
    `gym` environment is to survive JSON, which it does not with a live object as judge.
    """
    bare = _play(form, lambda env: env, seed, dialogues)
    paid = _play(form, wrap, seed, dialogues)
    require(
        [one.record for one in paid] == [one.record for one in bare],
        "wrapper.leaves_no_trace",
        "the same learner has other dialogues in the wrapped environment",
    )
    for one in paid:
        for reward, info in zip(one.rewards, one.infos, strict=True):
            _check_payment(reward, info)
    written = any(key.startswith("consistency/") for one in paid for info in one.infos for key in info)
    require(written, "wrapper.writes_info", 'no info["consistency/<name>"] in any step')
    again = _play(form, wrap, seed, dialogues)
    require(_rewards(again) == _rewards(paid), "wrapper.same_again", "the same dialogues have other rewards")
    twice = _play(form, lambda env: wrap(wrap(env)), seed, dialogues)
    for one, other in zip(map(sum, _rewards(paid)), map(sum, _rewards(twice)), strict=True):
        is_sum = math.isclose(2 * one, other, abs_tol=1e-9)
        require(is_sum, "wrapper.adds", f"once it gives {one}, stacked on itself {other}")
    if form == "gym" and spec:
        _check_spec(wrap, paid, seed)


def _rewards(dialogues: Sequence[_Dialogue]) -> list[list[float]]:
    return [one.rewards for one in dialogues]


def _check_payment(reward: float, info: dict[str, Any]) -> None:
    values = [value for key, value in info.items() if key.startswith("consistency/")]
    require(math.isfinite(reward), "wrapper.finite", f"a reward of {reward}")
    readable = [value for value in values if not math.isnan(value)]
    require(set(readable) <= {0.0, 1.0}, "wrapper.values", f"Expected 1.0, 0.0 or nan in the info, got {values}")
    is_earned = reward == 0.0 or bool(readable)
    require(is_earned, "wrapper.pays_only_what_it_judged", f"a reward of {reward} in a step with {sorted(info)}")
    is_completed = not values or ("line" in info) != ("answer" in info)
    require(is_completed, "wrapper.pays_only_completed_lines", f"it judged a step with {sorted(info)}")


def _check_spec(wrap: Callable[[Any], Any], paid: Sequence[_Dialogue], seed: int) -> None:
    try:
        again = gym.make(EnvSpec.from_json(wrap(_make("gym")).spec.to_json()))
    except (TypeError, ValueError, AttributeError, gym.error.Error) as error:
        raise AssertionError(f"wrapper.spec: it cannot be made from its spec in JSON: {error}") from error
    is_same = _rewards(_play_one(again, seed, len(paid))) == _rewards(paid)
    require(is_same, "wrapper.spec", "made from its spec in JSON, it rewards otherwise")


def _make(form: Form) -> Any:
    if form == "gym":
        return gym.make("persona_env/Patient-v0", max_lines=3)
    if form == "vector":
        return gym.make_vec("persona_env/Patient-v0", num_envs=2, max_lines=3)
    return dialogue_v0.env(role="patient", max_lines=3)


def _play(form: Form, wrap: Callable[[Any], Any], seed: int, dialogues: int) -> list[_Dialogue]:
    env = wrap(_make(form))
    if form == "vector":
        return _play_vector(env, seed, dialogues)
    return _play_one(SingleAgentEnv(env) if form == "aec" else env, seed, dialogues)


def _play_one(env: Any, seed: int, dialogues: int) -> list[_Dialogue]:
    found: list[_Dialogue] = []
    for number in range(dialogues):
        observation, _ = env.reset(seed=seed if number == 0 else None)
        dialogue, over = _Dialogue(), False
        while not over:
            observation, reward, terminated, truncated, info = env.step(_next_line(observation))
            dialogue.rewards.append(float(reward))
            dialogue.infos.append(info)
            over = terminated or truncated
        found.append(dialogue)
    return found


def _play_vector(envs: Any, seed: int, dialogues: int) -> list[_Dialogue]:
    """Returns the dialogues of each environment; the info of one that ends is that under `final_info`."""
    observations, _ = envs.reset(seed=seed)
    each = -(-dialogues // envs.num_envs)
    found = [[_Dialogue()] for _ in range(envs.num_envs)]
    while any(len(own) <= each for own in found):
        seen = [{key: observations[key][i] for key in observations} for i in range(envs.num_envs)]
        observations, rewards, terminated, truncated, info = envs.step([_next_line(one) for one in seen])
        for i, own in enumerate(found):
            over = bool(terminated[i] or truncated[i])
            own[-1].rewards.append(float(rewards[i]))
            told = info.get("final_info", {}) if over else info
            own[-1].infos.append({key: told[key][i] for key in told if f"_{key}" in told and told[f"_{key}"][i]})
            if over:
                own.append(_Dialogue())
    return [dialogue for own in found for dialogue in own[:each]]
