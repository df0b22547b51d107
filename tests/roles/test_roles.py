import json

import gymnasium as gym
import pytest

from persona_env.conversation import Conversation, View
from persona_env.judges.base import LineVsPersona
from persona_env.judges.prompts import JudgePrompts
from persona_env.persona import Persona
from persona_env.roles import BUNDLED, ROLES, Role, read_role, register_role, role_named
from persona_env.speakers.base import withheld_line
from persona_env.speakers.interview import InterviewSpeaker

SHOPPER = """
key = "shopper"
simulator = "shopper"
task = "shop assistant"
task_prompt = "You are a shop assistant. Help, and ask one thing at a time."
instruction = "You are in a shop. Stay the person that you are told to be."
personas = "people.json"

[interview]
openings = ["Good morning."]
reactions = ["Certainly."]
questions = ["What are you looking for?", "Is it a present?"]
"""
ANN = {"id": "ann", "role": "shopper", "name": "Ann", "split": "train", "description": "You want red shoes."}


@pytest.fixture
def shopper(tmp_path, monkeypatch):
    monkeypatch.setattr(ROLES, "_registered", {})  # what a test registers is gone after it
    (tmp_path / "shopper.toml").write_text(SHOPPER)
    (tmp_path / "people.json").write_text(
        json.dumps([ANN, ANN | {"id": "bo", "split": "heldout", "description": "You are Bo."}])
    )
    return str(tmp_path / "shopper.toml")


@pytest.mark.parametrize("key", BUNDLED)
def test_a_bundled_role_is_a_folder_of_its_texts(key):
    role = role_named(key)
    assert (role.key, role.instruction) == (key, "")
    assert role.judge
    assert role.interview
    assert role.personas is not None


def test_a_role_of_ones_own_is_known_by_its_key_once_its_path_was_given(shopper):
    assert role_named(shopper) == role_named("shopper")
    assert role_named("shopper").task == "shop assistant"
    assert "shopper" in list(ROLES)


def test_a_folder_is_read_as_a_single_file_is(shopper, tmp_path):
    folder = tmp_path / "role"
    folder.mkdir()
    texts, tables = SHOPPER.replace('personas = "people.json"\n', "").split("[interview]\n")
    (folder / "role.toml").write_text(texts)
    (folder / "interview.toml").write_text(tables)
    (folder / "personas.json").write_text((tmp_path / "people.json").read_text())
    one, other = read_role(folder), read_role(shopper)
    assert one.personas
    assert other.personas
    assert one.personas.read_text() == other.personas.read_text()
    assert (one.key, one.interview, one.instruction) == (other.key, other.interview, other.instruction)


def test_an_environment_takes_any_role_with_its_own_personas(shopper):
    env = gym.make("persona_env/Dialogue-v0", role=shopper, task_agent="interview", split="heldout", max_lines=2)
    observation, info = env.reset(seed=0)
    assert info["persona"].id == "bo"
    assert observation["prompt"] == f"{role_named('shopper').instruction}\nYou are Bo."
    assert observation["dialogue"].startswith("shop assistant: Good morning. ")
    observation, *_ = env.step("Red shoes.")
    asked = {text for text in role_named("shopper").interview["questions"] if text in observation["dialogue"]}
    assert len(asked) == 2, "a question comes again only when all have been asked"


def test_a_role_without_judge_prompts_is_asked_with_its_own_nouns(shopper):
    persona = Persona("ann", role_named(shopper).key, "Ann", "You want red shoes.")
    negative, positive = JudgePrompts.load().both(LineVsPersona(persona, "I want a hat.", "Hello?"))
    assert "shop assistant" in negative.system
    assert "shopper" in positive.user
    assert "%" not in negative.user


def test_the_instruction_stands_before_the_persona_and_not_in_the_task_agents_prompt(shopper):
    talk = Conversation(Persona("ann", role_named(shopper).key, "Ann", "You want red shoes."))
    assert talk.view("simulator").system.splitlines() == [role_named("shopper").instruction, "You want red shoes."]
    assert talk.view("task").system == role_named("shopper").task_prompt


def test_a_role_says_what_stands_in_for_a_withheld_line_of_its_task_agent(shopper, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(SHOPPER.replace("instruction", 'stock_line = "One moment, please."\ninstruction'))
    said = [withheld_line(View(role_named(role).key, "task", "", (), 0)) for role in ("patient", own.as_posix())]
    assert said == ["I see. Please go on.", "One moment, please."]
    own.write_text(SHOPPER.replace("instruction", 'stock_line = " "\ninstruction'))
    with pytest.raises(ValueError, match="stock_line"):
        read_role(own)


def test_the_interview_depends_on_the_seed_alone_and_not_on_the_batch():
    views = [Conversation(Persona("p", "patient", "", "You are Ann.")).view("task", seed) for seed in range(20)]
    together = InterviewSpeaker().reply(views)
    assert together == [InterviewSpeaker().reply([view])[0] for view in views]
    assert len(set(together)) > 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key = 'a'", "simulator"),
        (SHOPPER.replace("task_prompt", "task_promt"), "task_promt"),
        (SHOPPER.replace('"shopper"\nsimulator', '"Shop per"\nsimulator'), "small letters"),
        ("key = ", "TOML"),
    ],
)
def test_a_bad_role_is_refused_in_one_line_that_names_its_file(tmp_path, text, message):
    (tmp_path / "role.toml").write_text(text)
    with pytest.raises(ValueError, match=rf"^Expected [^\n]*{message}[^\n]*$"):
        read_role(tmp_path / "role.toml")


def test_an_unknown_role_lists_those_that_exist_and_a_bundled_one_is_not_replaced():
    with pytest.raises(ValueError, match=r"one of.*patient"):
        role_named("pateint")
    with pytest.raises(ValueError, match="built in"):
        register_role(Role("patient", "patient", "therapist", "You are a therapist."))
