"""A simulator that garbles its lines neither ends a run nor hides behind verdicts that are invalid."""

import pytest

from persona_env.evaluation import EvalSuite
from persona_env.evaluation.scoring import Scores, run_arm, scores
from persona_env.runs.config import RunConfig
from persona_env.runs.costs import TooManyInvalid, check_invalid
from persona_env.speakers.base import Speaker
from persona_env.world.oracle import OracleJudge
from persona_env.world.scripted import ScriptedSpeaker


class Garbling(Speaker):
    """Says the right thing in the first half of its lines, and in the others words of it in disorder."""

    def reply(self, views):
        lines = ScriptedSpeaker().reply(views)
        spoken = [sum(view.is_own(message) for message in view.messages) for view in views]
        return [line if said < 4 else " ".join(line.split()[::-1]) for said, line in zip(spoken, lines, strict=True)]


@pytest.fixture(scope="module")
def garbled() -> Scores:
    return scores(run_arm(Garbling(), EvalSuite(dialogues=4, lines=8), OracleJudge()))


def test_garbled_lines_do_not_end_a_run_with_the_oracle(garbled: Scores) -> None:
    assert garbled.counts.invalid > 0.2 * garbled.counts.asked
    check_invalid("training", RunConfig(judge="oracle").most_invalid, garbled.counts)
    with pytest.raises(TooManyInvalid):  # as with a judge that could not read them
        check_invalid("training", RunConfig(judge="hf:some/model").most_invalid, garbled.counts)


def test_garbled_lines_show_in_the_guards(garbled: Scores) -> None:
    assert garbled.estimate("prompt_to_line").value == 1.0  # of the lines that can be read
    assert garbled.estimate("relevance").value == 0.5
