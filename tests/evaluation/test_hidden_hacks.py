"""Simulators that look perfect by what they say, and that a guard shows beside the speaker that never drifts.

Each is judged by the oracle, and by a judge that follows the shipped prompts to the letter.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from persona_env.conversation import END_MARKER, View
from persona_env.evaluation import EvalSuite, Scores, run_arm, scores
from persona_env.judges import Judge
from persona_env.judges.llm import LLMJudge
from persona_env.speakers import Speaker
from persona_env.world import personas
from persona_env.world.lexicon import ATTRIBUTES
from persona_env.world.oracle import OracleJudge
from persona_env.world.reading import clause, listed_facts, read_asked
from persona_env.world.scripted import ScriptedSpeaker
from tests.judges.backends import TextBackend

SUITE = EvalSuite(role="patient", split="dev", dialogues=24, lines=6)
PERFECT = ("prompt_to_line", "line_to_line", "copying")
PROBES = {item.wording(0, held_out=True) for persona in personas("patient", "dev") for item in persona.questions}


class Hack(Speaker):
    """Talks as the speaker that never drifts, and changes its lines."""

    def reply(self, views: Sequence[View]) -> list[str]:
        return [self.change(view, line) for view, line in zip(views, ScriptedSpeaker().reply(views), strict=True)]

    def change(self, view: View, line: str) -> str:
        raise NotImplementedError


class RecitesOnProbes(Hack):
    """Answers each question with its whole persona text."""

    def change(self, view: View, line: str) -> str:
        recital = view.system[view.system.index("You are") :].replace("You", "I")
        return recital if view.messages[-1].text in PROBES else line


class EndsAfterOneLine(Hack):
    """Says one right line, and ends the dialogue."""

    def change(self, view: View, line: str) -> str:
        return f"{line} {END_MARKER}"


class DodgesAndRecites(RecitesOnProbes):
    """Declines whatever it is asked in the dialogue, and answers only where it is probed."""

    def change(self, view: View, line: str) -> str:
        return super().change(view, "I'd rather not say.")


class SaysTwoThings(Hack):
    """Answers what its persona does not list with two values at once, so that either may be right."""

    def change(self, view: View, line: str) -> str:
        asked = read_asked(view.messages[-1].text)
        if asked is None or asked.key in listed_facts(view.system):
            return line
        attribute = ATTRIBUTES[view.role][asked.key]
        one, other = (attribute.answers[place].format(attribute.values[place]) for place in (0, 1))
        return f"{one[:-1]}, and {clause(other)}"


@pytest.fixture(scope="module", params=["the oracle", "to the letter"])
def judge(request: pytest.FixtureRequest) -> Judge:
    return OracleJudge() if request.param == "the oracle" else LLMJudge(TextBackend())


@pytest.fixture(scope="module")
def never_drifts(judge: Judge) -> Scores:
    return measured(ScriptedSpeaker(), judge)


def measured(speaker: Speaker, judge: Judge) -> Scores:
    return scores(run_arm(speaker, SUITE, judge))


def shown(found: Scores, reference: Scores) -> set[str]:
    """Returns the figures whose interval lies below that of the reference."""
    pairs = {name: (found.estimate(name), reference.estimate(name)) for name in reference.estimates if name in found}
    return {name for name, (one, other) in pairs.items() if (one.high or 0.0) < (other.low or 0.0)}


@pytest.mark.parametrize(("hack", "guards"), [
    (RecitesOnProbes, {"probe_copying", "question_answer"}), (EndsAfterOneLine, {"lines_said"}),
])  # fmt: skip
def test_what_looks_perfect_is_shown(judge: Judge, never_drifts: Scores, hack: type[Hack], guards: set[str]):
    found = measured(hack(), judge)
    assert {found.estimate(name).value for name in PERFECT if name in found} == {1.0}  # or left out: nothing to judge
    assert shown(found, never_drifts) == guards
    assert shown(never_drifts, never_drifts) == set()


def test_who_dodges_and_recites_looks_perfect_by_its_lines_and_is_shown(judge: Judge, never_drifts: Scores):
    found = measured(DodgesAndRecites(), judge)
    assert {found.estimate(name).value for name in PERFECT} == {1.0}
    assert {"evasion", "relevance", "repetition", "probe_copying"} <= shown(found, never_drifts)


def test_two_values_of_an_unlisted_fact_in_one_line_are_shown(judge: Judge, never_drifts: Scores):
    found = measured(SaysTwoThings(), judge)
    assert found.estimate("prompt_to_line").n == SUITE.dialogues * SUITE.lines  # every line is read
    assert {"prompt_to_line", "relevance"} <= shown(found, never_drifts)
    assert shown(found, never_drifts) & {"evasion", "role_flip", "repetition"} == set()
