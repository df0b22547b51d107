"""The note of a line that was cut or filtered stays with it, in every form of the environment and in logs."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from dataclasses import replace

import pytest

from persona_env import dialogue_v0
from persona_env.conversation import Conversation, Line, Message, View
from persona_env.envs import DialogueEnv, DialogueVectorEnv, SingleAgentEnv
from persona_env.evaluation import load_eval_log, logged_dialogues, save_eval_log
from persona_env.evaluation.eval_log import Arm, EvalLog, Header, JudgeInfo, Sample
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import play
from persona_env.io import LoggedDialogue, save_logs
from persona_env.io.dialogue_log import read_dialogues
from persona_env.metrics import QuestionAnswer
from persona_env.runs.training_state import read_state, write_state
from persona_env.speakers import Speaker
from tests.envs.parts import PERSONAS

CUT = Line("I slept badly. [END]", "cut")
SAID = [Message("task", "I see.", "filtered"), Message("simulator", "I slept badly.", "cut")]


class Noted(Speaker):
    """Says a line with a note, whatever it hears."""

    def __init__(self, line: Line):
        self.line = line

    def reply(self, views: Sequence[View]) -> list[str]:
        return [self.line for _ in views]


def by_line() -> Conversation:
    env = DialogueEnv(personas=PERSONAS, task_agent=Noted(Line("I see.", "filtered")))
    env.reset(seed=0)
    env.step(CUT)
    return env.conversation


def by_vector() -> Conversation:
    env = DialogueVectorEnv(2, personas=PERSONAS, task_agent=Noted(Line("I see.", "filtered")))
    env.reset(seed=0)
    return env.step([CUT, CUT])[-1]["final_info"]["conversation"][1]


def by_turns() -> Conversation:
    env = dialogue_v0.env(personas=PERSONAS)
    env.reset(seed=0)
    env.step(Line("I see.", "filtered"))
    env.step(CUT)
    return env.infos["simulator_0"]["conversation"]


def in_parallel() -> Conversation:
    env = dialogue_v0.parallel_env(personas=PERSONAS)
    env.reset(seed=0)
    env.step({"task_0": Line("I see.", "filtered"), "simulator_0": ""})
    return env.step({"task_0": "", "simulator_0": CUT})[-1]["simulator_0"]["conversation"]


def by_simulator() -> Conversation:
    env = SingleAgentEnv(dialogue_v0.env(personas=PERSONAS), partner=Noted(Line("I see.", "filtered")))
    env.reset(seed=0)
    return env.step(CUT)[-1]["conversation"]


def by_task_agent() -> Conversation:
    env = SingleAgentEnv(dialogue_v0.env(personas=PERSONAS), agent="task_0", partner=Noted(CUT))
    env.reset(seed=0)
    env.step(Line("I see.", "filtered"))
    return env.dialogue._episode.conversation


def played() -> Sample:
    suite = EvalSuite(role="patient", dialogues=1, lines=2, questions_every=1)
    [sample] = play(Noted(CUT), suite, PERSONAS[:1], task_agent=Noted(Line("I see.", "filtered")))
    return sample


@pytest.mark.parametrize("form", [by_line, by_vector, by_turns, in_parallel, by_simulator, by_task_agent])
def test_a_line_keeps_its_note_in_every_form(form):
    assert list(form().messages) == SAID


def test_an_evaluation_keeps_the_notes_of_lines_and_of_answers():
    sample = played()
    assert list(sample.conversation.messages) == SAID
    assert [(answer.text, answer.note) for answer in sample.answers] == [("I slept badly.", "cut")]
    [[answer]] = QuestionAnswer(within=1).answers([sample.conversation], Noted(CUT))
    assert (answer.text, answer.note) == (str(CUT), "cut")


def test_logs_keep_notes(tmp_path):
    sample = played()
    suite = EvalSuite(role="patient")
    sample = replace(sample, verdicts=dict.fromkeys(suite.metrics, ()))
    header = Header.now("bench", suite, JudgeInfo("oracle"), {})
    log = EvalLog(replace(header, metrics=()), (Arm(name="a", simulator="tiny", suite=suite, samples=(sample,)),))
    save_eval_log(tmp_path / "eval.jsonl", log)
    again = load_eval_log(tmp_path).arms[0].samples[0]
    assert (again.conversation, again.answers) == (sample.conversation, sample.answers)
    for logged in logged_dialogues(log):
        assert list(logged.conversation().messages) == SAID
    save_logs(tmp_path / "log.jsonl", [sample.conversation])
    [read] = read_dialogues(tmp_path / "log.jsonl")
    assert read.conversation() == sample.conversation == LoggedDialogue.of(sample.conversation).conversation()


def test_a_checkpoint_and_copies_keep_notes():
    assert read_state(write_state(tuple(SAID))) == tuple(SAID)
    for line in (copy.deepcopy(CUT), pickle.loads(pickle.dumps(CUT)), copy.copy(CUT)):
        assert (line, line.note) == (CUT, "cut")
