"""What a training run is made of: one frozen record, from keywords, a TOML file, or the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from persona_env.algorithms import ALGORITHMS, Algorithm, load_algorithm
from persona_env.algorithms.ppo import PPO
from persona_env.errors import InputError, printable, shown
from persona_env.io.json_files import open_file
from persona_env.judges import JUDGES, member_specs
from persona_env.metrics import METRICS
from persona_env.persona import Persona
from persona_env.registry import Spec
from persona_env.roles import role_named
from persona_env.settings import Setting, check, settings_of
from persona_env.world.persona_space import check_readable

__all__ = [
    "CONTENTS",
    "REWARDS",
    "JudgeSettings",
    "RunConfig",
    "check_readers",
    "parse_budget",
    "parse_rewards",
    "read_config",
    "refuse_changes",
]

CONTENTS = "contents"
"""In `config.json`, besides the settings: digests of what paths and names in them stood for when the run began."""

REWARDS: Mapping[str, float] = {
    "prompt_to_line": 1.4,
    "line_to_line": 0.3,
    "question_answer": 0.8,
    "relevance": 1.0,
    "repetition": 0.6,
}
"""The default reward: the weight of each metric for a good line or a right answer."""


def parse_rewards(text: str) -> dict[str, float]:
    """Reads `name=weight,name=weight`.

    >>> parse_rewards("prompt_to_line=1,line_to_line=0.5")
    {'prompt_to_line': 1.0, 'line_to_line': 0.5}
    """
    rewards: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, weight = part.partition("=")
        try:
            rewards[name.strip()] = float(weight) if equals else 1.0
        except ValueError:
            raise InputError(
                f"Expected a number after {printable(name[:40])}=, got {shown(weight)}: give a weight such as 0.5."
            ) from None
    _check_rewards(rewards)
    return rewards


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """Who judges, and within which bounds: the same in every command that judges."""

    judge: Annotated[str, Setting("Who rewards and measures: oracle, match, hf:, openai:, recorded: or ensemble:.")] = (
        "oracle"
    )
    judge_prompts: Annotated[str, Setting("A folder of judge prompts to use instead of ours.")] = ""
    judge_cache: Annotated[str, Setting("A cache file of judge replies that runs share.", resumable=True)] = ""
    judge_budget: Annotated[str, Setting("Stop beyond this: calls=5000,tokens=2e6.", resumable=True)] = ""
    judge_calibration: Annotated[
        str, Setting("What `judge calibrate` wrote about this judge: a file or its folder.", resumable=True)
    ] = ""
    judge_outage_timeout: Annotated[
        float, Setting("Seconds to wait for a judge server that is down, then stop.", ge=0, resumable=True)
    ] = 600.0
    max_invalid: Annotated[
        float, Setting("Stop where a larger share of verdicts is invalid.", ge=0, le=1, resumable=True)
    ] = 0.01

    def __post_init__(self) -> None:
        check(self)
        parse_budget(self.judge_budget)

    @property
    def most_invalid(self) -> float:
        """`max_invalid`; 1 for the oracle, whose invalid verdicts tell of garbled lines: they cost what drift costs."""
        return 1.0 if self.judge == "oracle" else self.max_invalid


@dataclass(frozen=True, kw_only=True)
class RunConfig(JudgeSettings):
    """A training run. Each field's `Setting` says what it is for; the algorithm is a record of its own.

    On the command line, in TOML and in `config.json` all settings, the algorithm's too, stand in one flat table.

    >>> RunConfig(role="student", algorithm=PPO(kl_coef=0.2)).as_json()["kl_coef"]
    0.2
    """

    role: Annotated[str, Setting("Who is simulated: patient, student, chat_partner, or a path of a role.")] = "patient"
    simulator: Annotated[str, Setting("The model that learns: tiny, or hf:<folder or hub id>.")] = "tiny"
    task_agent: Annotated[str, Setting("The frozen other side: scripted, interview, hf: or openai:.")] = "scripted"
    personas: Annotated[str, Setting("bundled (the embedded world's), natural (real English), or a file.")] = "bundled"
    split: Annotated[str, Setting("Personas to measure on, dev while tuning.", choices=("heldout", "dev"))] = "heldout"
    rewards: Annotated[
        Mapping[str, float], Setting("Weight of each reward: prompt_to_line=1,line_to_line=0.5.", parse=parse_rewards)
    ] = field(default_factory=lambda: dict(REWARDS))
    algorithm: Algorithm = field(default_factory=PPO)
    seed: Annotated[int, Setting("Everything random in the run follows from it.", ge=0, lt=2**32)] = 0
    tokens: Annotated[int, Setting("Tokens to train on, rounded up to whole rollouts.", ge=1)] = 163_840
    lines: Annotated[int, Setting("The simulator's lines in a training dialogue.", ge=1)] = 8
    max_tokens: Annotated[int, Setting("Most tokens of a line.", ge=1)] = 24
    envs: Annotated[int, Setting("Training dialogues that run at once.", ge=1)] = 32
    dialogues: Annotated[int, Setting("Dialogues to measure, before and after, with as many lines.", ge=1)] = 128
    extended_dialogues: Annotated[int, Setting("Dialogues to measure with three times as many lines.", ge=0)] = 48
    threads: Annotated[
        int, Setting("Torch's CPU threads; the last bits depend on it. 0: 2 for tiny, else torch's choice.", ge=0)
    ] = 0
    dtype: Annotated[str, Setting("Precision of the simulator.", choices=("auto", "float32", "bfloat16"))] = "auto"
    load_in_4bit: Annotated[bool, Setting("Load the simulator in 4 bits (GPU, with --lora-rank).")] = False
    checkpoint_every: Annotated[int, Setting("Rollouts between two checkpoints.", ge=1, resumable=True)] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        role_named(self.role)
        _check_rewards(self.rewards)
        if self.load_in_4bit and not self.algorithm.trains_adapters:
            raise InputError(
                "Expected lora_rank >= 1 with load_in_4bit, got 0: 4-bit weights cannot be trained themselves."
            )

    def as_json(self) -> dict[str, Any]:
        """Returns all settings as one flat table of plain data."""
        named = {"rewards": dict(self.rewards), "algorithm": self.algorithm.name}
        return {**asdict(self), **named, **asdict(self.algorithm)}

    @classmethod
    def from_flat(cls, values: Mapping[str, Any], source: str | Path = "") -> RunConfig:
        """Returns the run of a flat table of settings; those left out have their defaults, `algorithm` is a spec.

        What is unknown or wrong is an `InputError` that names the source.
        """
        try:
            spec = values.get("algorithm", PPO.name)
            if not isinstance(spec, str):
                raise InputError(f"Expected a text as algorithm, got {shown(spec)}: name it, such as ppo.")
            known = [*settings_of(cls), "algorithm", *settings_of(ALGORITHMS[Spec.parse(spec).kind])]
            for name in values:
                if name not in (*known, CONTENTS):
                    listed = ", ".join(known)
                    raise InputError(f"Expected settings among {listed}, got {shown(name)}: remove or rename it.")
            own = {name: value for name, value in values.items() if name in settings_of(cls)}
            others = {name: value for name, value in values.items() if name in known and name not in own}
            others.pop("algorithm", None)
            return cls(**own, algorithm=load_algorithm(spec, **others))
        except InputError as error:
            if not source:
                raise
            raise InputError(f"{error} (in {printable(str(source))})") from None

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str | Path) -> RunConfig:
        """Returns the run that `as_json` gave; settings of another version are refused."""
        found = cls.from_flat(values, source)
        if missing := sorted(found.as_json().keys() - values.keys()):
            others = ", ".join(map(shown, missing[:9]))
            raise InputError(
                f"Expected the settings of this version in {printable(str(source))}, got none of {others}: "
                "go on with the version that began the run."
            )
        return found

    def resumed(self, given: Mapping[str, Any]) -> RunConfig:
        """Returns these settings of a run that has begun, with those given now that may differ; see `refuse_changes`.

        >>> RunConfig(seed=3).resumed({"seed": 3, "checkpoint_every": 9}).checkpoint_every
        9
        """
        was, settings = self.as_json(), {**settings_of(RunConfig), **settings_of(type(self.algorithm))}
        refuse_changes(was, given, [name for name, setting in settings.items() if setting.resumable])
        return RunConfig.from_flat({**was, **given})


def refuse_changes(was: Mapping[str, Any], given: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """Refuses (InputError) settings given now that are not those a run began with, except the `free` ones."""
    changed = [name for name, value in given.items() if name not in free and value != was.get(name)]
    if changed:
        told = ", ".join(f"{name}: was {was.get(name)!r}, is {given[name]!r}" for name in changed)
        raise InputError(f"Expected the settings that the run began with, got {told}: leave these out or begin anew.")


def _check_rewards(rewards: Mapping[str, float]) -> None:
    if not rewards:
        raise InputError("Expected at least one reward, got none: give name=weight, such as prompt_to_line=1.")
    for name, weight in rewards.items():
        if name not in METRICS:
            known = ", ".join(METRICS)
            raise InputError(f"Expected a reward among {known}, got {shown(name)}: choose one of these.")
        if not (isinstance(weight, int | float) and abs(weight) < 10**15):
            raise InputError(f"Expected a finite weight for {name}, got {shown(weight)}: give a number such as 0.5.")


def check_readers(personas: Sequence[Persona], judge: str, simulators: Iterable[str]) -> None:
    """Raises InputError if somebody who reads the embedded world's grammar only is to read other personas."""
    judges = member_specs(judge.removeprefix("ensemble:"), [*JUDGES])
    kinds = {Spec.parse(spec).kind for spec in (*judges, *simulators)}
    for reader in sorted(kinds & {"oracle", "tiny"}):
        check_readable(personas, reader)


def parse_budget(text: str) -> dict[str, int]:
    """Reads `calls=5000,tokens=2e6`, or either of the two; a number alone counts calls.

    >>> parse_budget("calls=5000, tokens=2e6"), parse_budget("300")
    ({'calls': 5000, 'tokens': 2000000}, {'calls': 300})
    """
    budget: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.rpartition("=")
        name = name.strip() or "calls"
        try:
            budget[name] = int(float(number))
        except (ValueError, OverflowError):
            budget[name] = 0
        if name not in ("calls", "tokens") or budget[name] < 1:
            raise InputError(
                f"Expected a budget such as calls=5000,tokens=2e6, got {shown(part)}: give calls, tokens or both."
            )
    return budget


def read_config(path: str | Path) -> dict[str, Any]:
    """Reads a flat table of settings, as `RunConfig.from_flat` takes it, from a TOML file; errors name the file."""
    with open_file(path, "name a TOML file of settings") as file:
        try:
            values = tomllib.load(file)
        except (RecursionError, ValueError) as error:
            place, why = printable(str(path)), printable(str(error))[:200]
            raise InputError(f"Expected a TOML file of settings at {place}, got {why}: check the file.") from None
    RunConfig.from_flat(values, path)
    return values
