"""What a training run is made of: one frozen record, from keywords, a TOML file, or the command line."""

from __future__ import annotations

from persona_env.errors import InputError

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persona_env.io.json_files import FileError, open_file
from persona_env.errors import printable, shown
from persona_env.roles import role_named

__all__ = [
    "ALGORITHMS",
    "RESUMABLE_FIELDS",
    "REWARDS",
    "RunConfig",
    "check_understanding",
    "parse_budget",
    "parse_rewards",
    "read_config",
]

ALGORITHMS = ("ppo", "a2c")

REWARDS: Mapping[str, float] = {
    "prompt_to_line": 1.4,
    "line_to_line": 0.3,
    "question_answer": 0.8,
    "relevance": 1.0,
    "repetition": 0.6,
}
"""The default reward: what is paid for a good line (and for a right answer), by drift type."""

RESUMABLE_FIELDS = ("judge_budget", "judge_cache", "judge_calibration", "judge_patience", "checkpoint_every", "max_invalid")
"""RunConfig that change no figure of a run; they may be others when it is resumed."""

_FROM_ZERO = ("seed", "extended_dialogues", "threads", "kl_coef")
_FROM_ZERO += ("lora_rank", "lora_alpha", "micro_batch", "judge_patience")

_MOST = 10**15
_SEEDS = 2**32
"""NumPy's old generators, which stable-baselines3 seeds too, take no larger ones."""

_REWARD_NAMES = (
    "prompt_to_line",
    "line_to_line",
    "question_answer",
    "relevance",
    "copying",
    "repetition",
)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A training run.

    Attributes:
        role: Who is simulated.
        simulator: Spec of the model that learns.
        judge: Spec of the judge that pays and measures.
        rewards: Weight of each reward, by metric name; a penalty's weight is positive too.
        algorithm: `ppo` or `a2c`.
        seed: Everything random in the run follows from it.
        lines: The trained length: the simulator's lines in a dialogue.
        tokens: The learner's tokens in all; rounded up to whole rollouts.
        envs: Dialogues played at once.
        steps: Tokens of each dialogue in a rollout.
        batch: Tokens in a minibatch, about (trajectories stay whole).
        epochs: Passes over each rollout (PPO).
        learning_rate: Adam's step size at the start; it falls linearly to a tenth.
        kl_coef: Price of a nat of log pi - log ref, in reward units; 0 means no leash.
        line_gamma: Discount from a line to the next, in [0, 1].
        line_lambda: The trace's decay from a line to the next, in [0, 1].
        max_tokens: Bound on a line's tokens.
        personas: `bundled` (the embedded world's), `natural` (real English) or a file of personas.
        task_agent: Spec of the frozen other side.
        split: The personas on which the run is measured: `heldout`, or `dev` while tuning.
        dialogues: Held-out dialogues of the trained length, before and after.
        extended_dialogues: Held-out dialogues of three times that length; 0 leaves them out.
        threads: Torch's threads; 0 leaves torch's choice.
        dtype: The simulator's numbers: `auto`, `float32` or `bfloat16`.
        load_in_4bit: Its frozen weights in 4 bits (with adapters only).
        lora_rank: Width of the adapters that are trained instead of the weights; 0 trains the weights.
        lora_alpha: Their scale; 0 for twice the rank.
        lora_targets: The layers that get adapters: `all-linear` or names with commas between.
        micro_batch: Tokens of one pass of an update, at most; 0 for no bound but the batch.
        gradient_checkpointing: Whether each layer is run again in the backward pass instead of kept.
        judge_prompts: A folder of judge prompts; "" for our own.
        judge_cache: A file of verdicts that runs share; "" for none.
        judge_budget: What the judge may be asked in all, such as `calls=5000,tokens=2e6`; "" for no bound.
        judge_calibration: What `judge calibrate` wrote about this judge, a file or its folder; "" for none.
        judge_patience: Seconds that a judge behind a server may be away before the run stops in order.
        checkpoint_every: Rollouts from a checkpoint to the next.
        max_invalid: The largest share of verdicts that cannot be read, in [0, 1]; more ends the run.

    >>> RunConfig(role="student", seed=3).role
    'student'
    """

    role: str = "patient"
    simulator: str = "tiny"
    judge: str = "oracle"
    rewards: Mapping[str, float] = field(default_factory=lambda: dict(REWARDS))
    algorithm: str = "ppo"
    seed: int = 0
    lines: int = 8
    tokens: int = 163_840
    envs: int = 32
    steps: int = 128
    batch: int = 1024
    epochs: int = 1
    learning_rate: float = 1.5e-3
    kl_coef: float = 0.11
    line_gamma: float = 0.25
    line_lambda: float = 0.8
    max_tokens: int = 24
    personas: str = "bundled"
    task_agent: str = "scripted"
    split: str = "heldout"
    dialogues: int = 128
    extended_dialogues: int = 48
    threads: int = 2
    dtype: str = "auto"
    load_in_4bit: bool = False
    lora_rank: int = 0
    lora_alpha: float = 0.0
    lora_targets: str = "all-linear"
    micro_batch: int = 0
    gradient_checkpointing: bool = False
    judge_prompts: str = ""
    judge_cache: str = ""
    judge_budget: str = ""
    judge_calibration: str = ""
    judge_patience: float = 600.0
    checkpoint_every: int = 4
    max_invalid: float = 0.01

    def __post_init__(self) -> None:
        role_named(self.role)
        self._check_numbers()
        if self.algorithm not in ALGORITHMS:
            raise InputError(f"Expected algorithm ppo or a2c, got {self.algorithm!r}: choose one of these.")
        for name in (
            "lines",
            "tokens",
            "envs",
            "steps",
            "batch",
            "epochs",
            "max_tokens",
            "dialogues",
            "checkpoint_every",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"Expected {name} >= 1, got {getattr(self, name)}: give at least one.")
        for name in ("line_gamma", "line_lambda", "max_invalid"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"Expected {name} in [0, 1], got {getattr(self, name)}: give a share.")
        for name in _FROM_ZERO:
            if not getattr(self, name) >= 0:
                raise InputError(f"Expected {name} >= 0, got {getattr(self, name)}: give 0 or more.")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"Expected learning_rate > 0, got {self.learning_rate}: give a small step size.")
        _check_rewards(self.rewards)
        parse_budget(self.judge_budget)

    def _check_numbers(self) -> None:
        """Checks what no number or text may be, whatever it stands for."""
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and abs(value) >= _MOST:
                raise InputError(f"Expected {name} below {_MOST:.0e}, got {shown(value)}: give a smaller one.")
            if isinstance(value, str) and ("\x00" in value or any(0xD800 <= ord(c) <= 0xDFFF for c in value)):
                raise InputError(f"Expected a text as {name}, got {shown(value)}: give one that UTF-8 can hold.")
        if not self.seed < _SEEDS:
            raise InputError(f"Expected seed < {_SEEDS}, got {self.seed}: give a smaller one.")

    @property
    def rollouts(self) -> int:
        """Whole rollouts that hold `tokens`."""
        return math.ceil(self.tokens / (self.envs * self.steps))

    def learning_rate_at(self, left: float) -> float:
        """Returns the step size when a share `left` of the run, in [0, 1], is still to come."""
        return self.learning_rate * max(left, 0.1)

    def as_json(self) -> dict[str, Any]:
        """Returns the settings as plain data."""
        return {**dataclasses.asdict(self), "rewards": dict(self.rewards)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str | Path) -> RunConfig:
        """Returns the settings that `as_json` gave.

        Raises:
            ValueError: If they are those of another version, or wrong; the source is named.
        """
        odd, place = sorted(values.keys() ^ cls.__dataclass_fields__.keys()), printable(str(source))
        if odd:
            others = ", ".join(map(shown, odd[:9]))
            raise InputError(
                f"Expected the settings of this version in {place}, got others ({others}): "
                "go on with the version that began the run."
            )
        _check_types(values, source)
        return cls(**values)

    def resumed(self, given: Mapping[str, Any]) -> RunConfig:
        """Returns these settings of a run that has begun, with those given now that may differ.

        Raises:
            ValueError: If others differ; each is shown as it was and as it is.

        >>> RunConfig(seed=3).resumed({"seed": 3, "checkpoint_every": 9}).checkpoint_every
        9
        """
        was = self.as_json()
        now = RunConfig(**{**was, **given}).as_json()
        changed = [name for name in now if name not in RESUMABLE_FIELDS and now[name] != was[name]]
        if changed:
            told = ", ".join(f"{name}: was {was[name]!r}, is {now[name]!r}" for name in changed)
            raise InputError(
                f"Expected the settings that the run began with, got {told}: leave these out or begin anew."
            )
        return RunConfig(**now)


def check_understanding(judge: str, personas: str) -> None:
    """Raises if the judge cannot read what these people say.

    Raises:
        ValueError: If the oracle, which reads the embedded world's grammar only, is to judge natural English.
    """
    if judge == "oracle" and personas == "natural":
        raise InputError(
            "Expected a judge that reads natural English for --personas natural, got oracle, which reads the "
            "embedded world's grammar only: give --judge hf:<...> or openai:<...>."
        )


def _check_rewards(rewards: Mapping[str, float]) -> None:
    if not rewards:
        raise InputError("Expected at least one reward, got none: give name=weight, such as prompt_to_line=1.")
    for name, weight in rewards.items():
        if name not in _REWARD_NAMES:
            known = ", ".join(_REWARD_NAMES)
            raise InputError(f"Expected a reward among {known}, got {shown(name)}: choose one of these.")
        if not (isinstance(weight, int | float) and abs(weight) < _MOST):
            raise InputError(f"Expected a finite weight for {name}, got {shown(weight)}: give a number such as 0.5.")


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
    """Reads keywords of `RunConfig` from a TOML file.

    Raises:
        ValueError: If the file cannot be read or holds what `RunConfig` does not know; the file is named.
    """
    place = printable(str(path))
    try:
        with open_file(path, "name a TOML file of settings") as file:
            values = tomllib.load(file)
    except (OSError, RecursionError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        why = printable(str(error))[:200]
        raise InputError(f"Expected a TOML file of settings at {place}, got {why}: check the file.") from None
    _check_types(values, place)
    return values


def _check_types(values: Mapping[str, Any], source: str | Path) -> None:
    known = {item.name: item for item in dataclasses.fields(RunConfig)}
    for name, value in values.items():
        if name not in known:
            raise InputError(f"Expected settings among {', '.join(known)} in {source}, got {shown(name)}: remove it.")
        default = getattr(RunConfig(), name)
        expected = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, expected) or isinstance(value, bool) != isinstance(default, bool):
            raise InputError(f"Expected {name} in {source} to be like {default!r}, got {shown(value)}: correct it.")
