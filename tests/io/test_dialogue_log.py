import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.conversation import Conversation, Message
from persona_env.io import LogError, LoggedDialogue, LoggedReply, LoggedScore, iter_logs, load_logs, save_logs
from persona_env.persona import Fact, Persona, QAItem
from tests.io.invented import CHATTING, EDUCATION, JUDGED, TALK, THERAPY, written

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
conversations = st.builds(Conversation, personas, messages, texts)


@settings(deadline=None, max_examples=25)
@given(talk=conversations)
def test_every_conversation_survives_a_log(talk: Conversation, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.getbasetemp() / "talk.jsonl"
    save_logs(path, [talk])
    (loaded,) = load_logs(path)
    assert loaded.conversation() == talk


@pytest.mark.parametrize("text", ["\u2028\u2029\x85", "\x00", "😀\U0010ffff", "\r\n\x0b\x0c\x1c", '"\\', "\ufeff", "é́"])
def test_a_strange_text_stays_on_its_line(tmp_path: Path, text: str):
    path = tmp_path / "log.jsonl"
    save_logs(path, [TALK.heard(text), TALK.said(text)])
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    first, second = load_logs(path)
    assert first.messages[-1].text == text == second.messages[-1].text


def test_verdicts_scores_and_names_survive_a_log(tmp_path: Path):
    save_logs(tmp_path / "log.jsonl", [JUDGED])
    assert load_logs(tmp_path / "log.jsonl") == [JUDGED]


def test_a_released_log_survives_our_own_format(tmp_path: Path):
    dialogues = load_logs(written(tmp_path, THERAPY, CHATTING, EDUCATION))
    save_logs(tmp_path / "log.jsonl", dialogues)
    assert load_logs(tmp_path / "log.jsonl") == dialogues


def test_half_of_a_surrogate_pair_is_refused_and_nothing_is_left_behind(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    save_logs(path, [TALK])
    before = path.read_bytes()
    with pytest.raises(LogError, match="half of a surrogate pair"):
        save_logs(path, [TALK, TALK.said("\ud83d")])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_log_whose_making_fails_is_not_written(tmp_path: Path):
    def failing() -> Iterator[Conversation]:
        yield TALK
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        save_logs(tmp_path / "log.jsonl", failing())
    assert not list(tmp_path.iterdir())


def test_an_infinite_score_is_refused(tmp_path: Path):
    with pytest.raises(LogError, match="Expected finite numbers"):
        save_logs(tmp_path / "log.jsonl", [LoggedDialogue.of(TALK, (), [LoggedScore("P2", "x", float("inf"))])])


def test_an_empty_log_is_not_written(tmp_path: Path):
    with pytest.raises(LogError, match="Expected dialogues to write, got none"):
        save_logs(tmp_path / "log.jsonl", [])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(LogError, match="Expected a file that can be written"):
        save_logs(tmp_path / "no" / "log.jsonl", [TALK])


def test_dialogues_are_read_one_by_one(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    save_logs(path, [TALK] * 3)
    path.write_text(path.read_text(encoding="utf-8") + "{broken", encoding="utf-8")
    found = iter_logs(path)
    assert [next(found).number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LogError, match=r"log.jsonl line 4 column 2"):
        next(found)


def fields() -> dict:
    from persona_env.io.dialogue_log import dialogue_fields

    return json.loads(json.dumps(dialogue_fields(JUDGED)))


WRONG = {
    "another format": ({"format": "other"}, 'a dialogue with "format": "persona-env/dialogue-v1" at .*line 2'),
    "an unknown field": ({"mood": 1}, "got 'mood'"),
    "an unknown role": ({"role": "pilot"}, "role, got 'pilot'"),
    "a third speaker": ({"messages": [["P3", "hi"]]}, r"P1 or P2 at .*messages\[0\]\[0\], got 'P3'"),
    "a reply about no line": ({"replies": [{"metric": "x", "line": 4}]}, r"0 to 3 at .*replies\[0\], line, got 4"),
    "a strange label": ({"replies": [{"metric": "x", "line": 1, "label": "fine"}]}, "label, got 'fine'"),
    "an unsure probability": ({"replies": [{"metric": "x", "line": 1, "probability": 1.5}]}, "in .0, 1. at"),
    "an unknown field of a reply": ({"replies": [{"metric": "x", "line": 1, "why": ""}]}, "got 'why'"),
    "a persona without a description": (
        {"P2": {"persona": {"id": "p", "role": "patient", "name": ""}}},
        "'description'",
    ),
    "a persona of blanks": (
        {"P2": {"persona": {"id": "p", "role": "patient", "name": "", "description": " "}}},
        "Expected a text with words in it at .*P2, persona, description",
    ),
    "a list for a speaker": ({"P1": []}, "Expected an object at .*P1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_line_and_field(tmp_path: Path, name: str):
    change, message = WRONG[name]
    path = tmp_path / "log.jsonl"
    rows = [fields(), {**fields(), **change}]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with pytest.raises(LogError, match=message) as caught:
        load_logs(path)
    assert "\n" not in str(caught.value)
    assert f"{path} line 2" in str(caught.value)


def test_a_reply_about_no_line_is_refused_in_code_too():
    with pytest.raises(LogError, match="Expected a line in 0 to 3 of dialogue run/7, got 4"):
        LoggedDialogue.of(TALK, [LoggedReply("prompt_to_line", 4)])
