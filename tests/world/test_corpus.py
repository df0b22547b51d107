import random
from dataclasses import replace

import pytest

from persona_env.conversation import Conversation
from persona_env.judges import LineVsHistory, LineVsPersona, LineVsPrevious
from persona_env.world.corpus import CLEAN, LONG, dialogue
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.oracle import OracleJudge
from persona_env.world.persona_space import split_of
from persona_env.world.reading import is_warm, read_line
from persona_env.world.style_stats import hedging, volunteering
from persona_env.world.task_agent import ASKING

TALKS = [
    dialogue(random.Random(seed), replace(LONG, lengths=(8, 8), long_share=0, asking=ASKING)) for seed in range(400)
]


def drift_of(kind: str, talks: list[Conversation]) -> list[tuple[int, bool, float]]:
    """(turn, warm, inconsistent) of every line."""
    rows, questions = [], []
    for talk in talks:
        for i, line in enumerate(talk.lines):
            reply = talk.heard_before(i)
            rows.append((i, is_warm(reply)))
            questions.append(
                LineVsPersona(talk.persona, line, reply)
                if kind == "persona"
                else LineVsHistory(talk.persona.role, line, talk.earlier(i))
            )
    verdicts = OracleJudge().judge(questions)
    return [(*row, 1 - verdict.value) for row, verdict in zip(rows, verdicts, strict=True)]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_a_third_of_the_lines_contradicts_the_persona_and_more_with_each_turn() -> None:
    rows = drift_of("persona", TALKS)
    assert mean([bad for _, _, bad in rows]) == pytest.approx(0.33, abs=0.04)
    early = mean([bad for turn, _, bad in rows if turn < 2])
    assert mean([bad for turn, _, bad in rows if turn > 5]) > early + 0.2


def test_emotion_and_praise_bring_drift() -> None:
    rows = drift_of("persona", TALKS)
    assert mean([bad for _, warm, bad in rows if warm]) > 0.5
    assert mean([bad for _, warm, bad in rows if not warm]) < 0.25


def test_a_third_of_the_lines_contradicts_an_earlier_one() -> None:
    assert 0.28 < mean([bad for _, _, bad in drift_of("history", TALKS)]) < 0.42


def test_every_line_is_grammar_and_nearly_all_are_relevant() -> None:
    for talk in TALKS:
        assert all(read_line(line, talk.persona.role).well_formed for line in talk.lines)
    questions = [
        LineVsPrevious(talk.persona, talk.heard_before(i), line) for talk in TALKS for i, line in enumerate(talk.lines)
    ]
    assert mean([verdict.value for verdict in OracleJudge().judge(questions)]) > 0.93


def test_clean_dialogues_do_not_drift() -> None:
    talks = [dialogue(random.Random(seed), CLEAN) for seed in range(100)]
    assert sum(bad for _, _, bad in drift_of("persona", talks)) == 0
    assert sum(bad for _, _, bad in drift_of("history", talks)) == 0


def test_nobody_of_the_evaluation_splits_is_read_about() -> None:
    for talk in TALKS:
        attributes = ATTRIBUTES[talk.persona.role].values()
        gold = {item.key: item.gold for item in talk.persona.questions}
        assert set(gold) <= {attribute.key for attribute in attributes}
        values = [a.values.index(v) if (v := talk.persona.value(a.key)) else None for a in attributes]
        if None not in values:
            assert split_of([v for v in values if v is not None]) in (None, "train")


def test_the_lengths_are_as_asked() -> None:
    lengths = {len(dialogue(random.Random(seed), CLEAN).lines) for seed in range(200)}
    assert lengths == set(range(6, 11))
    longer = [len(dialogue(random.Random(seed), LONG).lines) for seed in range(200)]
    assert mean([float(length > 8) for length in longer]) == pytest.approx(0.2, abs=0.07)


def test_the_same_seed_gives_the_same_dialogue() -> None:
    assert dialogue(random.Random(3), LONG) == dialogue(random.Random(3), LONG)


def test_clean_dialogues_decline_what_is_not_listed() -> None:
    talks = [dialogue(random.Random(seed), CLEAN) for seed in range(100)]
    assert hedging(talks) > 0.75  # all but what was volunteered before
    assert 0.3 < volunteering(talks) < 0.5
