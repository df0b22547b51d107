import json
from pathlib import Path

import pytest

from persona_env.io import FileError, load_logs, save_logs
from persona_env.io.released import qa_item
from tests.io.invented import CHATTING, DATA, EDUCATION, THERAPY, changed, needs_data, refused, written


def test_a_released_dialogue_becomes_a_typed_record(tmp_path: Path):
    path = written(tmp_path, THERAPY)
    (dialogue,) = load_logs(path)
    assert (dialogue.role, dialogue.source, dialogue.number) == ("patient", str(path), 0)
    assert [message.speaker for message in dialogue.messages] == ["P1", "P2"] * 3
    assert dialogue.conversation().lines == ("My rule: never ask: never tell.", "Like a stone.", "I bake.\nEvery day.")
    assert dialogue.conversation().heard_before(1) == "How do you sleep?"
    assert (dialogue.replies[1].line, dialogue.replies[1].raw) == (3, "The background says the opposite. YES")
    assert [entry.line for entry in dialogue.survey] == [1, 3, 5]
    assert [dialogue.recorded(speaker, "prompt") for speaker in ("P1", "P2")] == [None, 2 / 3]
    assert dialogue.judged == ("P2",)
    with pytest.raises(FileError, match=r"Expected a persona of P1 in .*log.json, dialogue 0, got none"):
        dialogue.conversation("P1")
    items = dialogue.conversation().persona.questions
    assert [(item.gold, item.choices) for item in items] == [("Bake", ("Bake", "Teach"))]  # the broken one is left out


def test_a_line_without_the_speakers_name_is_kept_whole(tmp_path: Path):
    lines = [[0, "Ann: Tea?\n"], [1, "Bo: No.\n"], [2, "Note: Ann is out.\n"], [3, "Bo: Oh.\n"]]
    (dialogue,) = load_logs(written(tmp_path, changed(CHATTING, conversation=lines)))
    assert [message.text for message in dialogue.messages] == ["Ann: Tea?", "No.", "Note: Ann is out.", "Oh."]


def test_the_task_says_who_is_simulated(tmp_path: Path):
    found = [log.conversation().persona for log in load_logs(written(tmp_path, THERAPY, EDUCATION, CHATTING))]
    assert [(persona.role, persona.description) for persona in found] == [
        ("patient", "You are Bo, a baker. You never sleep well."),
        ("student", "As a college student, I ask for examples."),
        ("chat_partner", "You are Bo."),
    ]
    assert [persona.scene for persona in found] == ["", "The lesson is about bread. The student is in college.", ""]


def test_both_chat_partners_can_be_the_simulator(tmp_path: Path):
    (dialogue,) = load_logs(written(tmp_path, CHATTING))
    assert dialogue.conversation("P1").lines == ("Tea?", "Tea?")
    assert dialogue.conversation("P2").lines == ("No.", "No, thanks.")
    assert dialogue.conversation("P1").persona.description == 'You are Ann.\nYou "love" tea.'


GOLD = {"Answer: B) Dog": "Dog", "Answer: B)": "Dog", "B. Dog\nBecause.": "Dog\nBecause."}
BROKEN = dict.fromkeys(["Answer: B", "s", "", "..."])


@pytest.mark.parametrize(("gold", "right"), (GOLD | BROKEN).items())
def test_a_gold_answer_is_read_or_refused(gold: str, right: str | None):
    item = qa_item("Query: Which?\n\nA) Cat\nB) Dog", gold)
    assert (item.gold if item else None) == right


def test_a_survey_of_a_line_said_twice_stands_after_both(tmp_path: Path):
    lines = [[i, "Therapist: Hm?\n" if i % 2 == 0 else "Patient: Hm.\n"] for i in range(6)]
    survey = [["Patient: Hm.\n", 0, ["a", "b"], ["NO", "NO"]]] * 3
    (dialogue,) = load_logs(written(tmp_path, changed(THERAPY, conversation=lines, eval_survey_consistency=survey)))
    assert [entry.line for entry in dialogue.survey] == [1, 3, 5]


WRONG = {
    "no persona text": ({"P2": None}, r"Expected `str` at .*dialogue 1, \$\.P2, got `null`"),
    "no task": ({"task_name": "Juggling"}, r"dialogue 1, \$\.task_name, got 'Juggling'"),
    "P2 opens": ({"pturn": 2}, r"dialogue 1, \$\.pturn, got 2"),
    "a line number is missing": ({"conversation": [[1, "A: b\n"]]}, r"lines numbered from 0 at .*dialogue 1"),
    "an over-long line": ({"conversation": [[0, "x" * 100_001]]}, "length <= 100000"),
    "a reply about no line": ({"eval_prompt_consistency": [[6, "NO"]]}, "0 to 5 of .*dialogue 1, got 6"),
    "a line judged twice": ({"eval_prompt_consistency": [[1, "NO"], [1, "YES"]]}, "each line judged once"),
    "golds are missing": ({"P2_backstory_test": [["Query: a?"], []]}, "0 for 1"),
    "a survey of an unsaid line": (
        {"eval_survey_consistency": [["Patient: Hm.\n", 0, [], []]]},
        "a line of the dialogue",
    ),
    "too few verdicts": (
        {"eval_survey_consistency": [["Patient: Like a stone.\n", 0, ["a", "b"], ["NO"]]]},
        "2 answers and verdicts .*got 2 and 1",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_dialogue_and_field(tmp_path: Path, name: str):
    fields, message = WRONG[name]
    refused(load_logs, written(tmp_path, THERAPY, changed(THERAPY, **fields)), message)


@needs_data
def test_the_real_logs_load_and_survive_our_own_format(tmp_path: Path):
    counts = {}
    for path in sorted(DATA.glob("[cet]*/*.json")):
        dialogues = load_logs(path)
        assert save_logs(tmp_path / "copy.jsonl", dialogues) == len(dialogues)
        assert load_logs(tmp_path / "copy.jsonl") == dialogues
        counts[path.stem] = len(dialogues)
        raw = json.loads(path.read_text(encoding="utf-8"))
        for dialogue, fields in zip(dialogues, raw, strict=True):
            names = {message.speaker: dialogue.speaker(message.speaker).name for message in dialogue.messages}
            told = [f"{names[message.speaker]}: {message.text}\n" for message in dialogue.messages]
            assert told == [line for _, line in fields["conversation"]]
    assert sorted(counts.values()) == [10, 10, 10, 39, 43, 62, 100]
