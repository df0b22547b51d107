"""Judging during generation: the same rewards, errors and judge calls as after it, and never a call left behind."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest

import persona_wrappers as pw
from persona_env.errors import BudgetSpent
from persona_env.models.faults import Unavailable
from tests.envs.parts import LINES, TOKENS, Therapist
from tests.judges.backends import label_a
from tests.models.behaviours import hang, well
from tests.models.fault_server import FaultServer
from tests.wrappers.waiting import LONG, Exact, Failing, Hanging, dialogues, nobody_judges, played, wrapped


@pytest.mark.parametrize("kind", ["stack", "joint"])
@pytest.mark.parametrize(("form", "steps"), [(LINES, 20), (TOKENS, 150)])
def test_steps_and_judge_calls_are_the_same_with_and_without_overlap(form, steps, kind):
    beside, after = Exact(), Exact(is_remote=False)
    one, other = wrapped(dialogues(form), beside, kind), wrapped(dialogues(form), after, kind)
    assert (one.overlaps, other.overlaps) == (kind == "joint", False)  # the outermost of the stack asks no judge
    assert played(one, steps) == played(other, steps)
    assert beside.batches == after.batches
    assert len(after.batches) > 10
    assert one.judged + one.invalid > 20
    assert (one.judged, one.invalid) == (other.judged, other.invalid)
    main = threading.current_thread()
    assert {thread is main for thread in after.threads} == {True}
    assert {thread is main for thread in beside.threads} == {False}
    assert nobody_judges()


def test_there_is_one_batch_a_step_for_each_wrapper():
    judge = Exact()
    envs = pw.vector.RelevanceReward(pw.vector.PromptToLineReward(dialogues(max_lines=9), judge), judge)
    envs.reset(seed=0)
    for step in range(1, 4):
        envs.step([f"I have {step} cats, {row}." for row in range(3)])
        assert len(judge.batches) == 2 * step
    kinds = [{type(question).__name__ for question in batch} for batch in judge.batches]
    assert kinds == [{"LineVsPersona"}, {"LineVsPrevious"}] * 3


def test_a_served_judge_and_a_served_task_agent_are_asked_at_the_same_time():
    judging, speaking = threading.Event(), threading.Event()

    def once(own, other):
        async def behave(wire):
            own.set()
            assert await asyncio.to_thread(other.wait, LONG)
            await well(wire)

        return lambda call: behave

    talker = FaultServer(lambda call: once(speaking, judging)(call) if len(call.sent["messages"]) > 2 else well)
    with FaultServer(once(judging, speaking), answer=label_a) as judge, talker:
        envs = dialogues(task_agent=f"openai:{talker.spec}")
        envs = pw.vector.PromptToLineReward(envs, f"openai:{judge.spec}")
        envs.reset(seed=0)
        _, _, _, _, info = envs.step(["I sleep well."] * 3)
        assert info["_consistency/prompt_to_line"].all()
        assert len(judge.calls) == 6
        assert len(talker.calls) == 6  # the openings and the replies
        inside: Any = envs.unwrapped
        asked: Any = envs.reward_function.judge
        inside.task_agent.client.close()
        asked.close()


@pytest.mark.parametrize("error", [BudgetSpent("The budget is spent."), Unavailable("It is down."), ValueError("No.")])
def test_what_the_judge_raises_comes_out_of_the_step_as_without_overlap(error):
    states = []
    for is_remote in (True, False):
        judge = Failing(error, is_remote)
        envs: Any = pw.vector.PromptToLineReward(pw.vector.RelevanceReward(dialogues(), judge), judge)
        envs.reset(seed=0)
        envs.step(["I sleep well."] * 3)
        with pytest.raises(type(error)) as caught:
            envs.step(["I sleep badly."] * 3)
        assert caught.value is error
        assert nobody_judges()
        states.append((envs.unwrapped.snapshot(), envs.step(["I do not know."] * 3)[1].tolist()))
    assert states[0] == states[1]


class Silent(Therapist):
    """Fails at its second call, once the judge is at work."""

    def __init__(self, began, error):
        super().__init__()
        self.began, self.error = began, error

    def reply(self, views):
        if len(self.batches) == 1:
            assert self.began.wait(LONG)
            raise self.error
        return super().reply(views)


@pytest.mark.parametrize("error", [OSError("no line"), KeyboardInterrupt()])
def test_a_step_that_ends_in_generation_cancels_the_judge(error):
    judge = Hanging()
    agent = Silent(judge.began, error)
    envs = pw.vector.RelevanceReward(pw.vector.PromptToLineReward(dialogues(task_agent=agent), judge), judge)
    envs.reset(seed=0)
    with pytest.raises(type(error)):
        envs.step(["I sleep well."] * 3)
    assert judge.ended.is_set()
    assert nobody_judges()
    assert len(judge.batches) == 1, "the outer wrapper's call is not made any more"


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_while_a_served_judge_hangs_ends_the_step_at_once():
    asked = threading.Event()

    def hangs(call):
        asked.set()
        return hang

    def press():
        assert asked.wait(LONG)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with FaultServer(hangs) as server:
        envs = pw.vector.PromptToLineReward(dialogues(), f"openai:{server.spec}")
        envs.reset(seed=0)
        threading.Thread(target=press).start()
        with pytest.raises(KeyboardInterrupt):
            envs.step(["I sleep well."] * 3)
        assert nobody_judges()
        judge: Any = envs.reward_function.judge
        server.behave = lambda call: well
        assert len(envs.step(["I sleep well."] * 3)[1]) == 3, "the judge can be asked again"
        judge.close()
