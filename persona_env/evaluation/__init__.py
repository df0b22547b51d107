"""Evaluation: what is played (`EvalSuite`), how (`play`), the record of it (`EvalLog`), and its figures (`Scores`)."""

from __future__ import annotations

from persona_env.evaluation.eval_log import Arm, EvalLog, Sample, load_eval_log, logged_dialogues, save_eval_log
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import play
from persona_env.evaluation.scoring import Estimate, Scores, judge_samples, reductions, run_arm, scores

__all__ = [
    "Arm",
    "Estimate",
    "EvalLog",
    "EvalSuite",
    "Sample",
    "Scores",
    "judge_samples",
    "load_eval_log",
    "logged_dialogues",
    "play",
    "reductions",
    "run_arm",
    "save_eval_log",
    "scores",
]
