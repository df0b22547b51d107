"""The names under which the environments are made."""

import json
import subprocess
import sys
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.envs.registration import EnvSpec

from persona_env import dialogue_v0
from persona_env.envs import SingleAgentEnv
from persona_env.envs.registration import env_ids, register_environments
from persona_env.errors import InputError
from persona_env.evaluation import EvalSuite
from tests.envs.parts import LINES, TOKENS, Therapist, make, make_aec, make_vec, play


def test_there_are_two_forms_of_three_roles_and_of_any_role_and_no_limit_of_steps():
    stems = ("ChatPartner", "Dialogue", "Patient", "Student")
    assert sorted(env_ids()) == [f"persona_env/{stem}{form}-v0" for stem in stems for form in ("", "Tokens")]
    before = dict(gym.registry), dict(pettingzoo.aec_registry)
    register_environments()
    assert (dict(gym.registry), dict(pettingzoo.aec_registry)) == before, "a second time changes nothing"
    for env_id, (role, _) in env_ids().items():
        spec = gym.spec(env_id)
        assert (spec.max_episode_steps, spec.kwargs) == (None, {"role": role} if role else {})
        assert isinstance(spec.entry_point, str)
        assert isinstance(spec.vector_entry_point, str)


@pytest.mark.parametrize("env_id", env_ids())
def test_a_name_makes_one_and_many(env_id):
    role, tokens = env_ids()[env_id]
    made: list[Any] = [gym.make(f"persona_env:{env_id}"), gym.make_vec(env_id, num_envs=2)]
    for env in made:
        _, info = env.reset(seed=0)
        persona = info["persona"] if isinstance(env, gym.Env) else info["persona"][0]
        assert persona.role == (role or "patient")
        assert getattr(env.unwrapped.spec, "id", None) == env_id
        assert hasattr(env.unwrapped, "chat") == tokens


@pytest.mark.parametrize("form", [LINES, TOKENS])
def test_each_row_is_rendered_and_numpys_integers_do_what_pythons_do(form):
    shown, kinds = [], list[Any]([int, np.int64])
    for number in kinds:
        sizes: dict[str, Any] = dict(max_lines=number(2), max_tokens=number(9), render_mode="ansi")
        envs, env = make_vec(form, number(2), **sizes), make(form, **sizes)
        aec = make_aec(max_cycles=number(3), **sizes)
        side = SingleAgentEnv(aec, partner=Therapist(), render_mode="ansi")
        for one in (envs, env, side):
            one.reset(seed=number(3))
        rows = envs.render()
        assert (rows[0], type(rows)) == (env.render(), tuple)
        envs.reset(seed=np.array([4, 3], number))
        assert envs.render() == rows[::-1]
        shown.append((rows, side.render(), aec.render(), EvalSuite(seed=number(3), lines=number(2))))
        assert type(shown[-1][-1].seed) is int
        for new in (type(envs.unwrapped), type(env.unwrapped), dialogue_v0.env, partial(SingleAgentEnv, aec)):
            with pytest.raises(InputError, match=r"^Expected render_mode 'ansi' or None, got 'human'"):
                new(render_mode="human")
    assert shown[0] == shown[1]
    assert make_vec(form).render() is None


@pytest.mark.parametrize("form", [LINES, TOKENS])
def test_a_spec_survives_json_and_makes_the_same_environment(form):
    env: Any = gym.make(form, max_lines=2, max_tokens=6, split="dev", task_agent="scripted")
    again = gym.make(EnvSpec.from_json(json.loads(json.dumps(env.spec.to_json()))))
    actions = ["I am tired.", "No."] if form == LINES else [7, 70, 700, 71, 72, 73, 74, 75]
    for one in (env, again, gym.make(env.spec)):
        one.reset(seed=3)
    for action in actions:
        assert str(env.step(action)[4]) == str(again.step(action)[4])
    envs: Any = gym.make_vec(form, num_envs=3, max_lines=2, split="dev")
    same = gym.make_vec(EnvSpec.from_json(envs.spec.to_json()))
    assert np.array_equal(str(same.reset(seed=1)[0]), str(envs.reset(seed=1)[0]))
    assert same.num_envs == 3


@pytest.mark.parametrize("form", [LINES, TOKENS])
def test_objects_are_taken_as_well_and_a_spec_holds_them(form):
    therapist = Therapist()
    env = make(form, task_agent=therapist)
    assert play(gym.make(env.spec), 1, seed=2) == play(env, 1, seed=2)
    assert env.spec.kwargs["task_agent"] is therapist  # it says how it is copied: not at all
    assert make_vec(form, task_agent=therapist).unwrapped.spec.kwargs["task_agent"] is therapist


def test_importing_loads_no_model_library():
    code = (
        "import sys, persona_env, persona_wrappers\n"
        "import gymnasium as gym\n"
        "env = gym.make('persona_env/Student-v0'); env.reset(seed=0); env.step('Hello.')\n"
        "print([m for m in ('torch', 'transformers', 'stable_baselines3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
