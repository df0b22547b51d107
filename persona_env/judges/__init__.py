"""Anything that judges: six kinds of query, the verdict, the base class `Judge`, and the registry of kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from persona_env.judges.base import (
    AnswerVsGold,
    Judge,
    JudgeLike,
    Label,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    LineVsQuestion,
    LineVsRole,
    Query,
    Verdict,
    as_judge,
)
from persona_env.judges.ensemble import Ensemble, member_specs
from persona_env.models.model_spec import path_spec
from persona_env.registry import Registry

__all__ = [
    "JUDGES",
    "AnswerVsGold",
    "Judge",
    "JudgeLike",
    "Label",
    "LineVsHistory",
    "LineVsPersona",
    "LineVsPrevious",
    "LineVsQuestion",
    "LineVsRole",
    "Query",
    "Verdict",
    "as_judge",
    "load_judge",
    "register_judge",
]

JUDGES: Registry[Callable[..., Any]] = Registry(
    "judge",
    {
        "oracle": "persona_env.world.oracle:OracleJudge",
        "match": "persona_env.judges.match:MatchJudge",
        "recorded": "persona_env.judges.recorded:RecordedJudge.load",
        "hf": "persona_env.judges.label_prob_backend:hf_judge",
        "run": "persona_env.judges.label_prob_backend:trained_judge",
        "openai": "persona_env.judges.json_backend:openai_judge",
        "ensemble": "persona_env.judges:load_ensemble",
    },
)


def load_judge(spec: str | JudgeLike, *, prompts: str | Path | None = None) -> Judge:
    """Returns the judge that a spec names; an object with a method `judge(queries)` is taken as it is.

    Kinds are `oracle` (exact, for the embedded world), `match` (the gold text in the answer), `recorded:<log>`,
    `hf:<folder or hub id>` (by label probabilities; also `run:<run folder>`, and the bare path of either folder),
    `openai:<model>[@<base_url>]`, `ensemble:<spec>,<spec>,<spec>` (the majority), and those added by `register_judge`
    or an entry point of the group `persona_env.judges`.
    `prompts` is a folder with judge prompts for language models; ours if None. InputError if it cannot be loaded.
    """
    if not isinstance(spec, str):
        return as_judge(spec)
    spec = spec if spec.partition("?")[0].partition(":")[0] in JUDGES else path_spec(spec)
    kind, _, rest = spec.partition(":")
    if kind == "ensemble" and rest:  # the members have options of their own, so it is not parsed as one spec
        return load_ensemble(rest, prompts=prompts)
    return as_judge(JUDGES.make(spec, prompts=prompts))


def load_ensemble(members: str, *, prompts: str | Path | None = None) -> Ensemble:
    """Returns the ensemble of the judges in a comma-separated list of specs."""
    return Ensemble([load_judge(spec, prompts=prompts) for spec in member_specs(members, JUDGES.names())])


def register_judge(kind: str, factory: Callable[..., Any]) -> None:
    """Adds a kind of judge, the first word of its specs.

    The factory is called with the rest of the spec, if it takes one, and its options as keywords; one with a keyword
    `prompts` is for language models. A kind that there is already, or that is no word, is an `InputError`.
    """
    JUDGES.register(kind, factory)
