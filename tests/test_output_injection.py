"""What others wrote is shown as text: it steers no terminal, is no markup, and crashes no table."""

import pytest

from persona_env.report.terminal import plain
from tests.reliability.r19_output_injection import ALL, HOSTILE, hits, in_colour, printed, steering


def test_hostile_text_is_printed_as_text():
    assert not printed()


@pytest.mark.parametrize("text", ["\x1b]8;;http://x\x1b\\y", "\x1b[38;5;213mx", "\x9b2J", "\u202ex", "\x07"])
def test_what_steers_a_terminal_is_noticed(text: str):
    assert in_colour(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_made_plain_steers_nothing(text: str):
    assert not steering(plain(text))


def test_no_line_passes_for_another():
    assert plain("Yes.\nstudent: I agree.", 9).splitlines()[1] == " " * 9 + "student: I agree."
    assert "\n" not in plain(ALL.replace("\n", ""))


@pytest.mark.slow
def test_commands_show_hostile_text_as_text():
    count, found = hits(training=False)
    assert not found
    assert count > 60
