"""Anything that judges: the four kinds of question, the verdict, and the `Judge` protocol.

Law 1: a reply that cannot be read is `invalid`: never consistent, never rewarded, always counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from persona_env.logs.nodes import shown_spec
from persona_env.persona import Persona

__all__ = [
    "AnswerVsGold",
    "Judge",
    "Label",
    "LineVsHistory",
    "LineVsPersona",
    "LineVsPrevious",
    "Question",
    "Verdict",
    "load_judge",
]

Label = Literal["consistent", "inconsistent", "invalid"]


@dataclass(frozen=True, slots=True)
class LineVsPersona:
    """Prompt-to-line: does the line contradict the persona, given what was just heard?"""

    persona: Persona
    line: str
    heard: str = ""


@dataclass(frozen=True, slots=True)
class LineVsHistory:
    """Line-to-line: which of the speaker's own earlier lines does the line conflict with?"""

    role: str
    line: str
    earlier: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerVsGold:
    """Question-answer: does the answer agree with the gold answer?"""

    role: str
    question: str
    gold: str
    answer: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineVsPrevious:
    """Relevance: does the line respond to what was just heard, or openly decline to?"""

    persona: Persona
    heard: str
    line: str


Question: TypeAlias = LineVsPersona | LineVsHistory | AnswerVsGold | LineVsPrevious


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says to one question.

    Attributes:
        label: `consistent` (good: no contradiction, right answer, relevant), `inconsistent` or `invalid`.
        conflicts: For `LineVsHistory`: indices into `earlier` of the lines in conflict, ascending.
        reason: Why, in words; may be empty.
        probability: The judge's probability of `consistent` in [0, 1], where it gives one.
        raw: The judge's reply as it came.
        lost: Whether it is invalid because no reply came (an outage, a wrong key): to ask again may help, so it is
            kept nowhere. Two verdicts that differ in this alone are equal.
    """

    label: Label
    conflicts: tuple[int, ...] = ()
    reason: str = ""
    probability: float | None = None
    raw: str = ""
    lost: bool = field(default=False, compare=False, repr=False)

    @property
    def value(self) -> float:
        """1.0 for consistent, 0.0 for inconsistent, nan for invalid."""
        return {"consistent": 1.0, "inconsistent": 0.0, "invalid": float("nan")}[self.label]


@runtime_checkable
class Judge(Protocol):
    """Anything that judges.

    A judge that spends its time waiting, for a server above all, may say so by an attribute `waits` that is
    true. The rewards around vector environments then ask it in a thread of their own while the task agent
    replies: one call at a time, as ever, and none once `step` is over. It may have a method `interrupt()`
    beside it, which makes the call of `judge` that goes on in another thread raise soon (and does nothing if
    none goes on); without one, whoever wants to end the step has to wait for the judge. A judge around others
    (`wrapped`, `asker`, `client` or `members`) need have neither: see `judges.waiting`.
    """

    def judge(self, questions: Sequence[Question]) -> list[Verdict]:
        """Returns a verdict for each question, in order; one batched call for all of them."""
        ...


def _oracle(rest: str, prompts: str | Path | None, patience: float) -> Judge:
    from persona_env.judges.oracle import OracleJudge

    return OracleJudge()


def _recorded(rest: str, prompts: str | Path | None, patience: float) -> Judge:
    from persona_env.judges.recorded import RecordedJudge

    return RecordedJudge.load(rest)


def _hugging_face(rest: str, prompts: str | Path | None, patience: float) -> Judge:
    from persona_env.judges.llm import LLMJudge
    from persona_env.judges.local import LocalAsker
    from persona_env.judges.prompting import JudgePrompts

    texts = JudgePrompts.load(prompts)
    return LLMJudge(LocalAsker.load(rest), texts)


def _openai(rest: str, prompts: str | Path | None, patience: float) -> Judge:
    from persona_env.judges.llm import LLMJudge
    from persona_env.judges.prompting import JudgePrompts
    from persona_env.judges.remote import RemoteAsker
    from persona_env.remote.client import ChatClient
    from persona_env.remote.endpoint import Endpoint

    texts = JudgePrompts.load(prompts)
    return LLMJudge(RemoteAsker(ChatClient(Endpoint.parse(rest), patience=patience)), texts)


def _committee(rest: str, prompts: str | Path | None, patience: float) -> Judge:
    from persona_env.judges.committee import Committee

    begin = "|".join(_KINDS)  # a comma may stand in a path too
    specs = [spec.strip() for spec in re.split(rf",(?=\s*(?:{begin})\b)", rest)]
    if any(spec.startswith("committee:") for spec in specs):
        raise ValueError(
            f"Expected a committee of single judges, got '{shown_spec(rest)}': name all of them in one list."
        )
    return Committee([load_judge(spec, prompts=prompts, patience=patience) for spec in specs])


_KINDS: dict[str, Callable[[str, str | Path | None, float], Judge]] = {
    "oracle": _oracle,
    "recorded": _recorded,
    "hf": _hugging_face,
    "openai": _openai,
    "committee": _committee,
}
_PROMPTED = ("hf", "openai", "committee")


def load_judge(spec: str | Judge, *, prompts: str | Path | None = None, patience: float = 600.0) -> Judge:
    """Returns the judge that a spec names; a judge is returned as it is.

    Args:
        spec: `oracle` (exact, for the embedded world), `recorded:<log>` (verdicts from a log file),
            `hf:<folder or hub id>` (a local model, by label probabilities), `openai:<model>@<base_url>` (a model
            behind a server) or `committee:<spec>,<spec>,<spec>` (the majority of several judges).
        prompts: A folder with judge prompts, for judges that are language models; ours if None.
        patience: Seconds that a judge behind a server may be away before it raises `Unavailable`.

    Raises:
        ValueError: If the spec names no known kind of judge, or what it names cannot be loaded.
    """
    if not isinstance(spec, str):
        return spec
    kind, colon, rest = spec.partition(":")
    if kind not in _KINDS or bool(colon) == (kind == "oracle") or (colon and not rest):
        wanted = "oracle, recorded:<log>, hf:<model>, openai:<model>@<base_url> or committee:<spec>,<spec>"
        raise ValueError(f"Expected a judge {wanted}, got '{shown_spec(spec)}': use one of these.")
    if prompts is not None and kind not in _PROMPTED:
        raise ValueError(
            f"Expected judge prompts for a language model, got them for '{shown_spec(spec)}': leave them out."
        )
    return _KINDS[kind](rest, prompts, patience)
