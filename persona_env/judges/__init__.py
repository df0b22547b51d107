"""Anything that judges: the four kinds of question, the verdict, and the `Judge` protocol.

Law 1: a reply that cannot be read is `invalid`: never consistent, never rewarded, always counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from persona_env.errors import InputError, shown_spec
from persona_env.judges.base import (
    AnswerVsGold,
    Judge,
    Label,
    LineVsHistory,
    LineVsPersona,
    LineVsPrevious,
    Query,
    Verdict,
)

__all__ = [
    "AnswerVsGold",
    "Judge",
    "Label",
    "LineVsHistory",
    "LineVsPersona",
    "LineVsPrevious",
    "Query",
    "Verdict",
    "load_judge",
]


def _oracle(rest: str, prompts: str | Path | None, patience: float) -> Judge:
    from persona_env.world.oracle import OracleJudge

    return OracleJudge()


def _recorded(rest: str, prompts: str | Path | None, patience: float) -> Judge:
    from persona_env.judges.recorded import RecordedJudge

    return RecordedJudge.load(rest)


def _hugging_face(rest: str, prompts: str | Path | None, patience: float) -> Judge:
    from persona_env.judges.label_prob_backend import LabelProbBackend
    from persona_env.judges.llm import LLMJudge
    from persona_env.judges.prompts import JudgePrompts

    texts = JudgePrompts.load(prompts)
    return LLMJudge(LabelProbBackend.load(rest), texts)


def _openai(rest: str, prompts: str | Path | None, patience: float) -> Judge:
    from persona_env.judges.json_backend import JSONBackend
    from persona_env.judges.llm import LLMJudge
    from persona_env.judges.prompts import JudgePrompts
    from persona_env.models.chat_api import ChatClient
    from persona_env.models.endpoint import Endpoint

    texts = JudgePrompts.load(prompts)
    return LLMJudge(JSONBackend(ChatClient(Endpoint.parse(rest), outage_timeout=patience)), texts)


def _committee(rest: str, prompts: str | Path | None, patience: float) -> Judge:
    from persona_env.judges.ensemble import Ensemble

    begin = "|".join(_KINDS)  # a comma may stand in a path too
    specs = [spec.strip() for spec in re.split(rf",(?=\s*(?:{begin})\b)", rest)]
    if any(spec.startswith("ensemble:") for spec in specs):
        raise InputError(
            f"Expected a ensemble of single judges, got '{shown_spec(rest)}': name all of them in one list."
        )
    return Ensemble([load_judge(spec, prompts=prompts, patience=patience) for spec in specs])


_KINDS: dict[str, Callable[[str, str | Path | None, float], Judge]] = {
    "oracle": _oracle,
    "recorded": _recorded,
    "hf": _hugging_face,
    "openai": _openai,
    "ensemble": _committee,
}
_PROMPTED = ("hf", "openai", "ensemble")


def load_judge(spec: str | Judge, *, prompts: str | Path | None = None, patience: float = 600.0) -> Judge:
    """Returns the judge that a spec names; a judge is returned as it is.

    Args:
        spec: `oracle` (exact, for the embedded world), `recorded:<log>` (verdicts from a log file),
            `hf:<folder or hub id>` (a local model, by label probabilities), `openai:<model>@<base_url>` (a model
            behind a server) or `ensemble:<spec>,<spec>,<spec>` (the majority of several judges).
        prompts: A folder with judge prompts, for judges that are language models; ours if None.
        patience: Seconds that a judge behind a server may be away before it raises `Unavailable`.

    Raises:
        ValueError: If the spec names no known kind of judge, or what it names cannot be loaded.
    """
    if not isinstance(spec, str):
        return spec
    kind, colon, rest = spec.partition(":")
    if kind not in _KINDS or bool(colon) == (kind == "oracle") or (colon and not rest):
        wanted = "oracle, recorded:<log>, hf:<model>, openai:<model>@<base_url> or ensemble:<spec>,<spec>"
        raise InputError(f"Expected a judge {wanted}, got '{shown_spec(spec)}': use one of these.")
    if prompts is not None and kind not in _PROMPTED:
        raise InputError(
            f"Expected judge prompts for a language model, got them for '{shown_spec(spec)}': leave them out."
        )
    return _KINDS[kind](rest, prompts, patience)
