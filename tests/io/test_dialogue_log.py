import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.conversation import Conversation, Message
from persona_env.io import FileError, iter_logs, load_logs, save_logs
from persona_env.io.atomic import json_line, write_jsonl
from persona_env.io.dialogue_log import dialogue_fields
from persona_env.persona import Fact, Persona, QAItem
from persona_env.scenario import FactUpdate, ProbePlan, Scenario
from tests.io.invented import CHATTING, EDUCATION, JUDGED, TALK, THERAPY, refused, written

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
words = texts.filter(str.strip)
personas = st.builds(
    Persona,
    id=words,
    role=st.sampled_from(["patient", "student", "chat_partner"]),
    name=texts,
    description=words,
    facts=st.lists(st.builds(Fact, words, texts, texts), max_size=2).map(tuple),
    hidden=st.lists(texts, max_size=2).map(tuple),
    questions=st.lists(st.builds(QAItem, st.just("four"), st.tuples(words)), max_size=2).map(tuple),
    scene=texts,
)
messages = st.lists(st.builds(Message, st.sampled_from(["simulator", "task"]), texts), max_size=4).map(tuple)
updates = st.lists(st.builds(FactUpdate, st.integers(0, 4), words), max_size=2).map(tuple)
scenarios = st.builds(Scenario, texts, texts, st.none() | st.integers(1, 9), updates, st.none() | st.just(ProbePlan(2)))
conversations = st.builds(Conversation, personas, messages, texts, scenarios)


@settings(deadline=None, max_examples=25)
@given(talk=conversations)
def test_every_conversation_survives_a_log(talk: Conversation, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.getbasetemp() / "talk.jsonl"
    save_logs(path, [talk])
    (loaded,) = load_logs(path)
    assert loaded.conversation() == talk


def test_verdicts_scores_and_names_survive_a_log(tmp_path: Path):
    save_logs(tmp_path / "log.jsonl", [JUDGED])
    assert load_logs(tmp_path / "log.jsonl") == [JUDGED]


def test_a_released_log_survives_our_own_format(tmp_path: Path):
    dialogues = load_logs(written(tmp_path, THERAPY, CHATTING, EDUCATION))
    save_logs(tmp_path / "log.jsonl", dialogues)
    assert load_logs(tmp_path / "log.jsonl") == dialogues


def test_an_empty_log_is_not_written(tmp_path: Path):
    with pytest.raises(FileError, match=r"Expected rows to write to .*, got none"):
        save_logs(tmp_path / "log.jsonl", [])
    assert not list(tmp_path.iterdir())


def test_dialogues_are_read_one_by_one(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    save_logs(path, [TALK] * 3)
    path.write_text(path.read_text(encoding="utf-8") + "{broken", encoding="utf-8")
    found = iter_logs(path)
    assert [next(found).number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(FileError, match=r"log.jsonl line 4, got an error"):
        next(found)


FIELDS = json.loads(json_line(dialogue_fields(JUDGED)))
PERSONA = FIELDS["P2"]["persona"]
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": ({"mood": 1}, "unknown field `mood`"),
    "a third speaker": ({"messages": [["P3", "hi"]]}, r"\$\.messages\[0\]\[0\], got an error .*'P3'"),
    "a reply about no line": ({"replies": [{"metric": "x", "line": 4}]}, "a line in 0 to 3 of .*dialogue 1, got 4"),
    "an unsure probability": ({"replies": [{"metric": "x", "line": 1, "probability": 1.5}]}, "`float` <= 1.0 at"),
    "a persona of blanks": (
        {"P2": {"persona": {**PERSONA, "description": " "}}},
        r"Expected a description of persona .* \(at .*line 2, \$\.P2\.persona\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_line_and_field(tmp_path: Path, name: str):
    change, message = WRONG[name]
    path = tmp_path / "log.jsonl"
    write_jsonl(path, [FIELDS, FIELDS | change])
    refused(load_logs, path, message)
