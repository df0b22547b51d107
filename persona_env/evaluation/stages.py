"""Measured stages on disk, so that a resumed run reads them again instead of playing them again."""

from __future__ import annotations

import json
from pathlib import Path

from persona_env.conversation import Conversation, Message, Probe
from persona_env.evaluation.eval_suite import Dialogue, EvalSuite
from persona_env.evaluation.scoring import Scores
from persona_env.metrics import Answer, LineToLineScore, QuestionAnswerScore, Score
from persona_env.persona import Fact, Persona, QAItem
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.result import Measured
from persona_env.runs.serialization import Serializer
from persona_env.scenario import FactUpdate, ProbePlan, Scenario

__all__ = ["load_stage", "save_stage"]

_SCORES = (Scores, Score, LineToLineScore, QuestionAnswerScore)
_TALK = (Measured, EvalSuite, Dialogue, Answer, Conversation, Message, Probe, Persona, Fact, QAItem)
_TALK += (Scenario, FactUpdate, ProbePlan)
_PLAIN = Serializer([*_SCORES, *_TALK])
_FILE = "measured.json"


def save_stage(checkpoints: Checkpoints, stage: str, measured: Measured) -> None:
    """Writes the dialogues of a stage and their scores.

    Raises:
        CannotWrite: If there is no room.
    """
    text = json.dumps(_PLAIN.write(measured), allow_nan=False)
    checkpoints.write(f"stage-{stage}", lambda path: _put(path, text))


def _put(path: Path, text: str) -> None:
    (path / _FILE).write_text(text, encoding="utf-8")


def load_stage(checkpoints: Checkpoints, stage: str) -> Measured | None:
    """Returns what was measured in a stage, None where that is not known (any more)."""
    found = checkpoints.find(f"stage-{stage}")
    return None if found is None else _PLAIN.read(json.loads((found / _FILE).read_text(encoding="utf-8")))
