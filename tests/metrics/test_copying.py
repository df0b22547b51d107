import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_env.conversation import Conversation, Probe
from persona_env.envs.persona_source import resolve_personas
from persona_env.judges import Verdict
from persona_env.metrics import Copying, ProbeCopying, answer_query
from persona_env.metrics.copying import recited_share
from persona_env.metrics.probe_copying import recites
from persona_env.persona import Persona
from persona_env.world import personas

TEXT = "You are Ann. You sleep four hours a night. You have a grey cat at home."


@pytest.mark.parametrize(
    ("line", "heard", "share"),
    [
        # first and second person are one: all seven words recite
        ("You have a grey cat at home.", "", 1.0),
        ("I have a grey cat at home.", "", 1.0),
        # "a grey cat at home" is five of nine words
        ("Well, there is a grey cat at home, yes.", "", 5 / 9),
        # "a grey cat at" is four of eight
        ("He saw a grey cat at the zoo.", "", 4 / 8),
        # three words in a row are no recitation
        ("A grey cat.", "", 0.0),
        # asked about the cat: that sentence is excused, the one on sleep is not
        ("I have a grey cat at home.", "Do you have a cat?", 0.0),
        ("I sleep four hours a night.", "Do you have a cat?", 1.0),
        # the whole description runs on across sentences
        ("I am Ann. I sleep four hours a night. I have a grey cat at home.", "", 1.0),
        # "You are Ann." alone is too short, but not with what follows it
        ("I am Ann. I sleep.", "", 1.0),
        # a run is broken where a sentence in its middle is excused
        ("I am Ann. I have a grey cat.", "How do you sleep?", 5 / 8),
        # stopwords ask for nothing
        ("I have a grey cat at home.", "What have you got?", 1.0),
        ("", "", 0.0),
        ("?!", "", 0.0),
        # zero-width characters hide nothing
        ("I have a gr\u200bey cat at ho\u200bme.", "", 1.0),
    ],
)
def test_the_recited_share_by_hand(line, heard, share):
    assert recited_share(TEXT, line, heard) == share


def test_a_line_recites_if_more_than_half_of_it_does():
    ann = Persona("p1", "patient", "Ann", TEXT)
    conversation = Conversation(ann)
    for line in ("He saw a grey cat at the zoo.", "He saw a grey cat at home today."):
        conversation = conversation.with_reply("Hm.").with_line(line)
    assert Copying()([conversation])[0].per_line == (1.0, 0.0)  # 4 of 8 words, 5 of 8


def test_the_parrot_that_answers_each_question_with_its_whole_description_is_caught():
    ann = Persona("p1", "patient", "Ann", TEXT)
    parrot = Conversation(ann).with_reply("Do you have a cat?").with_line(TEXT)
    assert Copying()([parrot])[0].value == 0.0


def test_other_scripts_are_read_too():
    assert recited_share("你睡四个小时。你有一只灰猫。", "我有一只灰猫") > 0.5
    assert recited_share("Вы спите четыре часа ночью.", "Спите четыре часа ночью!") == 1.0


LETTERS = st.text(alphabet="ab cd.", max_size=40)


@given(LETTERS, LETTERS, LETTERS)
def test_hearing_more_never_accuses_more(description, line, heard):
    assert 0.0 <= recited_share(description, line, heard) <= recited_share(description, line, "") <= 1.0


ANN = "You are Ann. You sleep four hours a night. You came because of grief. You have a grey cat at home."
HISTORY = Probe("How are your nights?", "four hours a night", description=ANN)


@pytest.mark.parametrize(("answer", "is_recital"), [
    ("I sleep four hours a night.", False), ("Four hours.", False), ("", False), ("My cat keeps me awake.", False),
    (ANN, True), (ANN.replace("You", "I").replace("are", "am"), True), (f"Well, as you ask: {ANN.lower()}", True),
    ("I came because of grief. I have a grey cat at home.", True),
    ("I sleep four hours a night. I have a grey cat at home. I came because of grief.", True),
])  # fmt: skip
def test_an_answer_recites_what_was_not_asked_or_all_of_a_persona_text(answer: str, is_recital: bool):
    assert recites(HISTORY, answer) == is_recital
    label = "inconsistent" if is_recital else "consistent"
    assert (ProbeCopying().query(HISTORY, answer).label, isinstance(answer_query(HISTORY, answer), Verdict)) == (
        label, is_recital,
    )  # fmt: skip


def test_the_whole_of_a_short_text_is_a_recital_though_the_question_excuses_most_of_it():
    short = Probe("How do you sleep?", "four hours a night", description="You are Mei. You sleep four hours a night.")
    assert recites(short, "I am Mei. I sleep four hours a night.")
    assert not recites(short, "I sleep four hours a night.")
    one = Probe("How do you sleep?", "four hours a night", description="You sleep four hours a night.")
    assert not recites(one, "I sleep four hours a night.")


def test_an_honest_speaker_recites_on_no_probe_and_one_that_recites_on_all():
    for role in ("patient", "student", "chat_partner"):
        for persona in personas(role, "dev")[:40]:
            for item in persona.questions:
                probe = Probe(item.wording(0, held_out=True), item.gold, description=persona.description)
                assert not recites(probe, item.gold)
                assert recites(probe, persona.description.replace("Your", "My").replace("You", "I"))


@pytest.mark.parametrize("role", ["patient", "student", "chat_partner"])
def test_a_natural_answer_with_the_words_of_the_text_is_no_recital(role: str):
    for persona in resolve_personas(role, "natural", "all"):
        for item in persona.questions:
            probe = Probe(item.wording(0, held_out=True), item.gold, description=persona.description)
            assert not recites(probe, item.gold), (persona.id, item.gold)
            assert recites(probe, persona.description.replace("Your", "My").replace("You", "I"))
