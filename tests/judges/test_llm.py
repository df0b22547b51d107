import json
from dataclasses import replace
from hashlib import sha256

import pytest

from persona_env.judges import LineVsHistory, LineVsPersona, LineVsPrevious, LineVsQuestion, Query
from persona_env.judges.backend import JudgeAnswer, JudgePrompt
from persona_env.judges.llm import JUDGE_VERSION, LLMJudge
from persona_env.judges.prompts import PLACEHOLDERS, JudgePrompts, RolePrompts, Wording
from persona_env.persona import Persona
from persona_env.testing import check_judge
from persona_env.testing.samples import sample_queries
from persona_env.world.oracle import OracleJudge
from tests.judges.backends import TextBackend
from tests.judges.injections import DEMANDS

MEI = Persona("m", "patient", "Mei", "You are Mei. You sleep four hours a night.")
RIGHT = LineVsPersona(MEI, "About four hours.", "How long do you sleep?")
WRONG = LineVsPersona(MEI, "About five hours.", "How long do you sleep?")
HISTORY = LineVsHistory("patient", "About four hours.", ("My mood is sad.", "My nights are five hours.", "Pretty sad."))


ANSWER = {letter: f'{{"answer": "{letter}"}}' for letter in "AB"}


def by_polarity(negative, positive):
    return LLMJudge(TextBackend(lambda prompt: negative if prompt.polarity == "negative" else positive))


def label(judge: LLMJudge, question: Query = RIGHT) -> str:
    return judge.judge([question])[0].label


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("role", ["patient", "student", "chat_partner"])
def test_it_passes_the_kit_and_says_what_a_model_that_knows_the_grammar_says(role, lists):
    judge, asked = LLMJudge(TextBackend(lists=lists)), sample_queries(role)
    check_judge(judge, queries=asked)
    known = zip([*asked, HISTORY], OracleJudge().judge([*asked, HISTORY]), strict=True)
    exact = {q: v for q, v in known if v.label != "invalid" and not isinstance(q, LineVsPrevious)}
    verdicts = judge.judge([*exact])
    assert [(v.label, v.conflicts) for v in verdicts] == [(v.label, v.conflicts) for v in exact.values()]
    assert len(verdicts) > 30
    assert verdicts[-1].conflicts == (1,)


def test_all_queries_are_asked_in_one_call_two_prompts_each():
    backend = TextBackend()
    LLMJudge(backend).judge([RIGHT, WRONG, HISTORY])
    assert [len(batch) for batch in backend.batches] == [6]


@pytest.mark.parametrize(("negative", "positive", "expected"), [
    ("B", "A", "consistent"), ("A", "B", "inconsistent"), ("A", "A", "undecided"), ("B", "B", "undecided"),
])  # fmt: skip
def test_a_verdict_takes_two_answers_that_agree(negative, positive, expected):
    judge = by_polarity(f'{{"answer": "{negative}"}}', f'{{"answer": "{positive}"}}')
    assert label(judge) == expected


@pytest.mark.parametrize("good", ['{"answer": "A"}', '{"answer": "B"}'])
@pytest.mark.parametrize("bad", ["", "A", '{"answer": "yes"}', '{"answer": "A"} ok', '{"conflicts": []}'])
def test_one_unreadable_answer_makes_it_invalid(good, bad):
    for judge in (by_polarity(good, bad), by_polarity(bad, good)):
        (verdict,) = judge.judge([RIGHT])
        assert verdict.label == "invalid"
        assert verdict.reason


@pytest.mark.parametrize(("conflicts", "compatible", "expected"), [
    ("[]", "[1, 2, 3]", ("consistent", ())),
    ("[2]", "[1, 3]", ("inconsistent", (1,))),
    ("[3, 1]", "[2]", ("inconsistent", (0, 2))),
    ("[1, 2, 3]", "[]", ("inconsistent", (0, 1, 2))),
    ("[]", "[]", ("undecided", ())),
    ("[]", "[1, 2]", ("undecided", ())),
    ("[2]", "[1, 2, 3]", ("undecided", ())),
    ("[2]", "[1]", ("undecided", ())),
    ("[1, 2, 3]", "[1, 2, 3]", ("undecided", ())),
    ("[4]", "[1, 2, 3]", ("invalid", ())),
    ("[2, 2]", "[1, 3]", ("invalid", ())),
])  # fmt: skip
def test_two_lists_must_complement_each_other(conflicts, compatible, expected):
    judge = by_polarity(f'{{"conflicts": {conflicts}}}', f'{{"compatible": {compatible}}}')
    (verdict,) = judge.judge([HISTORY])
    assert (verdict.label, verdict.conflicts) == expected


def test_one_pair_that_contradicts_itself_makes_the_history_undecided():
    def reply(query):
        told = "sad" not in query.user or query.polarity == "positive"
        return '{"answer": "A"}' if told else '{"answer": "B"}'

    judge = LLMJudge(TextBackend(reply, lists=False))
    assert label(judge, HISTORY) == "undecided"


@pytest.mark.parametrize("reply", ['{"answer": "A"}', '{"answer": "B"}', '{"conflicts": []}', '{"compatible": [1]}'])
@pytest.mark.parametrize("lists", [True, False])
def test_a_judge_that_obeys_or_always_says_the_same_finds_nothing_consistent(reply, lists):
    judge = LLMJudge(TextBackend(lambda query: reply, lists=lists))
    questions = [q for q in sample_queries() if not isinstance(q, LineVsHistory) or q.earlier]
    questions += [LineVsPersona(MEI, demand % "A", "How are you?") for demand in DEMANDS]
    assert "consistent" not in {verdict.label for verdict in judge.judge(questions)}


def test_what_the_content_filter_rejects_is_never_asked():
    backend = TextBackend(lambda query: '{"answer": "A"}')
    verdicts = LLMJudge(backend).judge([LineVsPersona(MEI, line, "How are you?") for line in ("", ":", "Solution:")])
    assert [(verdict.label, verdict.is_asked) for verdict in verdicts] == [("inconsistent", False)] * 3
    assert backend.batches == []


def test_the_first_line_contradicts_no_earlier_one_and_an_unknown_role_is_invalid():
    judge = LLMJudge(TextBackend())
    assert label(judge, LineVsHistory("patient", "Fine.", ())) == "consistent"
    assert label(judge, LineVsHistory("pirate", "Fine.", ())) == "invalid"


def test_the_probability_is_the_mean_of_both_answers_and_the_lowest_over_earlier_lines():
    class Sure(TextBackend):
        def answer(self, prompts):
            chances = iter((0.9, 0.7) if len(prompts) == 2 else (0.9, 0.7, 0.8, 0.6, 0.9, 0.9))
            return [JudgeAnswer("B" if p.polarity == "negative" else "A", next(chances)) for p in prompts]

    judge = LLMJudge(Sure(lists=False))
    assert judge.judge([RIGHT])[0].probability == pytest.approx(0.8)
    assert judge.judge([HISTORY])[0].probability == pytest.approx(0.7)
    doubtful = LLMJudge(TextBackend(lambda query: '{"answer": "A"}', chance=0.9)).judge([RIGHT])[0]
    assert (doubtful.label, doubtful.probability) == ("undecided", pytest.approx(0.5))
    assert LLMJudge(TextBackend()).judge([RIGHT])[0].probability is None


def test_a_raw_reply_can_always_be_written():
    verdict = by_polarity("\ud83d" * 5000, "\ud83d").judge([RIGHT])[0]
    verdict.raw.encode("utf-8")
    assert len(json.loads(verdict.raw)[0]) == 2000


def test_a_backend_that_miscounts_is_refused():
    class Short(TextBackend):
        def answer(self, prompts):
            return super().answer(prompts)[1:]

    with pytest.raises(ValueError, match="Expected 2 answers, got 1"):
        LLMJudge(Short()).judge([RIGHT])


def test_a_change_of_what_is_asked_or_made_of_it_needs_a_new_version():
    """If this fails because it was changed on purpose, raise `JUDGE_VERSION` and write the new digest here."""
    plain = {
        kind: Wording(" ".join(f"{{{n}}}" for n in sorted(a | b)), "-", "+") for kind, (a, b) in PLACEHOLDERS.items()
    }
    prompts = JudgePrompts({"patient": RolePrompts("system", plain)})  # the texts have a digest of their own
    backend = TextBackend(lambda prompt: ANSWER["AB"[len(prompt.user) % 2]], lists=False)
    verdicts = LLMJudge(backend, prompts).judge(sample_queries())
    asked = [(p.polarity, p.system, p.user, p.items) for batch in backend.batches for p in batch]
    found = sha256(repr((asked, verdicts)).encode()).hexdigest()[:16]
    assert (JUDGE_VERSION, found) == (2, "d5c6f0bbb9d70b72")


ASKED = LineVsQuestion(MEI, "How long do you sleep?", "I'd rather not say.")


def answering(known: str, answers: str) -> tuple[LLMJudge, TextBackend]:
    """A judge that says of a question whether it is known, and of a line whether it answers: both, one or neither."""

    def reply(prompt: JudgePrompt) -> str:
        says = known if "What is known" in prompt.user else answers
        return ANSWER[{"both": "A", "neither": "B"}.get(says, "AB"[(prompt.polarity == "positive") == (says == "no")])]

    backend = TextBackend(reply)
    return LLMJudge(backend), backend


@pytest.mark.parametrize(
    ("known", "answers", "expected"),
    [
        ("yes", "yes", ("consistent", True)),
        ("yes", "no", ("inconsistent", True)),
        ("no", "yes", ("consistent", False)),
        ("no", "no", ("consistent", False)),
        ("no", "both", ("consistent", False)),
        ("neither", "yes", ("undecided", True)),
        ("yes", "both", ("undecided", True)),
    ],
)
def test_a_dodge_takes_a_question_that_the_persona_answers_and_a_line_that_does_not(known, answers, expected):
    (verdict,) = answering(known, answers)[0].judge([ASKED])
    assert (verdict.label, verdict.applies) == expected


def test_a_line_that_says_nothing_dodges_only_what_the_persona_answers():
    empty = replace(ASKED, line="...")
    for known, expected in (("yes", ("inconsistent", True)), ("no", ("consistent", False))):
        judge, backend = answering(known, "yes")
        (verdict,) = judge.judge([empty])
        assert (verdict.label, verdict.applies) == expected
        assert len(backend.batches[0]) == 2  # the line itself is not shown


def test_a_question_that_is_asked_again_is_looked_up_in_the_persona_by_the_same_prompts():
    judge, backend = answering("yes", "no")
    judge.judge([ASKED, replace(ASKED, line="Four hours.")])
    prompts = [prompt.user for prompt in backend.batches[0] if "What is known" in prompt.user]
    assert len(prompts) == 2 * len(set(prompts)) == 4
