"""Labels from our own files, logs and Dialogue NLI, gathered into one label to a question."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from persona_env.calibration.label_file import Labelled, save_labels
from persona_env.calibration.labels import Labels, load_labels
from persona_env.conversation import Conversation
from persona_env.io import FileError, LoggedDialogue, LoggedReply, save_logs
from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious
from persona_env.persona import Fact, Persona, QAItem
from tests.io.invented import CHATTING, DATA, EDUCATION, THERAPY, needs_data, written
from tests.io.test_dnli import ROW, filed

ANN = Persona("p1", "patient", "Ann", "You are Ann.", (Fact("a", "b"),), ("c",), (QAItem("four", ("How many?",)),))
QUESTIONS = [
    LineVsPersona(ANN, "I am Bo.", "Who are you?"),
    LineVsPrevious(ANN, "Who are you?", "I am Bo."),
    LineVsHistory("student", "I like it.", ("I hate it.", "Pi.")),
    AnswerVsGold("chat_partner", "Which pet?", "a cat", "Cat.", ("a cat", "a dog")),
]


def test_labels_survive_a_file(tmp_path: Path):
    votes = [Labelled(question, "inconsistent" if i else "consistent", f"p{i}") for i, question in enumerate(QUESTIONS)]
    assert save_labels(tmp_path / "labels.jsonl", votes) == 4
    labels = load_labels([tmp_path / "labels.jsonl"])
    assert [(i.question, i.label, i.persona_id) for i in labels.items] == [
        (v.question, v.label, v.persona_id) for v in votes
    ]
    assert {item.role for item in labels.items} == {"patient", "student", "chat_partner"}
    assert [(s.file, s.labels) for s in labels.sources] == [("labels.jsonl", 4)]


def test_a_label_without_a_persona_takes_the_questions_or_none(tmp_path: Path):
    labels = loaded(tmp_path, *(Labelled(question, "consistent") for question in QUESTIONS))
    assert [item.persona_id for item in labels.items] == ["p1", "p1", "", ""]


def loaded(folder: Path, *votes: Labelled) -> Labels:
    save_labels(folder / "labels.jsonl", votes)
    return load_labels([folder / "labels.jsonl"])


def voted(folder: Path, *votes: tuple[int, Any, str]) -> Labels:
    return loaded(folder, *(Labelled(QUESTIONS[q], label, "p", who) for q, label, who in votes))


GOOD, BAD = "consistent", "inconsistent"


def test_the_majority_of_annotators_labels_a_question(tmp_path: Path):
    votes = [(0, GOOD, "a"), (0, BAD, "b"), (0, BAD, "c"), (1, GOOD, "a"), (2, GOOD, "a"), (2, BAD, "b")]
    labels = voted(tmp_path, *votes)
    assert [(item.question, item.label) for item in labels.items] == [(QUESTIONS[0], BAD), (QUESTIONS[1], GOOD)]
    assert labels.disputed == 1
    # units (good bad bad) and (good bad): o = (3*2 - 2)/2 + (2*1 - 0)/1 = 4, n = 5, totals 2 and 3: 25 - 13 = 12
    assert labels.annotators is not None
    assert (labels.annotators.names, labels.annotators.questions) == (("a", "b", "c"), 2)
    assert labels.annotators.alpha == pytest.approx(1 - 4 * 4 / 12)


def test_one_who_contradicts_themselves_has_no_vote(tmp_path: Path):
    labels = voted(tmp_path, (0, GOOD, "a"), (0, BAD, "a"), (0, BAD, "b"), (1, GOOD, "a"), (1, GOOD, "a"))
    assert [(item.question, item.label) for item in labels.items] == [(QUESTIONS[0], BAD), (QUESTIONS[1], GOOD)]
    assert labels.annotators is None
    with pytest.raises(FileError, match="Expected labels that a majority agrees on, got none"):
        voted(tmp_path, (0, GOOD, "a"), (0, BAD, "b"))


def test_the_digest_knows_the_labels_and_not_their_order(tmp_path: Path):
    one = voted(tmp_path, (0, GOOD, ""), (1, BAD, ""))
    assert one.digest == voted(tmp_path, (1, BAD, ""), (0, GOOD, "")).digest
    assert one.digest != voted(tmp_path, (0, GOOD, ""), (1, GOOD, "")).digest


def test_a_limit_holds_for_each_kind_and_label_and_its_draw_follows_the_seed(tmp_path: Path):
    many = [Labelled(LineVsPersona(ANN, f"{i}.", ""), GOOD) for i in range(50)]
    labels = loaded(tmp_path, *many, *(Labelled(q, BAD, "p") for q in QUESTIONS))
    assert [len(items) for items in labels.limited(7, 0).groups().values()] == [8, 1, 1, 1]
    assert labels.limited(7, 3) == labels.limited(7, 3) != labels.limited(7, 4)
    assert labels.limited(100, 0).items == labels.items
    with pytest.raises(ValueError, match="Expected limit >= 1, got 0: "):
        labels.limited(0, 0)


def test_a_limit_draws_both_classes_alike_and_the_personas_in_turn():
    def items(label: Any, of_person: Mapping[str, int]) -> list[Labelled]:
        talk = [(who, f"{label} {n}.") for who, number in of_person.items() for n in range(number)]
        return [Labelled(LineVsPersona(replace(ANN, id=who), line), label, who) for who, line in talk]

    counts = {"talker": 80, **{f"p{n}": 2 for n in range(5)}}
    drawn = Labels((*items(GOOD, counts), *items(BAD, {"talker": 40, "p0": 1}))).limited(10, seed=1).items
    said = {label: Counter(item.persona_id for item in drawn if item.label == label) for label in (GOOD, BAD)}
    assert (said[GOOD].keys(), said[GOOD].total(), max(said[GOOD].values())) == (counts.keys(), 10, 2)
    assert said[BAD] == {"talker": 9, "p0": 1}


def test_of_several_roles_those_asked_for_are_kept(tmp_path: Path):
    save_labels(tmp_path / "labels.jsonl", [Labelled(q, GOOD, "p") for q in QUESTIONS])
    kept = load_labels([tmp_path / "labels.jsonl"], ["student", "chat_partner"])
    assert [item.question for item in kept.items] == QUESTIONS[2:]
    with pytest.raises(ValueError, match="Expected role to be one of"):
        load_labels([tmp_path / "labels.jsonl"], ["pilot"])
    save_labels(tmp_path / "labels.jsonl", [Labelled(QUESTIONS[0], GOOD)])
    with pytest.raises(FileError, match="Expected labels about student, got none: name other files"):
        load_labels([tmp_path / "labels.jsonl"], ["student"])


def test_a_released_log_labels_by_the_published_rule(tmp_path: Path):
    labels = load_labels([written(tmp_path, THERAPY)])
    said = [getattr(item.question, "line", "") or getattr(item.question, "answer", "") for item in labels.items]
    found = {(item.kind, text): item.label for item, text in zip(labels.items, said, strict=True)}
    # the third reply about the persona holds no YES: the published rule is fail-open and calls that consistent;
    # the second question of the survey has a broken gold answer and labels nothing
    assert found == {
        ("prompt_to_line", "My rule: never ask: never tell."): GOOD,
        ("prompt_to_line", "Like a stone."): BAD,
        ("prompt_to_line", "I bake.\nEvery day."): GOOD,
        ("line_to_line", "Like a stone."): BAD,
        ("line_to_line", "I bake.\nEvery day."): BAD,
        ("question_answer", "A) Bake"): GOOD,
        ("question_answer", "I bake."): GOOD,
        ("question_answer", "B) Teach"): BAD,
    }
    assert "published fail-open rule" in labels.sources[0].what


def test_both_chat_partners_of_a_released_log_are_labelled(tmp_path: Path):
    labels = load_labels([written(tmp_path, CHATTING)])
    lines = [
        (i.question.line, i.question.earlier, i.label) for i in labels.items if isinstance(i.question, LineVsHistory)
    ]
    assert lines == [("Tea?", ("Tea?",), BAD), ("No, thanks.", ("No.",), GOOD)]
    assert len({item.persona_id for item in labels.items}) == 2


def test_a_log_of_ours_labels_by_its_labels_and_counts_the_invalid(tmp_path: Path):
    talk = Conversation(ANN).with_reply("Who?").with_line("Ann.").with_reply("Sure?").with_line("Bo.")
    replies = [LoggedReply("prompt_to_line", 1, label=GOOD), LoggedReply("prompt_to_line", 3, label="invalid")]
    save_logs(tmp_path / "log.jsonl", [LoggedDialogue.of(talk, [*replies, LoggedReply("relevance", 3, label=BAD)])])
    labels = load_labels([tmp_path / "log.jsonl"])
    assert [(i.question, i.label, i.persona_id) for i in labels.items] == [
        (LineVsPersona(ANN, "Ann.", "Who?"), GOOD, "p1"),
        (LineVsPrevious(ANN, "Sure?", "Bo."), BAD, "p1"),
    ]
    assert (labels.sources[0].labels, labels.sources[0].invalid) == (2, 1)


def test_dialogue_nli_labels_entailed_and_contradicting_replies_only(tmp_path: Path):
    labels = load_labels([filed(tmp_path, ROW)])
    found: list[Any] = [item.question for item in labels.items]
    assert {one.line: item.label for one, item in zip(found, labels.items, strict=True)} == {
        "my hair is brown .": GOOD, "i am blonde .": BAD, "i am bald .": BAD
    }  # fmt: skip
    assert {one.heard for one in found} == {"and your hair ?"}
    assert [item.persona_id for item in labels.items] == [one.persona.id for one in found]
    assert {item.role for item in labels.items} == {"chat_partner"}


def test_several_files_are_gathered_and_their_annotators_compared(tmp_path: Path):
    path = filed(tmp_path, ROW)
    human = load_labels([path])
    votes = [Labelled(item.question, GOOD, item.persona_id, "me") for item in human.items]
    save_labels(tmp_path / "mine.jsonl", [*votes, Labelled(QUESTIONS[0], BAD)])
    both = load_labels([path, tmp_path / "mine.jsonl"])
    assert (len(both.items), both.disputed, len(both.sources)) == (2, 2, 2)
    assert both.annotators is not None
    assert both.annotators.names == ("human (Dialogue NLI)", "me")


LABEL: dict[str, Any] = {
    "format": "persona-env/label-v1",
    "question": {"kind": "line_to_line", "role": "patient", "line": "Yes.", "earlier": ["No."]},
    "label": "consistent",
}
WRONG = {
    "an invalid label": ({**LABEL, "label": "invalid"}, r"line 1, \$\.label, got 'invalid'"),
    "a field too many": ({**LABEL, "mood": 1}, "unknown field `mood`"),
    "an unknown kind": ({**LABEL, "question": {"kind": "mood"}}, "question prompt_to_line, .*question, got 'mood'"),
    "a line too many": ({**LABEL, "question": {**LABEL["question"], "said": ""}}, r"question, got \$\.said"),
    "another format": ({**LABEL, "format": "persona-env/label-v9"}, "a log, Dialogue NLI, or labels with "),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_line_and_field(tmp_path: Path, name: str):
    row, message = WRONG[name]
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(FileError, match=message) as caught:
        load_labels([path])
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_released_log_without_verdicts_labels_nothing(tmp_path: Path):
    with pytest.raises(FileError, match="Expected labels, got none: name other files"):
        load_labels([written(tmp_path, EDUCATION)])
    with pytest.raises(FileError, match="Expected a file at"):
        load_labels([tmp_path / "missing.jsonl"])


@needs_data
def test_the_real_logs_label_as_many_lines_as_the_published_rule_counts():
    labels = load_labels([DATA / "education" / "mistral-instruct_0_615.json"])
    counts = {key: (len(items), sum(i.label == GOOD for i in items)) for key, items in labels.groups().items()}
    assert counts == {("student", "prompt_to_line"): (465, 337), ("student", "line_to_line"): (403, 389)}
