import random
from dataclasses import replace
from hashlib import sha256
from statistics import fmean as mean

import pytest

from persona_env.conversation import Conversation
from persona_env.judges import LineVsHistory, LineVsPersona, LineVsPrevious
from persona_env.world.corpus import CLEAN, LONG, dialogue
from persona_env.world.oracle import OracleJudge
from persona_env.world.reading import read_line
from persona_env.world.style_stats import hedging, volunteering
from persona_env.world.task_agent import ASKING

TALKS = [
    dialogue(random.Random(seed), replace(LONG, lengths=(8, 8), long_share=0, asking=ASKING)) for seed in range(400)
]


def drift_of(kind: str, talks: list[Conversation]) -> list[tuple[int, float]]:
    """(turn, inconsistent) of every line."""
    turns = [(talk, i, line) for talk in talks for i, line in enumerate(talk.lines)]
    if kind == "persona":
        verdicts = OracleJudge().judge([LineVsPersona(talk.persona, line) for talk, _, line in turns])
    else:
        verdicts = OracleJudge().judge([LineVsHistory(t.persona.role, line, t.earlier(i)) for t, i, line in turns])
    return [(i, 1 - verdict.value) for (_, i, _), verdict in zip(turns, verdicts, strict=True)]


def test_a_third_of_the_lines_contradicts_the_persona_and_more_with_each_turn() -> None:
    rows = drift_of("persona", TALKS)
    assert mean([bad for _, bad in rows]) == pytest.approx(0.33, abs=0.04)
    early = mean([bad for turn, bad in rows if turn < 2])
    assert mean([bad for turn, bad in rows if turn > 5]) > early + 0.2


def test_a_third_of_the_lines_contradicts_an_earlier_one() -> None:
    assert 0.28 < mean([bad for _, bad in drift_of("history", TALKS)]) < 0.42


def test_every_line_is_grammar_and_nearly_all_are_relevant() -> None:
    for talk in TALKS:
        assert all(read_line(line, talk.persona.role).well_formed for line in talk.lines)
    questions = [
        LineVsPrevious(talk.persona, talk.heard_before(i), line) for talk in TALKS for i, line in enumerate(talk.lines)
    ]
    assert mean([verdict.value for verdict in OracleJudge().judge(questions)]) > 0.93


def test_clean_dialogues_do_not_drift_and_decline_what_is_not_listed() -> None:
    talks = [dialogue(random.Random(seed), CLEAN) for seed in range(100)]
    assert sum(bad for kind in ("persona", "history") for _, bad in drift_of(kind, talks)) == 0
    assert hedging(talks) > 0.75  # all but what was volunteered before
    assert 0.3 < volunteering(talks) < 0.5


def test_dialogues_have_not_changed_since_the_base_model_was_trained_on_them() -> None:
    said = [message.text for seed in range(50) for message in dialogue(random.Random(seed), LONG).messages]
    assert sha256("\n".join(said).encode()).hexdigest().startswith("5cf44f9304c9a6e0")
