"""N dialogues side by side."""

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from tests.envs.parts import END, FIRST, LINES, PERSONAS, TOKENS, SleepProbe, Therapist, make, make_vec, policies


@pytest.mark.parametrize("form", [LINES, TOKENS])
def test_observations_are_in_the_space_and_actions_of_the_space_are_taken(form):
    envs = make_vec(form)
    observation, _ = envs.reset(seed=0)
    envs.action_space.seed(0)
    for _ in range(6):
        assert envs.observation_space.contains(observation)
        observation, rewards, *_ = envs.step(envs.action_space.sample())
        assert rewards.shape == (3,)


def test_a_row_that_ends_starts_anew_in_the_same_step():
    envs = make_vec(LINES, max_lines=1)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    envs.reset(seed=0)
    observation, _, terminated, _, info = envs.step(["One.", "Two.", "Three."])
    assert terminated.all()
    assert "line" not in info
    assert info["final_info"]["line"].tolist() == ["One.", "Two.", "Three."]
    assert info["final_obs"][1]["dialogue"].endswith("you: Two.")
    assert "you:" not in "".join(observation["dialogue"])
    assert all(persona in PERSONAS for persona in info["persona"])


def test_observations_and_flags_belong_to_the_caller():
    envs = make_vec(TOKENS, max_lines=1)
    first, _ = envs.reset(seed=0)
    kept = first.copy()
    _, rewards, terminated, *_ = envs.step(np.full(3, END))
    envs.step(np.full(3, FIRST + 97))
    assert np.array_equal(first, kept)
    assert terminated.all()
    assert not rewards.any()


def test_seeds_may_be_given_row_by_row_and_go_on_without():
    one, other = make_vec(LINES), make_vec(LINES)
    assert one.reset(seed=[5, 6, 7])[0] == other.reset(seed=5)[0]
    assert one.reset()[0] == other.reset()[0]
    kept = one.reset(seed=[None, 6, None])[0]["dialogue"]
    assert kept[1] == make(LINES).reset(seed=6)[0]["dialogue"]


@pytest.mark.parametrize(
    ("form", "actions", "message"),
    [
        (LINES, ["One."], "Expected 3 lines of text"),
        (LINES, "abc", "Expected 3 lines of text"),
        (LINES, ["One.", 2, "Three."], "Expected a line of text as the action, got int"),
        (TOKENS, [1, 2], "Expected 3 token ids"),
        (TOKENS, np.zeros((3, 1), int), "Expected 3 token ids"),
        (TOKENS, np.ones(3), "Expected 3 token ids"),
    ],
)
def test_wrong_actions_are_refused_and_change_nothing(form, actions, message):
    envs = make_vec(form)
    envs.reset(seed=0)
    before = envs.unwrapped.snapshot()
    with pytest.raises(ValueError, match=f"^{message}"):
        envs.step(actions)
    assert envs.unwrapped.snapshot() == before


def test_wrong_numbers_of_rows_and_seeds_are_refused():
    for count in (0, -1, 1.5):
        with pytest.raises(ValueError, match=r"^Expected num_envs >= 1"):
            make_vec(LINES, count)
    with pytest.raises(ValueError, match=r"^Expected 3 seeds, got 2"):
        make_vec(LINES).reset(seed=[1, 2])
    with pytest.raises(ResetNeeded):
        make_vec(LINES).step(["a"] * 3)


def test_a_reset_mask_begins_some_rows_anew_and_leaves_the_others():
    envs = make_vec(LINES)
    _, info = envs.reset(seed=0, options={"personas": [PERSONAS[2], "p0", None]})
    assert [persona.id for persona in info["persona"]][:2] == ["p2", "p0"]
    *_, info = envs.step(["One.", "Two.", "Three."])
    assert set(info) == {f"{mask}{key}" for mask in ("", "_") for key in ("line", "line_index", "conversation")}
    before = envs.unwrapped.conversations
    observation, info = envs.reset(options={"reset_mask": np.array([False, True, False]), "personas": ["p2"]})
    assert info["_persona"].tolist() == [False, True, False]
    assert "you:" not in observation["dialogue"][1]
    assert envs.unwrapped.conversations[1].persona == PERSONAS[2]
    assert envs.unwrapped.conversations[::2] == before[::2]


def test_a_step_callback_has_the_events_before_the_task_agent_replies_and_the_info_tells_the_same():
    agent, told, called = Therapist(), [], []
    envs = make_vec(LINES, 2, task_agent=agent, max_lines=1).unwrapped
    envs.reset(seed=0, options={"probe_fns": (SleepProbe(1),)})
    with envs.step_callback(lambda events: told.append((len(agent.batches), events))):
        with envs.step_callback(lambda events: called.append(len(told))):
            envs.step(["One.", "Two."])
        _, _, terminated, _, info = envs.step(["Four.", "Five."])
    assert terminated.all()
    assert called == [0], "the one that came last is called first, and only in its context"
    (before, lines), (again, answers) = told
    assert (before, again) == (1, 1), "only the openings by then"
    assert {index: event.info["line"] for index, event in lines.items()} == {0: "One.", 1: "Two."}
    assert {index: event.text for index, event in answers.items()} == {0: "Four.", 1: "Five."}
    assert len(agent.batches) == 2
    assert answers[1].probe is info["final_info"]["probe"][1]
    assert envs.events is answers
    tokens = make_vec(TOKENS, 2).unwrapped
    tokens.reset(seed=0)
    for actions, completed in (([END, FIRST], [0]), ([FIRST, FIRST], [])):
        tokens.step(actions)
        assert sorted(tokens.events) == completed


@pytest.mark.parametrize("form", [LINES, TOKENS])
def test_only_rows_that_begin_anew_are_seeded(form):
    def next_reply(**reset):
        envs = make_vec(form)
        envs.reset(seed=1)
        observation, _ = envs.reset(**reset)
        for _ in range(2 if form == LINES else 40):
            observation, *_ = envs.step(policies(observation, 3))
        return envs.unwrapped.conversations[1]

    mask = np.array([True, False, True])
    without, other, none = (next_reply(seed=seed, options={"reset_mask": mask}) for seed in (None, 7, [7, 8, None]))
    assert without == other == none
    assert without != next_reply(seed=7)


@pytest.mark.parametrize("mask", [[True], [True] * 4, [False] * 3, [1, 0, 1], "yes"])
def test_a_reset_mask_that_does_not_fit_is_refused(mask):
    envs = make_vec(LINES)
    envs.reset(seed=0)
    before = envs.unwrapped.snapshot()
    with pytest.raises(ValueError, match=r"^Expected a reset_mask of 3 bools, one of them true, got"):
        envs.reset(seed=3, options={"reset_mask": mask})
    assert envs.unwrapped.snapshot() == before
