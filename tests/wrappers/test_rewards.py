"""What each reward pays, line by line, worked by hand with the exact judge."""

import math

import gymnasium as gym
import pytest

import persona_wrappers as pw
from persona_env.judges import Verdict
from persona_env.persona import Fact, Persona, QAItem
from tests.wrappers.playing import CLASSES, NAMES, gym_env, play

ANN = Persona(
    "ann",
    "patient",
    "Mei",
    "You are Mei. You sleep four hours a night. You came because of grief.",
    facts=(Fact("sleep", "four", "You sleep four hours a night."),),
    questions=(QAItem("four hours a night", ("How long do you sleep?",)),),
)


class Asks:
    """A task agent that asks the questions it is given, in turn."""

    def __init__(self, *questions):
        self.questions = questions

    def reply(self, views):
        return [self.questions[sum(m.side == "task" for m in view.messages) % len(self.questions)] for view in views]


class Garbled:
    """A judge of whose verdicts none decides."""

    def __init__(self, label):
        self.label = label

    def judge(self, questions):
        return [Verdict(self.label, raw="Yes and no.") for _ in questions]


def paid(wrapped, *lines):
    """The rewards of saying these lines to somebody who asks about sleep."""
    wrapped.reset(seed=0, options={"persona": ANN})
    return [float(wrapped.step(line)[1]) for line in lines]


def sleep_env(**settings):
    settings = {"task_agent": Asks("How long do you sleep?"), "personas": [ANN], **settings}
    return gym_env(max_lines=6, **settings)


def test_a_true_line_is_paid_and_a_contradiction_is_not():
    env = pw.PromptToLineReward(sleep_env(), weight=0.5)
    lines = ("About four hours.", "My nights are nine hours.", "I'd rather not say.", "")
    assert paid(env, *lines) == [0.5, 0.0, 0.5, 0.0]


def test_a_line_that_conflicts_with_an_earlier_one_is_not_paid():
    env = pw.LineToLineReward(sleep_env(), weight=2.0)
    lines = ("My nights are nine hours.", "My nights are nine hours.", "About four hours.")
    assert paid(env, *lines) == [0.0, 2.0, 0.0]  # nothing stands before the first line


def test_a_line_that_misses_the_question_is_not_paid():
    assert paid(pw.RelevanceReward(sleep_env()), "Pretty sad.", "Lorem ipsum.")[1] == 0.0


def test_only_the_right_answer_to_a_question_on_the_side_is_paid():
    env = pw.QuestionAnswerReward(sleep_env(), weight=3.0, every=1)
    lines = ("Hm.", "About four hours.", "Hm.", "My nights are nine hours.", "Hm.", "I don't know, sorry.")
    assert paid(env, *lines) == [0.0, 3.0, 0.0, 0.0, 0.0, 0.0]


def test_a_recital_costs_unless_it_was_asked_for():
    recital = "I came because of grief."
    env = pw.CopyPenalty(sleep_env(), weight=0.5)
    assert paid(env, recital, "Well.") == [-0.5, 0.0]
    asked = sleep_env(task_agent=Asks("What grief is it?"))
    assert paid(pw.CopyPenalty(asked, weight=0.5), recital) == [0.0]


def test_a_repeated_line_costs_exactly_or_nearly():
    lines = ("one two three four five six", "One, two; three four five six!", "one two three four five")
    assert paid(pw.RepetitionPenalty(sleep_env(), weight=0.5), *lines) == [0.0, -0.5, -0.5]
    exact = pw.RepetitionPenalty(sleep_env(), weight=0.5, threshold=None)
    assert paid(exact, *lines) == [0.0, -0.5, 0.0]


def learned_by_heart(env, say, dialogues=10):
    """The mean reward of a learner that says the same thing whatever it hears."""
    rewards = []
    for seed in range(dialogues):
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            _, reward, over, _, _ = env.step(say(info["persona"]))
            rewards.append(float(reward))
    return sum(rewards) / len(rewards)


def test_a_parrot_is_perfectly_consistent_and_does_not_pay_under_the_copy_penalty():
    """Reciting the persona earns all of the paper's reward: the hack is there to be punished."""

    def recital(persona):
        return persona.description  # word for word

    hacked = pw.LineToLineReward(pw.PromptToLineReward(gym_env(), weight=0.5), weight=0.5)
    assert learned_by_heart(hacked, recital) == 0.5 + 0.5 * 3 / 4  # nothing stands before the first of four lines
    assert learned_by_heart(pw.CopyPenalty(hacked), recital) < 0.1


def test_one_true_line_for_everything_is_consistent_and_does_not_pay_under_the_guards():
    def evasion(persona):
        return "I'd rather not say."

    hacked = pw.LineToLineReward(pw.PromptToLineReward(gym_env(), weight=0.5), weight=0.5)
    assert learned_by_heart(hacked, evasion) == 0.875
    assert learned_by_heart(pw.RepetitionPenalty(hacked), evasion) == 0.125  # three of four lines repeat the first
    assert learned_by_heart(pw.RelevanceReward(gym_env()), evasion) < 0.5


@pytest.mark.parametrize("label", ["invalid", "undecided"])
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("copying", "repetition")])
def test_a_verdict_that_decides_nothing_pays_nothing_and_is_counted_apart(name, label):
    more = {"every": 1} if name == "question_answer" else {}
    env = getattr(pw, CLASSES[name])(gym_env(), judge=Garbled(label), **more)
    (dialogue,) = play(env, episodes=1, policy=lambda seen: "Hm.")
    values = [info[f"consistency/{name}"] for info in dialogue.infos if f"consistency/{name}" in info]
    lines = sum("line" in info for info in dialogue.infos)
    assert getattr(env, label) == sum(map(math.isnan, values)) == len(values) == lines - (name == "line_to_line") > 0
    assert env.judged == sum(dialogue.rewards) == env.invalid + env.undecided - len(values) == 0
    assert env.counts.asked == len(values)


def test_an_unknown_judge_is_refused_where_the_wrapper_is_made():
    with pytest.raises(ValueError, match="oracel"):
        pw.PromptToLineReward(gym_env(), judge="oracel")


def test_an_environment_without_dialogues_is_refused():
    env = pw.CopyPenalty(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="Expected a dialogue environment"):
        env.reset(seed=0)


def test_a_persona_without_questions_is_asked_none():
    env = pw.QuestionAnswerReward(sleep_env(), every=1)
    env.reset(seed=0, options={"persona": Persona("bare", "patient", "Mei", "You are Mei.")})
    assert env.step("Hm.")[4]["line"] == "Hm."


def test_an_interviewer_of_the_callers_own_keeps_its_place():
    asked = []

    def own(conversations):
        asked.extend(conversations)
        return [None] * len(conversations)

    env = pw.QuestionAnswerReward(sleep_env(), every=1)
    env.reset(seed=0, options={"persona": ANN, "probe_fns": (own,)})
    env.step("Hm.")
    _, _, _, _, info = env.step("About four hours.")
    assert info["probe"].source == 1
    assert info["consistency/question_answer"] == 1.0
    assert len(asked) == 1


def test_once_per_dialogue_asks_within_the_environments_longest_dialogue():
    for dialogue in play(pw.QuestionAnswerReward(gym_env(max_lines=3)), episodes=12):
        assert sum("answer" in info for info in dialogue.infos) == 1
