from pathlib import Path

import pytest

from persona_env.conversation import Conversation
from persona_env.io import FileError, LoggedDialogue, LoggedReply, load_logs, save_logs
from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Verdict, load_judge
from persona_env.judges.recorded import RecordedJudge, recorded_queries
from persona_env.metrics.line_to_line import LineToLine
from persona_env.metrics.prompt_to_line import PromptToLine
from persona_env.papers.paper_scores import fail_closed
from persona_env.persona import Persona
from tests.io.invented import CHATTING, DATA, THERAPY, changed, needs_data, written

ANN = Persona("p", "patient", "Ann", "You are Ann.")
TALK = Conversation(ANN).with_reply("Hello.").with_line("I am Ann.").with_reply("Who?").with_line("I am Bo.")


def test_a_spec_names_a_log(tmp_path: Path):
    judge = load_judge(f"recorded:{written(tmp_path, THERAPY)}")
    assert isinstance(judge, RecordedJudge)
    with pytest.raises(FileError, match="No such file"):
        load_judge("recorded:nothing.json")


def test_our_metrics_read_a_released_log_through_it(tmp_path: Path):
    path = written(tmp_path, THERAPY)
    judge, (dialogue,) = RecordedJudge.load(path), load_logs(path)
    talk = [dialogue.conversation()]
    (prompt,), (line,) = PromptToLine()(talk, judge), LineToLine()(talk, judge)
    assert (prompt.value, prompt.n, prompt.invalid) == (0.5, 2, 1)
    assert (line.value, line.n, line.invalid) == (0.0, 2, 0)
    asked = [query for query, _, _ in recorded_queries(dialogue, "P2") if isinstance(query, AnswerVsGold)]
    assert [(query.answer, verdict.label) for query, verdict in zip(asked, judge.judge(asked), strict=True)] == [
        ("A) Bake", "consistent"), ("I bake.", "consistent"), ("B) Teach", "inconsistent")
    ]  # fmt: skip


def test_what_the_log_has_no_record_of_is_invalid_and_says_so(tmp_path: Path):
    path = written(tmp_path, THERAPY)
    judge, (dialogue,) = RecordedJudge.load(path), load_logs(path)
    persona = dialogue.conversation().persona
    questions = [
        LineVsPersona(persona, "I fly.", "How do you sleep?"),
        LineVsPersona(persona, "Like a stone.", "And now?"),
        LineVsPersona(ANN, "Like a stone.", "How do you sleep?"),
        LineVsHistory("patient", "Like a stone.", ()),
        AnswerVsGold("patient", "Who?", "Bo", "Bo"),
        LineVsPrevious(persona, "How do you sleep?", "Like a stone."),
    ]
    for verdict in judge.judge(questions):
        assert (verdict.label, verdict.reason) == ("invalid", "the log has no record of this query")
    known = LineVsPersona(persona, "Like a stone.", "How do you sleep?")
    assert judge.judge([known])[0].label == "inconsistent"


def test_conflicts_are_places_among_the_speakers_own_lines(tmp_path: Path):
    path = written(tmp_path, CHATTING)
    question = LineVsHistory("chat_partner", "Tea?", ("Tea?",))
    (verdict,) = RecordedJudge.load(path).judge([question])
    assert (verdict.label, verdict.conflicts, verdict.raw) == ("inconsistent", (0,), "[0]")


def test_a_conflict_with_the_line_itself_or_a_later_one_is_none(tmp_path: Path):
    path = written(tmp_path, changed(THERAPY, eval_index_consistency=[[3, "[3, 5]"], [5, "[]"]]))
    dialogue = load_logs(path)[0]
    (score,) = LineToLine()([dialogue.conversation()], RecordedJudge.load(path))
    assert [(s.n, s.invalid) for s in (score, fail_closed(dialogue, "P2").line_to_line)] == [(1, 1)] * 2


def test_replies_that_differ_on_the_same_question_are_undecided_and_invalid_if_one_cannot_be_read(tmp_path: Path):
    other = changed(THERAPY, eval_prompt_consistency=[[1, "YES"], [3, "YES"], [5, "NO"]])
    path = written(tmp_path, THERAPY, other)
    talk = load_logs(path)[0].conversation()
    (score,) = PromptToLine()([talk], RecordedJudge.load(path))
    assert score.per_line[1] == 0.0
    assert (score.n, score.undecided, score.invalid) == (1, 1, 1)


def test_verdicts_of_ours_come_back_from_a_log(tmp_path: Path):
    replies = [
        LoggedReply("prompt_to_line", 1, label="consistent"),
        LoggedReply("prompt_to_line", 3, label="inconsistent", reason="other name", probability=0.1),
        LoggedReply("line_to_line", 3, label="inconsistent", conflicts=(0,)),
        LoggedReply("relevance", 1, "YES", label="invalid", reason="unread"),
        LoggedReply("question_answer", 1, label="consistent", question="Name?", gold="Ann", answer="I am Ann."),
        LoggedReply("mood", 1, "YES"),
    ]
    save_logs(tmp_path / "log.jsonl", [LoggedDialogue.of(TALK, replies)])
    queries = [
        LineVsPersona(ANN, "I am Ann.", "Hello."),
        LineVsPersona(ANN, "I am Bo.", "Who?"),
        LineVsHistory("patient", "I am Bo.", ("I am Ann.",)),
        LineVsPrevious(ANN, "Hello.", "I am Ann."),
        AnswerVsGold("patient", "Name?", "Ann", "I am Ann."),
    ]
    assert RecordedJudge.load(tmp_path / "log.jsonl").judge(queries) == [
        Verdict("consistent"),
        Verdict("inconsistent", reason="other name", probability=0.1),
        Verdict("inconsistent", (0,)),
        Verdict("invalid", reason="unread", raw="YES"),
        Verdict("consistent"),
    ]


@needs_data
def test_the_real_logs_judge_their_own_conversations():
    for path in sorted(DATA.glob("[cet]*/*.json")):
        dialogues = load_logs(path)
        judge = RecordedJudge(dialogues)
        for dialogue in dialogues:
            for speaker in dialogue.judged:
                (score,) = PromptToLine()([dialogue.conversation(speaker)], judge)
                direct = fail_closed(dialogue, speaker).prompt_to_line
                differ = [(a, b) for a, b in zip(score.per_line, direct.per_line, strict=True) if a != b and a == a]
                assert not differ, "a readable verdict of the judge is the log's own"
