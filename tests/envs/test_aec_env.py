"""Both agents act."""

from typing import Any

import pytest

from persona_env import dialogue_v0
from persona_env.persona import Persona
from persona_env.roles import role_named
from tests.envs.parts import PERSONAS, SleepProbe

SCENE = [Persona("s", "patient", "Ann", "You are Ann.", scene="It is the first session.")]


def started(**more) -> Any:
    env = dialogue_v0.env(personas=more.pop("personas", PERSONAS), **more)
    env.reset(seed=0, options={"probe_fns": (SleepProbe(1),)})
    return env


def test_each_agent_reads_its_own_prompt_and_the_task_agent_not_the_persona():
    env = started(personas=SCENE)
    env.step("Hello.")
    prompt = f"{role_named('patient').task_prompt}\nIt is the first session."
    assert env.observe("task_0") == {"prompt": prompt, "dialogue": "you: Hello."}
    assert env.observe("simulator_0") == {
        "prompt": "You are Ann.\nIt is the first session.",
        "dialogue": "therapist: Hello.",
    }


def test_a_question_is_seen_by_the_simulator_only():
    env = started()
    env.step("Hello.")
    env.step("Hi.")
    assert env.unwrapped.probing
    assert env.observe("simulator_0")["dialogue"].endswith("therapist: How long do you sleep?")
    assert env.observe("task_0")["dialogue"] == "you: Hello.\npatient: Hi."


def test_the_info_of_the_agent_that_acts_is_new_and_the_others_stays():
    env = started()
    assert set(env.infos["simulator_0"]) == {"persona"}
    env.step("Hello.")
    assert (env.infos["task_0"]["reply"], set(env.infos["simulator_0"])) == ("Hello.", {"persona"})
    env.step("Hi.")
    assert set(env.infos["simulator_0"]) == {"line", "line_index", "conversation"}
    env.step("Four hours.")
    assert set(env.infos["simulator_0"]) == {"probe", "answer"}
    env.step("Why?")
    assert env.infos["task_0"]["conversation"].messages[-1].text == "Why?"
    with pytest.raises(ValueError, match=r"^Expected a line of text"):
        env.step(3)
    assert env.agent_selection == "simulator_0"


def test_either_agent_ends_the_dialogue_for_both():
    for lines in (("Hello.", "Bye. [END]", "Four hours."), ("Hello.", "Hi.", "Four hours.", "Bye. [END]")):
        env = started()
        for line in lines:
            assert not any(env.terminations.values())
            env.step(line)
        assert env.terminations == {"simulator_0": True, "task_0": True}
        for _ in range(2):
            env.step(None)
        assert env.agents == []


def test_in_the_parallel_form_only_the_active_agents_line_counts():
    env: Any = dialogue_v0.parallel_env(personas=PERSONAS, max_lines=2)
    _, infos = env.reset(seed=0)
    assert infos["task_0"] == {"active_agent": "task_0"}
    lines = []
    while env.agents:
        active = infos[env.agents[0]]["active_agent"]
        _, _, _, _, infos = env.step({"simulator_0": f"sim {len(lines)}", "task_0": f"task {len(lines)}"})
        lines.append("line" in infos.get("simulator_0", {}))
        assert lines[-1] == (active == "simulator_0")
    assert [m.text for m in env.unwrapped.conversation.messages] == ["task 0", "sim 1", "task 2", "sim 3"]


def test_what_cannot_work_is_refused_by_the_constructor():
    with pytest.raises(ValueError, match=r"^Expected max_cycles >= 1, got 0"):
        dialogue_v0.env(max_cycles=0)
    with pytest.raises(TypeError, match="task_agent"):
        dialogue_v0.env(task_agent="scripted")
