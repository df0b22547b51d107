import itertools
from collections import Counter
from functools import partial

import pytest

from persona_env.conversation import Conversation
from persona_env.judges import Verdict
from persona_env.metrics import ProbeSchedule, QuestionAnswer, evaluate
from persona_env.persona import Persona, QAItem
from persona_env.speakers import Speaker
from tests.metrics import parts

ITEMS = (
    QAItem("Ann", ("Your name?", "Who are you?"), ("What are you called?",), key="name"),
    QAItem("four", ("Your sleep?", "How long do you sleep?"), ("How many hours?",), key="sleep"),
    QAItem("a cat", ("Any pets?", "Who is at home?"), ("Do animals live there?",), key="pet"),
)
ANN = Persona("p1", "patient", "Ann", "You are Ann.", questions=ITEMS)
talk = partial(parts.talk, persona=ANN)


def prefixes(conversation):
    return [
        Conversation(conversation.persona, conversation.messages[:end])
        for end in range(len(conversation.messages) + 1)
        if end and conversation.messages[end - 1].side == "simulator"
    ]


def asked(schedule, conversations):
    """What is asked in these dialogues, where something is asked in each."""
    questions = [question for question in schedule.ask(conversations) if question is not None]
    assert len(questions) == len(conversations)
    return questions


class SaysWhatItHeard(Speaker):
    """A speaker that answers each view with the last line that it heard; keeps its batches."""

    def __init__(self):
        self.batches = []

    def reply(self, views):
        self.batches.append(list(views))
        return [f"You ask: {view.messages[-1].text}" for view in views]


class NameIsRight:
    def judge(self, questions):
        return [Verdict("consistent" if "name" in q.question else "inconsistent") for q in questions]


@pytest.mark.parametrize("every", [1, 2, 3])
def test_every_nth_line_is_followed_by_a_question(every):
    asked = ProbeSchedule(every=every).ask(prefixes(talk(*"abcdefg")))
    assert [question is not None for question in asked] == [(n + 1) % every == 0 for n in range(7)]


def test_once_per_dialogue_is_exactly_once_within_the_first_lines():
    lines = Counter()
    for first, number in itertools.product("abcdefgh", range(50)):
        conversation = talk(f"{first}{number}", *"bcdefghij")
        asked = ProbeSchedule(within=8).ask(prefixes(conversation))
        (at,) = [n for n, question in enumerate(asked) if question is not None]
        lines[at] += 1
    assert set(lines) == set(range(8))
    assert min(lines.values()) > 25  # of 50 expected: the line is spread over all eight


def test_a_question_depends_on_the_line_and_the_persona():
    lines = [f"Line {n}." for n in range(40)]
    first = asked(ProbeSchedule(every=1), prefixes(talk(*lines)))
    assert first == asked(ProbeSchedule(every=1), prefixes(talk(*lines))), "and on nothing else"
    assert {question.role for question in first} == {"patient"}
    again = asked(ProbeSchedule(every=1), prefixes(talk(*[f"{line}!" for line in lines])))
    assert Counter(q.key for q in first).keys() == {"name", "sleep", "pet"}
    assert [q.text for q in first] != [q.text for q in again]


def test_training_and_evaluation_ask_the_same_things_in_other_words():
    conversations = prefixes(talk(*"abcdefgh"))
    training = asked(ProbeSchedule(every=1), conversations)
    evaluation = asked(ProbeSchedule(every=1, held_out=True), conversations)
    assert [q.gold for q in training] == [q.gold for q in evaluation]
    for question, other in zip(training, evaluation, strict=True):
        (item,) = [item for item in ITEMS if item.key == question.key]
        assert question.text in item.wordings
        assert other.text in item.held_out_wordings


def test_nothing_is_asked_before_the_first_line_nor_of_a_persona_without_questions():
    bare = Persona("p2", "patient", "Bo", "You are Bo.")
    assert ProbeSchedule(every=1).ask([Conversation(ANN).with_reply("Hello."), talk("a", persona=bare)]) == [None, None]


@pytest.mark.parametrize(("every", "within"), [(0, 8), (-1, 8), (None, 0)])
def test_a_schedule_that_never_comes_is_refused(every, within):
    with pytest.raises(ValueError, match=r"Expected (every|within) >= 1"):
        ProbeSchedule(every, within)


def test_the_speaker_is_probed_on_branches_in_one_batch():
    speaker, conversation = SaysWhatItHeard(), talk("a", "b", "c", "d")
    (answers,) = QuestionAnswer(every=2).answers([conversation], speaker)
    assert [answer.line_index for answer in answers] == [1, 3]
    (views,) = speaker.batches
    for view, answer, end in zip(views, answers, (4, 8), strict=True):
        assert view.messages[:-1] == conversation.view("simulator").messages[:end]
        assert view.messages[-1].text == answer.probe.text
        assert view.messages[-1].side == "task"
        assert answer.text == f"You ask: {answer.probe.text}"


def test_a_branch_has_a_seed_of_its_own_that_is_always_the_same():
    one, other = SaysWhatItHeard(), SaysWhatItHeard()
    for speaker in (one, other):
        QuestionAnswer(every=1).answers([talk(*"abcdef")], speaker)
    seeds = [view.seed for view in one.batches[0]]
    assert seeds == [view.seed for view in other.batches[0]]
    assert len(set(seeds)) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_scores_are_the_share_of_right_answers_with_the_lines_they_followed():
    metric = QuestionAnswer(SaysWhatItHeard(), every=1, held_out=False)
    (score,) = metric([talk(*"abcdef")], NameIsRight())
    questions = asked(metric.schedule, prefixes(talk(*"abcdef")))
    assert score.per_line == tuple(float("name" in q.text) for q in questions)


def test_answers_collected_elsewhere_score_the_same():
    conversations = [talk(*"abcdef"), talk(*"gh"), Conversation(ANN)]
    metric = QuestionAnswer(SaysWhatItHeard(), every=2)
    answers = metric.answers(conversations, SaysWhatItHeard())
    found, direct = metric.scores(answers, NameIsRight()), metric(conversations, NameIsRight())
    assert found[:2] == direct[:2]
    assert found[2].n == direct[2].n == 0


def test_a_metric_without_a_speaker_says_what_is_missing():
    with pytest.raises(ValueError, match="Expected a speaker to probe, got None"):
        evaluate([talk("a")], [QuestionAnswer()], NameIsRight())


def test_a_speaker_that_miscounts_is_told():
    class Silent(Speaker):
        def reply(self, views):
            return []

    with pytest.raises(ValueError, match="Expected 1 replies, got 0"):
        QuestionAnswer(every=1).answers([talk("a")], Silent())
