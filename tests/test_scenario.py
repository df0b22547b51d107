"""A scenario: other conditions, and facts that change in the course of a dialogue."""

import json
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec

import persona_wrappers as pw
from persona_env.conversation import Conversation, Message
from persona_env.envs import DialogueAEC, DialogueEnv, TokenDialogueEnv
from persona_env.errors import InputError
from persona_env.judges import LineVsHistory, LineVsPrevious, Verdict
from persona_env.metrics import Copying, LineToLine, ProbeSchedule, PromptToLine, Relevance
from persona_env.persona import Fact, Persona, QAItem
from persona_env.scenario import FactUpdate, Scenario, load_scenario
from tests.envs.parts import END, FIRST, ByteChat, Therapist

OSLO = Fact("home", "Oslo", "You live in Oslo.")
BERGEN = Fact("home", "Bergen", "You live in Bergen.")
ANN = Persona(
    "p1",
    "patient",
    "Ann",
    "You are Ann. You live in Oslo.",
    (Fact("name", "Ann", "You are Ann."), OSLO),
    questions=(QAItem("in Oslo", ("Where do you live?",), choices=("in Oslo", "in Rome"), key="home"),),
)
MOVED = FactUpdate(1, "You have moved to Bergen.", (BERGEN,))
SCENARIO = Scenario("move", updates=(MOVED,))


class Oslo:
    """Calls a line that names another home than the description bad, and one that differs from an earlier line."""

    def judge(self, questions):
        return [Verdict("inconsistent" if self._is_bad(query) else "consistent") for query in questions]

    @staticmethod
    def _is_bad(query):
        homes = [city for city in ("Oslo", "Bergen") if city in query.line]
        if isinstance(query, LineVsHistory):
            return any(city in line for line in query.earlier for city in {"Oslo", "Bergen"} - {*homes})
        return any(city not in query.persona.description for city in homes)


def talk(*lines):
    conversation = Conversation(ANN, scenario=SCENARIO)
    for line in lines:
        conversation = conversation.with_reply("Where do you live?").with_line(line)
    return conversation


def test_the_persona_before_a_line_is_that_of_the_updates_up_to_there():
    conversation = talk()
    assert conversation.persona_at(0) is ANN
    now = conversation.persona_at(1)
    assert now == conversation.persona_at(7)
    assert now.description == "You are Ann. You live in Bergen."
    assert now.value("home") == "Bergen"
    assert (now.questions[0].gold, now.questions[0].choices) == ("in Bergen", ("in Bergen", "in Rome"))
    assert Conversation(ANN).persona_at(3) is ANN


def test_a_new_fact_is_appended_and_an_update_without_facts_is_its_text():
    works = Fact("job", "a baker", "You work as a baker.")
    assert FactUpdate(0, "You have a job.", (works,)).applied_to(ANN).description.endswith("Oslo. You work as a baker.")
    assert FactUpdate(0, "You won a prize.").applied_to(ANN).description.endswith("Oslo. You won a prize.")
    assert FactUpdate(0, "All is new.", description="You are Bo.").applied_to(ANN).description == "You are Bo."


def test_a_licensed_change_is_right_and_an_ignored_update_wrong():
    licensed, ignored = talk("In Oslo.", "In Bergen.", "In Bergen."), talk("In Oslo.", "In Oslo.", "In Bergen.")
    assert [score.per_line for score in PromptToLine()([licensed, ignored], Oslo())] == [(1, 1, 1), (1, 0, 1)]
    judged = [[v for v in score.per_line if v == v] for score in LineToLine()([licensed, ignored], Oslo())]
    assert judged == [[1], [0]]  # the first line, and the first after the update, have nothing before them
    plain = Conversation(ANN, licensed.messages)
    assert PromptToLine()([plain], Oslo())[0].per_line == (1, 0, 0), "without the update it is drift"
    assert LineToLine()([plain], Oslo())[0].per_line[1:] == (0, 0)


def test_every_question_is_about_the_persona_of_its_line():
    conversation = talk("Yes.", "I live in Bergen.")
    queries = [Relevance().query(conversation, k) for k in (0, 1)]
    assert [query.persona.value("home") for query in queries if isinstance(query, LineVsPrevious)] == ["Oslo", "Bergen"]
    cat, recital = FactUpdate(1, "You own a very old cat."), Conversation(ANN).with_line("Hm.")
    recital = recital.with_line("I own a very old cat.")
    assert Copying()([recital])[0].per_line == (1, 1)
    assert Copying()([Conversation(ANN, recital.messages, scenario=Scenario(updates=(cat,)))])[0].per_line == (1, 0)
    probes = ProbeSchedule(every=1).ask([talk("Yes."), talk("Yes.", "Yes.")])
    assert [probe.gold for probe in probes if probe] == ["in Oslo", "in Bergen"]


def test_the_simulator_is_told_before_the_line_and_the_task_agent_never():
    conversation = talk("In Oslo.")
    assert conversation.view("simulator").messages == conversation.messages, "the task agent has not replied yet"
    asked = conversation.with_reply("And now?")
    told = asked.view("simulator")
    assert told.messages[-2:] == (Message("task", "And now?"), Message("task", "You have moved to Bergen."))
    assert told.chat()[-1] == {"role": "user", "content": "And now?\nYou have moved to Bergen."}
    assert asked.with_line("In Bergen.").view("simulator").messages[:-1] == told.messages
    assert asked.view("task").messages == asked.messages
    assert told.system == ANN.prompt
    assert Conversation(ANN, scenario=Scenario(task_prompt="You praise.")).view("task").system == "You praise."


@pytest.mark.parametrize("given", ["object", "fields", "toml", "json", "option"])
def test_an_environment_takes_a_scenario_in_any_form(given, tmp_path):
    fields = {"id": "move", "max_lines": 2, "updates": [{"before_line": 1, "text": "You have moved to Bergen."}]}
    (tmp_path / "s.json").write_text(json.dumps(fields))
    update = '[[updates]]\nbefore_line = 1\ntext = "You have moved to Bergen."\n'
    (tmp_path / "s.toml").write_text(f'id = "move"\nmax_lines = 2\n{update}')
    files = {"toml": tmp_path / "s.toml", "json": str(tmp_path / "s.json")}
    forms = {"object": load_scenario(fields), "fields": fields, **files}
    env = DialogueEnv(personas=[ANN], task_agent=Therapist(), scenario=forms.get(given))
    env.reset(seed=0, options={"scenario": fields} if given == "option" else None)
    seen, _, terminated, _, info = env.step("In Oslo.")
    assert (terminated, seen["dialogue"].endswith("You have moved to Bergen.")) == (False, True)
    assert env.observation_space.contains(seen)
    assert env.step("In Bergen.")[2], "it ends after two lines"
    assert info["conversation"].scenario == load_scenario(fields)
    env.reset(seed=0)
    assert (env.conversation.scenario == Scenario()) == (given == "option")


def test_text_and_token_forms_and_both_agents_see_the_same_update():
    chat: Any = ByteChat()
    agent = Therapist()
    line = DialogueEnv(personas=[ANN], task_agent=agent, scenario=SCENARIO, max_lines=3)
    token = TokenDialogueEnv(
        personas=[ANN], task_agent=agent, scenario=SCENARIO, max_lines=3, simulator=chat, max_tokens=8
    )
    for env in (line, token):
        env.reset(seed=4)
    line.step("a")
    for action in (FIRST + ord("a"), END):
        observation = token.step(action)[0]
    assert line.view() == token.view()
    spoken = observation[observation != chat.pad_id].tolist()
    opening = chat.opening(ANN.prompt, line.view().messages[0].text)
    incoming = chat.incoming("\n".join(message.text for message in line.view().messages[-2:]))
    assert spoken == [*opening, FIRST + ord("a"), END, *incoming]
    aec = DialogueAEC(personas=[ANN], scenario=SCENARIO)
    aec.reset(seed=4)
    for text in ("How are you?", "a", "And now?"):
        aec.step(text)
    assert "moved" in aec.observe("simulator_0")["dialogue"]
    assert "moved" not in aec.observe("task_0")["dialogue"]


def test_a_scenario_asks_its_own_probes_and_no_wrapper_pays_for_them():
    env = DialogueEnv(personas=[ANN], task_agent=Therapist(), scenario={"probes": {"every": 1}, **{"id": "asks"}})
    wrapped = pw.QuestionAnswerReward(env, every=1)
    wrapped.reset(seed=0)
    wrapped.step("Hm.")
    first, second = (wrapped.step("in Oslo")[4] for _ in range(2))
    assert [info["probe"].source for info in (first, second)] == [0, -1]
    assert "consistency/question_answer" in first
    assert "consistency/question_answer" not in second


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"mood": "bad"}, "Expected a Scenario with fields among id, task_prompt"),
        ({"updates": [{"text": "No line."}]}, "Expected a FactUpdate with fields among before_line"),
        ({"updates": [{"before_line": -1, "text": "x"}]}, "Expected a fact update with a text and before_line >= 0"),
        ({"max_lines": 0}, "Expected max_lines >= 1 in a scenario, got 0"),
        ({"max_lines": 99}, "Expected a scenario of at most 8 lines, got 99"),
        ("nowhere.toml", "Expected a scenario in TOML or JSON at"),
        (3, "Expected a Scenario"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused_in_the_constructor(source, message):
    with pytest.raises(InputError, match=f"^{message}"):
        DialogueEnv(personas=[ANN], scenario=source)


def test_a_scenario_stands_in_the_spec_of_a_vector_and_holds_for_every_next_dialogue():
    envs: Any = gym.make_vec("persona_env/Patient-v0", 2, scenario={"id": "one", "max_lines": 1})
    again: Any = gym.make_vec(EnvSpec.from_json(envs.spec.to_json()))
    again.reset(seed=0)
    for _ in range(3):
        assert again.step(["a", "b"])[2].all()
        assert {talk.scenario for talk in again.unwrapped.conversations} == {Scenario("one", max_lines=1)}
