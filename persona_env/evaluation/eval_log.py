"""The evaluation log: one versioned record, written by `train` and `bench` alike; what is shown is a function of it.

The file `eval.jsonl` holds a line of type `header`; then for each arm (a simulator, or one stage of a training run) a
line of type `arm`, its personas that are new (type `persona`), and a line of type `sample` for each dialogue: its
messages, the answers to its probes, and every verdict whole, by metric. A field that holds its default is left out.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from os.path import expanduser
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import msgspec

from persona_env.conversation import Conversation
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.io import LoggedDialogue, LoggedReply
from persona_env.io.atomic import record_fields, write_jsonl
from persona_env.io.json_files import FileError, converted, json_lines
from persona_env.judges.base import Verdict
from persona_env.metrics import Answer, Metric, load_metric
from persona_env.persona import Persona
from persona_env.roles import BUNDLED, ROLES, Role, register_role, role_named

__all__ = [
    "FILE",
    "FORMAT",
    "Arm",
    "EvalLog",
    "Header",
    "JudgeInfo",
    "MetricInfo",
    "Sample",
    "load_eval_log",
    "logged_dialogues",
    "metric_infos",
    "save_eval_log",
]

FILE = "eval.jsonl"
FORMAT = "persona-env/eval-v1"

_PACKAGES = ("persona-env", "gymnasium", "numpy", "torch", "transformers", "stable-baselines3", "trl")


@dataclass(frozen=True, slots=True)
class Sample:
    """One dialogue of an evaluation, the answers to its probes, which left no trace in it, and its verdicts.

    There is for each metric one verdict per line of the simulator or, as it says, per answer.
    """

    conversation: Conversation
    answers: tuple[Answer, ...] = ()
    verdicts: Mapping[str, tuple[Verdict, ...]] = field(default_factory=dict[str, tuple[Verdict, ...]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One simulator on one suite; `simulator` is its spec.

    In a benchmark `name` is the spec, in a training run the stage: `before`, `before_extended`, `after`,
    `after_extended`, `train_personas` or `drift_free`.
    """

    name: str
    simulator: str
    suite: EvalSuite
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What `Metric` says of itself; stored, so that a log can be read without the metric's plug-in."""

    name: str
    title: str
    mark: str
    group: Literal["drift", "guard"]
    shows: Literal["good", "bad"]
    is_judged: bool
    unit: Literal["lines", "answers"] = "lines"

    @classmethod
    def of(cls, metric: Metric) -> MetricInfo:
        """Returns what is known of a metric."""
        return cls(*(getattr(metric, item.name) for item in fields(cls)))


def metric_infos(suite: EvalSuite) -> tuple[MetricInfo, ...]:
    """Returns what is known of a suite's metrics."""
    return tuple(MetricInfo.of(load_metric(spec)) for spec in suite.metrics)


@dataclass(frozen=True, slots=True)
class JudgeInfo:
    """Who judged: its spec, all that can change a verdict, and whether it is exact or was found usable.

    `canaries`, queries with known answers, were `mixed in`, `not needed` for an exact judge, or `none` could be made.
    """

    spec: str
    identity: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_calibrated: bool = False
    canaries: str = ""


@dataclass(frozen=True, slots=True)
class _RoleTexts:
    simulator: str
    task: str
    task_prompt: str
    instruction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What holds for all arms of an evaluation; `metrics` stand in the order of tables.

    `config` are all settings of the command; `versions` Python's, the platform's, and those of packages that matter;
    `role_texts` those of a role that is not built in, by which a reader knows it.
    """

    command: str  # train or bench
    role: str
    seed: int
    judge: JudgeInfo
    metrics: tuple[MetricInfo, ...]
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    created: str = ""  # in UTC
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    role_texts: _RoleTexts | None = None

    @classmethod
    def now(cls, command: str, suite: EvalSuite, judge: JudgeInfo, config: Mapping[str, Any]) -> Header:
        """Returns the header of an evaluation that begins now, in this installation."""
        return cls(
            command=command,
            role=suite.role,
            seed=suite.seed,
            judge=judge,
            metrics=metric_infos(suite),
            config=config,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=_versions(),
            role_texts=_role_texts(suite.role),
        )


def _role_texts(key: str) -> _RoleTexts | None:
    role = role_named(key)
    return None if key in BUNDLED else _RoleTexts(role.simulator, role.task, role.task_prompt, role.instruction)


def _versions() -> dict[str, str]:
    found = {d.name.lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()}
    versions = {name: found[name] for name in _PACKAGES if name in found}
    return {"python": platform.python_version(), "platform": platform.platform(), **versions}


@dataclass(frozen=True, slots=True)
class EvalLog:
    """The record of an evaluation: its header, and the arms that are finished, in order."""

    header: Header
    arms: tuple[Arm, ...] = ()

    def arm(self, name: str) -> Arm | None:
        """Returns the arm of that name, or None if it is not finished."""
        return next((arm for arm in self.arms if arm.name == name), None)

    def with_arm(self, arm: Arm) -> EvalLog:
        """Returns the log with one more arm."""
        return replace(self, arms=(*self.arms, arm))


class _Header(msgspec.Struct, tag="header"):
    format: Literal["persona-env/eval-v1"]
    header: Header


class _Arm(msgspec.Struct, tag="arm"):
    name: str
    simulator: str
    suite: EvalSuite


class _Persona(msgspec.Struct, tag="persona"):
    persona: Persona


class _Sample(msgspec.Struct, tag="sample"):
    persona: str
    conversation: dict[str, Any]
    answers: tuple[Answer, ...] = ()
    verdicts: dict[str, tuple[Verdict, ...]] = {}


_Line: TypeAlias = _Header | _Arm | _Persona | _Sample
_LINE = cast("type[_Line]", _Line)


def save_eval_log(path: str | Path, log: EvalLog) -> None:
    """Writes an evaluation log whole; where there is no room (CannotWrite), what stood there stays."""
    write_jsonl(path, _rows(log))


def _rows(log: EvalLog) -> Iterator[dict[str, Any]]:
    yield {"type": "header", "format": FORMAT, "header": log.header}
    written = dict[str, Persona]()
    for arm in log.arms:
        yield {"type": "arm", "name": arm.name, "simulator": arm.simulator, "suite": arm.suite}
        for sample in arm.samples:
            persona = sample.conversation.persona
            if written.get(persona.id) != persona:
                written[persona.id] = persona
                yield {"type": "persona", "persona": persona}
            talk = cast("dict[str, Any]", record_fields(sample.conversation))
            del talk["persona"]
            rest = {"answers": sample.answers, "verdicts": dict(sample.verdicts)}
            yield {"type": "sample", "persona": persona.id, "conversation": talk, **rest}


def load_eval_log(path: str | Path) -> EvalLog:
    """Returns the evaluation log of a file, or of a run folder that holds one; what is none is an `InputError`."""
    file = Path(expanduser(path))
    file = file / FILE if file.is_dir() else file
    header: Header | None = None
    arms, personas = list[tuple[_Arm, list[Sample]]](), dict[str, Persona]()
    for place, line in json_lines(file, _LINE):
        if (header is None) != isinstance(line, _Header):
            raise FileError(f"Expected one header, on the first line, got another order at {place}: write it again.")
        match line:
            case _Header():
                header = line.header
                if header.role not in ROLES and header.role_texts:
                    register_role(Role(header.role, **asdict(header.role_texts)))
            case _Arm():
                arms.append((line, []))
            case _Persona():
                personas[line.persona.id] = line.persona
            case _Sample():
                if not arms or line.persona not in personas:
                    raise FileError(
                        f"Expected an arm and a persona before the sample at {place}, got none: write it again."
                    )
                talk = converted({**line.conversation, "persona": personas[line.persona]}, Conversation, place)
                arms[-1][1].append(Sample(talk, line.answers, line.verdicts))
    if header is None:
        raise FileError(f"Expected an evaluation log at {file}, got an empty file: name another.")
    found = (Arm(name=a.name, simulator=a.simulator, suite=a.suite, samples=tuple(samples)) for a, samples in arms)
    return EvalLog(header, tuple(found))


def logged_dialogues(log: EvalLog | str | Path) -> Iterator[LoggedDialogue]:
    """Yields the dialogues of an evaluation log as dialogue logs hold them; ids are `<arm>/<persona id>`."""
    log = log if isinstance(log, EvalLog) else load_eval_log(log)
    judged = [metric for metric in log.header.metrics if metric.is_judged]
    for arm in log.arms:
        for sample in arm.samples:
            talk = sample.conversation
            yield LoggedDialogue.of(replace(talk, id=f"{arm.name}/{talk.persona.id}"), _replies(sample, judged))


def _replies(sample: Sample, judged: Sequence[MetricInfo]) -> Iterator[LoggedReply]:
    """Yields the verdicts of judged metrics, where there was anything to judge or a judge found that there was not."""
    places = [place for place, message in enumerate(sample.conversation.messages) if message.side == "simulator"]
    for metric in judged:
        of_answers = metric.unit == "answers"
        lines = [places[answer.line_index] for answer in sample.answers] if of_answers else places
        for number, (line, v) in enumerate(zip(lines, sample.verdicts[metric.name], strict=True)):
            if not (v.applies or v.is_asked):
                continue
            asked: dict[str, Any] = {"applies": v.applies}
            if of_answers:
                probe, text = sample.answers[number].probe, sample.answers[number].text
                asked |= dict(question=probe.text, gold=probe.gold, answer=text, choices=probe.choices)
            yield LoggedReply(metric.name, line, v.raw, v.label, v.conflicts, v.reason, v.probability, **asked)
