"""A persona can be written with lists, and is the same."""

from typing import Any, cast

import pytest

from persona_env.persona import Fact, Persona, QAItem


def test_lists_become_tuples_so_that_a_persona_can_be_looked_up():
    lists: Any = ([Fact("a", "b")], ["pet"], [QAItem("Ann", *cast("Any", (["Name?"], [], [])))])
    listed = Persona("p", "patient", "Ann", "You are Ann.", *lists)
    tupled = Persona("p", "patient", "Ann", "You are Ann.", (Fact("a", "b"),), ("pet",), (QAItem("Ann", ("Name?",)),))
    assert {listed: 1}[tupled] == 1


def test_one_letter_is_an_answer_where_words_have_one_letter():
    assert [QAItem(gold, ("Which?",)).gold for gold in ("四", "猫", "물", "7")] == ["四", "猫", "물", "7"]


def test_a_text_in_place_of_a_list_is_refused():
    with pytest.raises(ValueError, match=r"^Expected wordings to be a list, got the text 'Name\?': put it into one"):
        QAItem("Ann", cast("Any", "Name?"))
    with pytest.raises(ValueError, match=r"^Expected hidden to be a list, got the text 'pet'"):
        Persona("p", "patient", "Ann", "You are Ann.", hidden=cast("Any", "pet"))
