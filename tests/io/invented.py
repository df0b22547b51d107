"""Small logs in the released format and in ours, made up for the tests, and where the real ones lie."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persona_env.conversation import Conversation
from persona_env.io import FileError, LoggedDialogue, LoggedReply, LoggedScore
from persona_env.persona import Fact, Persona, QAItem

DATA = Path(__file__).parents[3] / "shared" / "data" / "consistent_llms"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real logs are not here: {DATA}")

THERAPY: dict[str, Any] = {
    "task_name": "Therapy",
    "topic": "",
    "grade": "",
    "P1": "",
    "P2": "You are Bo, a baker. You never sleep well.",
    "conversation": [
        [0, "Therapist: Welcome. What brings you here?\n"],
        [1, "Patient: My rule: never ask: never tell.\n"],
        [2, "Therapist: How do you sleep?\n"],
        [3, "Patient: Like a stone.\n"],
        [4, "Therapist: And at work?\n"],
        [5, "Patient: I bake.\nEvery day.\n"],
    ],
    "pturn": 1,
    "rounds": 6,
    "conversation_only": True,
    "eval_prompt_consistency": [
        [1, "It says nothing against the background. NO"],
        [3, "The background says the opposite. YES"],
        [5, "The line aligns with the background."],
    ],
    "eval_index_consistency": [[3, "It conflicts with an earlier line. [1]"], [5, "It conflicts. [1, 1, 2, 9]"]],
    "P2_backstory_test": [
        ["Query: What do you do?\n\nA) Bake\nB) Teach\n\n", "Query: How do you sleep?\n\nA) Badly\nB) Wel"],
        ["Answer: A) Bake", "l"],
    ],
    "eval_survey_consistency": [
        ["Patient: My rule: never ask: never tell.\n", 1, ["A) Bake", "A) Badly"], ["YES", "NO"]],
        ["Patient: Like a stone.\n", 1, ["I bake.", "B) Well"], ["Yes.", "What is the answer?"]],
        ["Patient: I bake.\nEvery day.\n", 1, ["B) Teach", "A"], ["NO", "In my eyes, it depends."]],
    ],
    "P2_prompt_consistency_score": 2 / 3,
    "P2_index_consistency_score": 1 - 4 / 3,
    "P2_survey_consistency_score": 1.0,
}

CHATTING: dict[str, Any] = {
    "task_name": "Chatting",
    "P1": '"You are Ann.\\nYou \\"love\\" tea."',
    "P2": "You are Bo.",
    "conversation": [[0, "Ann: Tea?\n"], [1, "Bo: No.\n"], [2, "Ann: Tea?\n"], [3, "Bo: No, thanks.\n"]],
    "pturn": 1,
    "rounds": 4,
    "eval_prompt_consistency": [[0, "NO"], [1, "NO"], [2, "YES"], [3, "NO"]],
    "eval_index_consistency": [[2, "[0]"], [3, "[]"]],
    "P1_prompt_consistency_score": 0.5,
    "P2_prompt_consistency_score": 1.0,
    "P1_index_consistency_score": 0.0,
    "P2_index_consistency_score": 1.0,
}

EDUCATION: dict[str, Any] = {
    "task_name": "Education",
    "topic": "bread",
    "grade": "college",
    "P1": "",
    "P2": "As a college student, I ask for examples.",
    "conversation": [[0, "Teacher: Bread rises.\n"], [1, "Student: Why?\n"]],
}


ANN = Persona(
    "patient/1",
    "patient",
    "Ann",
    "You are Ann. You sleep four hours.",
    facts=(Fact("sleep", "four", "You sleep four hours."),),
    hidden=("pet",),
    questions=(QAItem("four hours", ("How long do you sleep?",), ("Your nights?",), ("four hours", "eight"), "sleep"),),
    scene="It is Monday.",
)
TALK = Conversation(ANN, id="run/7").with_reply("How do you sleep?").with_line("Four: no more.")
TALK = TALK.with_reply("Oh.").with_line("Yes.")
_ASKED = {"question": "How?", "gold": "well", "answer": "Well", "choices": ("a",)}
JUDGED = LoggedDialogue.of(
    TALK,
    [
        LoggedReply("prompt_to_line", 1, "NO", "consistent", probability=0.75),
        LoggedReply("line_to_line", 3, "[0]", "inconsistent", (0,), "says otherwise"),
        LoggedReply("question_answer", 3, "YES", "consistent", **_ASKED),
    ],
    [LoggedScore("P2", "prompt_to_line", 0.5)],
)


def changed(dialogue: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(dialogue), **fields}


def written(folder: Path, *dialogues: Any, name: str = "log.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(list(dialogues)), encoding="utf-8")
    return path


def refused(read: Callable[[Path], object], path: Path, message: str) -> None:
    """Checks that a file is refused in one line that names it and matches the message."""
    with pytest.raises(FileError, match=message) as caught:
        read(path)
    assert str(caught.value).isprintable()
    assert str(path) in str(caught.value)
