"""The same seed and the same lines give the same dialogue in every form of the environment."""

import numpy as np
import pytest

from persona_env.envs import SingleAgentEnv
from tests.envs.parts import (
    LINES,
    TOKENS,
    ByteChat,
    SleepProbe,
    Therapist,
    make,
    make_aec,
    make_vec,
    play,
    play_rows,
    say,
    shorter,
    unbatched,
)

FORMS = (LINES, TOKENS)
WAYS = {
    "plain": {},
    "one question": {"probe_fns": (SleepProbe(2),)},
    "many questions": {"probe_fns": (SleepProbe(1), SleepProbe(3), SleepProbe(2, "Do you sleep?"))},
}


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("closes_after", [None, 2])
@pytest.mark.parametrize("form", FORMS)
def test_each_row_of_a_vector_is_a_single_environment_with_the_next_seed(form, closes_after, options):
    envs = make_vec(form, task_agent=Therapist(closes_after))
    for row, played in enumerate(play_rows(envs, 16 if form == LINES else 120, seed=5, **options)):
        alone = play(make(form, task_agent=Therapist(closes_after)), 12, seed=5 + row, **options)
        one, other = shorter(played, alone)
        assert one == other
        assert sum("persona" in info for info in one) >= 3


def test_a_truncating_context_truncates_the_same_in_a_vector():
    more = {"context": 130, "task_agent": Chatty()}
    for row, played in enumerate(play_rows(make_vec(TOKENS, **more), 150, seed=5)):
        one, other = shorter(played, play(make(TOKENS, **more), 20, seed=5 + row))
        assert one == other
        assert sum(info.get("ended") == (False, True) for info in one) >= 2


class Chatty:
    """A task agent that does not say how long its replies are."""

    def reply(self, views):
        return [f"And then? {'.' * (view.seed % 40)}" for view in views]


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_the_simulators_seat_of_the_aec_form_is_the_line_form(options):
    for closes_after in (None, 2):
        side = SingleAgentEnv(make_aec(), partner=Therapist(closes_after))
        alone = make(LINES, task_agent=Therapist(closes_after))
        assert play(side, 4, seed=5, **options) == play(alone, 4, seed=5, **options)


def test_token_by_token_gives_the_same_dialogue_as_line_by_line():
    lines, tokens = make(LINES, max_tokens=40), make(TOKENS, max_tokens=40)
    for env in (lines, tokens):
        env.reset(seed=3, options={"probe_fns": (SleepProbe(2),)})
    for text in ("I am tired.", "Ça va 😀", "Four hours", "Bye"):
        assert say(lines, text)[1:] == say(tokens, text)[1:]
    assert lines.unwrapped.conversation == tokens.unwrapped.conversation


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("every", [1, 2, 3])
def test_questions_leave_no_trace_in_dialogues_observations_and_randomness(form, every):
    plain, probed = make(form), make(form)
    kept = [info for info in play(probed, 4, seed=7, probe_fns=(SleepProbe(every),)) if "answer" not in info]
    expected = play(plain, 4, seed=7)
    for info in (*kept, *expected):
        info.pop("ended", None)
    assert kept == expected
    assert probed.unwrapped.np_random.bit_generator.state == plain.unwrapped.np_random.bit_generator.state
    assert np.array_equal(probed.reset()[0], plain.reset()[0]) or probed.reset()[0] == plain.reset()[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 5, 16])
def test_a_step_of_any_number_of_rows_is_one_call_of_the_task_agent_and_each_interviewer(form, rows):
    therapist, interviews = Therapist(), (SleepProbe(1), SleepProbe(2))
    envs = make_vec(form, rows, task_agent=therapist)
    envs.reset(seed=0, options={"probe_fns": interviews})
    assert therapist.batches == [rows]
    answers, info = 0, {}
    for line in range(7):
        calls = len(therapist.batches), *(len(one.batches) for one in interviews)
        for token in ByteChat().own("Yes.") if form == TOKENS else ["Yes."]:
            _, _, _, _, info = envs.step(np.full(rows, token) if form == TOKENS else [token] * rows)
        answered = bool(unbatched(info.get("final_info", info), 0).get("answer"))
        answers += answered
        due = not envs.unwrapped.probing[0]
        assert len(therapist.batches) - calls[0] == due, line
        assert therapist.batches[-1] == rows
        assert [len(one.batches) - n for one, n in zip(interviews, calls[1:], strict=True)] == [not answered] * 2
    assert answers >= 3


def test_a_reply_that_closes_a_dialogue_takes_one_more_call_for_the_next_opening():
    therapist = Therapist(closes_after=1)
    envs = make_vec(LINES, 4, task_agent=therapist)
    envs.reset(seed=0)
    _, _, terminated, _, _ = envs.step(["Yes."] * 4)
    assert terminated.all()
    assert therapist.batches == [4, 4, 4]
