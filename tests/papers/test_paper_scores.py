import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from persona_env.conversation import Conversation
from persona_env.io import LoggedDialogue, LoggedReply, LoggedScore, load_logs
from persona_env.papers.paper_scores import audit, fail_closed, listed_by_the_paper, paper_scores
from persona_env.persona import Persona
from tests.io.invented import CHATTING, DATA, EDUCATION, THERAPY, changed, needs_data, written


def loaded(folder: Path, *dialogues: Any) -> list[LoggedDialogue]:
    return load_logs(written(folder, *dialogues))


def scores(dialogue: LoggedDialogue) -> dict[tuple[str, str], tuple[float, int]]:
    return {(s.speaker, s.metric): (s.recomputed, s.n) for s in paper_scores(dialogue)}


def test_the_papers_scores_by_hand(tmp_path: Path):
    (dialogue,) = loaded(tmp_path, THERAPY)
    # prompt: two of three replies hold no YES. index: line 3 has 1 pair and line 5 has 2; odd indices
    # listed are 1, then 1, 1, 9. survey: "eyes" holds a yes, so each line has one right.
    assert scores(dialogue) == {
        ("P2", "prompt"): (2 / 3, 3),
        ("P2", "index"): (1 - 4 / 3, 3),
        ("P2", "survey"): (1.0, 3),
    }
    assert audit([dialogue]) == []


def test_the_papers_scores_of_two_chat_partners_by_hand(tmp_path: Path):
    (dialogue,) = loaded(tmp_path, CHATTING)
    assert scores(dialogue) == {
        ("P1", "prompt"): (0.5, 2),
        ("P1", "index"): (0.0, 1),
        ("P2", "prompt"): (1.0, 2),
        ("P2", "index"): (1.0, 1),
    }


def test_a_recorded_score_that_its_replies_deny_is_found(tmp_path: Path):
    wrong = changed(THERAPY, P2_prompt_consistency_score=1 / 3, P2_index_consistency_score=-1 / 3)
    # 1 - 4 / 3 is -0.33333333333333326, one bit from -1 / 3: agreement is to the last digit
    found = audit(loaded(tmp_path, THERAPY, wrong))
    assert [(s.metric, s.recorded, s.place[-10:]) for s in found] == [
        ("prompt", 1 / 3, "dialogue 1"),
        ("index", -1 / 3, "dialogue 1"),
    ]


def test_an_inverted_score_is_told_from_a_wrong_one(tmp_path: Path):
    replies = [[1, "NO"], [3, "YES"], [5, "NO"]]
    dialogues = [changed(THERAPY, eval_prompt_consistency=replies, P2_prompt_consistency_score=s) for s in (1 / 3, 0.5)]
    assert [score.is_inverted for score in audit(loaded(tmp_path, *dialogues))] == [True, False]


def test_a_zero_for_a_speaker_nobody_judged_claims_nothing(tmp_path: Path):
    zero, one = (changed(THERAPY, P1_prompt_consistency_score=score) for score in (0, 1))
    found = audit(loaded(tmp_path, zero, one))
    assert [(s.speaker, s.recorded, s.n) for s in found] == [("P1", 1.0, 0)]
    assert math.isnan(found[0].recomputed)


def test_a_log_without_replies_has_no_scores(tmp_path: Path):
    (dialogue,) = loaded(tmp_path, EDUCATION)
    assert paper_scores(dialogue) == ()


@pytest.mark.parametrize(
    ("reply", "indices"),
    [
        ("[]", []),
        ("a [1, 3] b [5]", [1, 3]),
        ("[3, 3, -1, 99]", [3, 3, -1, 99]),
        ("[None]", []),
        ("[None, 3,]", [3]),
        ("[1\n, 3] [5]", [5]),
        ("[1\n[5]", [5]),
        ("none", []),
        ("[line 3]", []),
        ("[01]", []),
        ("[00]", [0]),
        ("[,]", []),
        ("[1,,3]", []),
        ("[[1], 3]", []),
        ("[__import__('os').abort()]", []),
        ("[" + "9" * 10_000 + "]", []),
        ("[" * 100_000, []),
    ],
)
def test_the_papers_list_is_found_without_evaluating_it(reply: str, indices: list[int]):
    assert listed_by_the_paper(reply) == indices


def test_the_same_replies_read_fail_closed_by_hand(tmp_path: Path):
    found = fail_closed(loaded(tmp_path, THERAPY)[0], "P2")
    # The third reply has no verdict; the paper counts it as consistent.
    assert found.prompt_to_line.per_line[:2] == (1.0, 0.0)
    assert (found.prompt_to_line.value, found.prompt_to_line.n, found.prompt_to_line.invalid) == (0.5, 2, 1)
    # Line 5 lists 1 twice (its own), 2 (the other's) and 9 (nobody's): one conflict; 2 of 3 pairs in all.
    assert (found.line_to_line.per_line[1:], found.line_to_line.n) == ((0.0, 0.0), 2)
    assert found.line_to_line.pair_score == 1 - 2 / 3
    # The second question has a one-letter gold answer: its three answers are invalid.
    assert (found.question_answer.value, found.question_answer.n, found.question_answer.invalid) == (2 / 3, 3, 3)
    assert (found.broken_golds, found.questions) == (1, 2)


def test_a_line_without_a_reply_is_invalid(tmp_path: Path):
    fields = {"eval_prompt_consistency": [[1, "NO"]], "eval_index_consistency": [[5, "[]"]]}
    found = fail_closed(loaded(tmp_path, changed(THERAPY, **fields))[0], "P2")
    assert (found.prompt_to_line.n, found.prompt_to_line.invalid) == (1, 2)
    assert (found.line_to_line.n, found.line_to_line.invalid) == (1, 1)


def test_a_metric_that_was_not_judged_has_no_values(tmp_path: Path):
    found = fail_closed(loaded(tmp_path, EDUCATION)[0], "P2")
    assert (found.prompt_to_line.per_line, found.line_to_line.per_line, found.question_answer.per_line) == ((), (), ())


def test_our_own_log_is_audited_by_its_labels():
    talk = Conversation(Persona("p", "patient", "Ann", "You are Ann."))
    for line in ("I am Ann.", "I am Bo.", "I am Cy."):
        talk = talk.with_reply("Who?").with_line(line)
    labels = [("prompt_to_line", 1, "consistent", ()), ("prompt_to_line", 3, "inconsistent", ())]
    labels += [("prompt_to_line", 5, "invalid", ()), ("line_to_line", 5, "inconsistent", (0, 1))]
    replies = [LoggedReply(metric, line, "", label, conflicts) for metric, line, label, conflicts in labels]  # pyright: ignore[reportArgumentType]
    dialogue = LoggedDialogue.of(talk, replies, [LoggedScore("P2", "prompt", 0.5)])
    assert scores(dialogue) == {("P2", "prompt"): (2 / 3, 3), ("P2", "index"): (0.0, 2)}
    assert [score.recorded for score in audit([dialogue])] == [0.5]
    assert fail_closed(dialogue, "P2").prompt_to_line.per_line[:2] == (1.0, 0.0)


def test_a_log_of_ours_that_names_no_conflicting_lines_has_no_pair_score():
    talk = Conversation(Persona("p", "patient", "Ann", "You are Ann.")).with_line("I am Ann.").with_line("I am Bo.")
    dialogue = LoggedDialogue.of(talk, [LoggedReply("line_to_line", 1, label="inconsistent")])
    assert paper_scores(dialogue) == ()
    assert fail_closed(dialogue, "P2").line_to_line.per_line[1:] == (0.0,)


@needs_data
def test_of_the_real_logs_only_the_inverted_ones_disagree():
    found = {path.stem: audit(load_logs(path)) for path in sorted(DATA.glob("[cet]*/*.json"))}
    counts = Counter({stem: len(scores) for stem, scores in found.items() if scores})
    assert counts == {"mistral-instruct_0_261": 35}
    inverted = found["mistral-instruct_0_261"]
    assert all(score.is_inverted and score.metric == "prompt" for score in inverted)


@needs_data
def test_every_real_score_is_recomputed_to_the_last_digit():
    paths = [path for path in DATA.glob("[cet]*/*.json") if "_261" not in path.stem]
    checked = [score for path in paths for dialogue in load_logs(path) for score in paper_scores(dialogue)]
    assert len(checked) == 843
    assert all(score.recorded == score.recomputed for score in checked)
