from hypothesis import given
from hypothesis import strategies as st

from persona_env.metrics.words import STOPWORDS, content_words, sentences, words


def test_first_and_second_person_are_one():
    assert words("I'm Ann, my cat and me") == words("You are Ann, your cat and you")
    assert words("I\u2019ve slept; I'd go") == ("you", "have", "slept", "you", "would", "go")


def test_words_of_other_scripts_stay_whole():
    assert words("मैं चार घंटे सोता हूँ") == ("मैं", "चार", "घंटे", "सोता", "हूँ")
    assert words("ДОБРОЕ утро") == ("доброе", "утро")
    assert words("学校へ行く") == ("学", "校", "へ", "行", "く")


def test_accents_are_told_apart_and_composition_is_not():
    assert words("cafe\u0301") == words("caf\u00e9") != words("cafe")


def test_sentences_end_at_stops_and_lines():
    assert sentences("One. Two! Three?\nFour\n\nFive.") == ("One.", "Two!", "Three?", "Four", "Five.")
    assert sentences("一。二。") == ("一。", "二。")
    assert sentences('He said "go." Then left.') == ('He said "go."', "Then left.")


def test_content_words_leave_out_what_says_nothing():
    assert content_words("Do you have a cat?") == {"cat"}
    assert content_words("How are you?") == frozenset()


def test_stopwords_are_words_as_words_gives_them():
    assert all(words(stopword) == (stopword,) for stopword in STOPWORDS)


@given(st.text(max_size=80))
def test_words_are_lower_case_without_spaces_for_any_text(text):
    for word in words(text):
        assert word
        assert not any(c.isspace() for c in word)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_sentences_keep_every_word(text):
    assert tuple(w for s in sentences(text) for w in words(s)) == words(text)
