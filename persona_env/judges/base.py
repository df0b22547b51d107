"""What every judge is: the six kinds of query, the verdict, and the base class `Judge`."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import astuple, dataclass
from typing import Any, Literal, Protocol, TypeAlias

from persona_env.errors import InputError, shown
from persona_env.models.limits import ModelResources, Usage
from persona_env.persona import Persona

__all__ = [
    "AnswerVsGold",
    "Judge",
    "JudgeLike",
    "Label",
    "LineVsHistory",
    "LineVsPersona",
    "LineVsPrevious",
    "LineVsQuestion",
    "LineVsRole",
    "ModelUser",
    "Query",
    "Verdict",
    "VerdictCounts",
    "as_judge",
    "ask",
    "query_key",
]

Label = Literal["consistent", "inconsistent", "undecided", "invalid"]


@dataclass(frozen=True, slots=True)
class LineVsPersona:
    """Prompt-to-line: does the line contradict the persona, given what was just said to the speaker?"""

    persona: Persona
    line: str
    heard: str = ""

    @property
    def role(self) -> str:
        """The key of the speaker's role."""
        return self.persona.role


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
class _Reply:
    """A line of somebody, and what they had just heard."""

    persona: Persona
    heard: str
    line: str

    @property
    def role(self) -> str:
        """The key of the speaker's role."""
        return self.persona.role


@dataclass(frozen=True, slots=True)
class LineVsPrevious(_Reply):
    """Relevance: does the line respond to what was just said to the speaker, or openly decline to?"""


@dataclass(frozen=True, slots=True)
class LineVsQuestion(_Reply):
    """Evasion: if what was just said asks for something that the persona states, does the line answer it?

    A verdict where it asks for nothing, or for what the persona does not state, does not apply.
    """


@dataclass(frozen=True, slots=True)
class LineVsRole(_Reply):
    """Role flip: does the line stay the speaker's own, and not the other side's or a language model's?"""


Query: TypeAlias = LineVsPersona | LineVsHistory | AnswerVsGold | LineVsPrevious | LineVsQuestion | LineVsRole


def query_key(query: Query) -> tuple[str | tuple[str, ...], ...]:
    """Returns the texts that make two queries the same, whatever persona object they came from."""
    match query:
        case LineVsPersona(persona, line, heard):
            return "prompt_to_line", persona.prompt, line, heard
        case LineVsHistory(_, line, earlier):
            return "line_to_line", line, earlier
        case AnswerVsGold(_, question, gold, answer):
            return "question_answer", question, gold, answer
        case LineVsPrevious(_, heard, line):
            return "relevance", heard, line
        case LineVsQuestion(persona, heard, line):
            return "evasion", persona.prompt, heard, line
        case LineVsRole(persona, heard, line):
            return "role_flip", persona.prompt, heard, line


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's answer to one query; `consistent` is good: no contradiction, right answer, relevant.

    `undecided` is an answer that contradicts itself, `invalid` one that cannot be read or never came.
    """

    label: Label
    conflicts: tuple[int, ...] = ()  # for `LineVsHistory`: indices into `earlier` of the lines in conflict, ascending
    reason: str = ""
    probability: float | None = None  # of `consistent`, in [0, 1], where the judge gives one
    raw: str = ""  # the judge's reply as it came
    is_asked: bool = True  # whether a judge was asked; else a rule or the text alone settled it
    applies: bool = True  # whether there was anything to judge; else it counts nowhere (no question, so none dodged)

    @property
    def value(self) -> float:
        """1.0 for consistent, 0.0 for inconsistent, nan for any other, and where there was nothing to judge."""
        return {"consistent": 1.0, "inconsistent": 0.0}.get(self.label, math.nan) if self.applies else math.nan


@dataclass(frozen=True, slots=True)
class VerdictCounts:
    """How many verdicts decide (`judged`), are `undecided` or `invalid`, and how many of all a judge was `asked` for.

    A verdict where there was nothing to judge counts nowhere; one that is invalid was asked for.

    >>> first, rest = Verdict("consistent", is_asked=False, applies=False), Verdict("undecided")
    >>> VerdictCounts.of([first, rest]) + VerdictCounts.of([Verdict("inconsistent", is_asked=False)])
    VerdictCounts(judged=1, undecided=1, invalid=0, asked=1)
    """

    judged: int = 0
    undecided: int = 0
    invalid: int = 0
    asked: int = 0

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> VerdictCounts:
        """Returns the counts of these verdicts."""
        applying = [verdict for verdict in verdicts if verdict.applies]
        undecided, invalid = (sum(v.label == label for v in applying) for label in ("undecided", "invalid"))
        asked = sum(verdict.is_asked or verdict.label == "invalid" for verdict in applying)
        return cls(len(applying) - undecided - invalid, undecided, invalid, asked)

    def __add__(self, other: VerdictCounts) -> VerdictCounts:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return VerdictCounts(*(one + more for one, more in pairs))

    def __sub__(self, other: VerdictCounts) -> VerdictCounts:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return VerdictCounts(*(one - less for one, less in pairs))


class JudgeLike(Protocol):
    """Anything with a method `judge`: taken wherever a judge is."""

    def judge(self, queries: Sequence[Query], /) -> list[Verdict]:
        """Returns a verdict for each query, in order."""
        ...


class ModelUser:
    """What asks language models, itself or through its `parts`, to which it passes on what it does not do itself."""

    is_remote: bool = False  # its work is mostly waiting for a server
    parts: tuple[Any, ...] = ()  # the judges, backends or clients that it asks

    @property
    def usage(self) -> Usage:
        """What its models have used so far."""
        return sum((part.usage for part in self.parts), Usage())

    def use(self, resources: ModelResources) -> None:
        """Attaches caches and limits to its models."""
        for part in self.parts:
            part.use(resources)

    def cancel(self) -> None:
        """Makes calls that wait for a server in other threads raise soon."""
        for part in self.parts:
            part.cancel()

    def close(self) -> None:
        """Ends connections and closes files."""
        for part in self.parts:
            part.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.parts))})"


class Judge(ModelUser, ABC):
    """Base class of judges; only `judge` must be written.

    >>> class Strict(Judge):
    ...     def judge(self, queries):
    ...         return [Verdict("inconsistent") for _ in queries]
    >>> Strict().submit([LineVsHistory("patient", "Hello.", ())]).result()[0].label
    'inconsistent'
    """

    is_exact: bool = False  # its verdicts follow from a rule or a record: it needs no calibration and no canaries

    @abstractmethod
    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        """Returns a verdict for each query, in order; one batched call for all of them."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that can change a verdict, as plain data."""
        return {"judge": f"{type(self).__module__}.{type(self).__qualname__}"}

    def submit(self, queries: Sequence[Query]) -> Future[list[Verdict]]:
        """Begins to judge; the future has the verdicts, or what `judge` raised.

        Remote judges work in a thread, one call after the other; if the one before fails, this one is cancelled.
        """
        if self.is_remote:
            return _in_thread(self, queries)
        future: Future[list[Verdict]] = Future()
        try:
            future.set_result(self.judge(queries))
        except Exception as error:
            future.set_exception(error)
        return future

    def __deepcopy__(self, memo: dict[int, Any]) -> Judge:
        return self  # an environment's spec copies its arguments; a model or a connection must not be copied


_previous: Future[list[Verdict]] | None = None


def _in_thread(judge: Judge, queries: Sequence[Query]) -> Future[list[Verdict]]:
    global _previous
    future: Future[list[Verdict]] = Future()
    before, _previous = _previous if _previous and not _previous.done() else None, future

    def work() -> None:
        if before is not None:
            wait([before])
            if before.cancelled() or before.exception():
                future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(judge.judge(queries))
        except BaseException as error:  # raised again where the verdicts are collected
            future.set_exception(error)

    threading.Thread(target=work, name="persona-env judging", daemon=True).start()
    return future


class _Adapted(Judge):
    """An object with a method `judge` in the form of a `Judge`."""

    def __init__(self, inner: JudgeLike):
        self.inner = inner

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"judge": f"{type(self.inner).__module__}.{type(self.inner).__qualname__}"}

    def judge(self, queries: Sequence[Query]) -> list[Verdict]:
        return self.inner.judge(queries)

    def __repr__(self) -> str:
        return repr(self.inner)


def as_judge(judge: JudgeLike) -> Judge:
    """Returns a judge, or any other object with a method `judge(queries)`, as a `Judge`; else raises InputError."""
    if isinstance(judge, Judge):
        return judge
    if not callable(getattr(judge, "judge", None)):
        raise InputError(f"Expected a judge or its spec, got {shown(judge)}: give it a method judge(queries).")
    return _Adapted(judge)


def ask(judge: Judge, queries: Sequence[Query]) -> list[Verdict]:
    """Returns the verdicts of a judge, one for each query; another number of them raises InputError."""
    verdicts = judge.judge(queries)
    if len(verdicts) != len(queries):
        raise InputError(
            f"Expected {len(queries)} verdicts, got {len(verdicts)} from {shown(judge)}: answer each query, in order."
        )
    return verdicts
