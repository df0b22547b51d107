"""The dialogue dynamics that all environment forms share: personas, probes, the task agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, TypeAlias, TypedDict

from persona_env.conversation import Conversation, Event, LineCompleted, Probe
from persona_env.envs.episode import Episode, Info
from persona_env.envs.persona_source import PersonaSource, chosen_personas, resolve_personas
from persona_env.errors import InputError
from persona_env.metrics.probe_schedule import ProbeSchedule
from persona_env.persona import Persona
from persona_env.roles import role_named
from persona_env.scenario import Scenario, ScenarioSource, load_scenario
from persona_env.speakers import Speaker, load_speaker

__all__ = [
    "SCENARIO_SOURCE",
    "AnsweredSettings",
    "DialogueEngine",
    "DialogueSettings",
    "ProbeFn",
    "check_count",
    "check_render_mode",
]

ProbeFn: TypeAlias = Callable[[Sequence[Conversation]], Sequence[Probe | None]]
"""Says of each dialogue in which a line was just completed what to ask now, or None."""

SCENARIO_SOURCE = -1
"""The `source` of probes that the scenario asks for: no wrapper rewards their answers."""


def check_count(name: str, number: int) -> int:
    """Returns a number of things, numpy's or Python's; InputError unless it is whole and at least one."""
    if not isinstance(number, Integral) or number < 1:
        raise InputError(f"Expected {name} >= 1, got {number!r}: give a whole number from 1 on.")
    return int(number)


def check_render_mode(mode: str | None) -> str | None:
    """Returns the mode; InputError unless it is `ansi` or None."""
    if mode not in ("ansi", None):
        raise InputError(f"Expected render_mode 'ansi' or None, got {mode!r}: choose one of these.")
    return mode


class DialogueSettings(TypedDict, total=False):
    """Keyword arguments of every form of the environment; the defaults are those of `DialogueEngine`."""

    personas: PersonaSource  # "bundled", "natural", the path of a file, or a list
    split: str  # train, dev or heldout
    max_lines: int  # the simulator's lines in one dialogue, at least 1
    max_tokens: int  # the length of a line without its end token, at least 1
    scenario: ScenarioSource
    render_mode: str | None  # `ansi` for a `render` that returns the dialogue as text


class AnsweredSettings(DialogueSettings, total=False):
    """Keyword arguments of the forms in which a speaker answers, given by its spec or as it is."""

    task_agent: str | Speaker


class DialogueEngine:
    """Who may be simulated, who answers (None: somebody outside), what is asked, and under which scenario."""

    def __init__(
        self,
        role: str,
        *,
        personas: PersonaSource = "bundled",
        split: str = "train",
        task_agent: str | Speaker | None = "scripted",
        max_lines: int = 8,
        max_tokens: int = 24,
        scenario: ScenarioSource = None,
        render_mode: str | None = None,
    ):
        self.role, self.render_mode = role_named(role).key, check_render_mode(render_mode)
        self.max_lines, self.max_tokens = check_count("max_lines", max_lines), check_count("max_tokens", max_tokens)
        self.personas = resolve_personas(self.role, personas, split)
        self.task_agent = None if task_agent is None else load_speaker(task_agent)
        self.scenario = self._fitting(load_scenario(scenario))
        self.probe_fns: tuple[ProbeFn, ...] = ()

    def prepare(self, episodes: Sequence[Episode], options: Mapping[str, Any] | None) -> None:
        """Starts a dialogue in each episode as reset's options ask; nobody speaks yet."""
        options = options or {}
        chosen = chosen_personas(self.role, self.personas, options, len(episodes))
        self.probe_fns = tuple(options.get("probe_fns", self.probe_fns))
        asked = options.get("scenario")
        scenario = self.scenario if asked is None else self._fitting(load_scenario(asked))
        for episode, persona in zip(episodes, chosen, strict=True):
            episode.start(persona or self.draw(episode), scenario)

    def _fitting(self, scenario: Scenario) -> Scenario:
        if scenario.max_lines is not None and scenario.max_lines > self.max_lines:
            raise InputError(
                f"Expected a scenario of at most {self.max_lines} lines, got {scenario.max_lines}: raise max_lines of "
                "the environment."
            )
        return scenario

    def draw(self, episode: Episode) -> Persona:
        """Draws a persona with the episode's generator."""
        return self.personas[int(episode.rng.integers(len(self.personas)))]

    def restart(self, episode: Episode) -> None:
        """Starts the next dialogue of an episode, in the scenario of the last one; nobody speaks yet."""
        episode.start(self.draw(episode), episode.conversation.scenario)

    def complete(self, episodes: Sequence[Episode], texts: Sequence[str]) -> list[tuple[Event, Info]]:
        """Completes one line of each episode and puts the probes that follow; returns the events and their infos."""
        events = [episode.complete(text) for episode, text in zip(episodes, texts, strict=True)]
        self._probe([e for e, event in zip(episodes, events, strict=True) if isinstance(event, LineCompleted)])
        completed = list[tuple[Event, Info]]()
        for episode, event in zip(episodes, events, strict=True):
            skipped = episode.take_probe()
            completed.append((event, {**event.info, "skipped_probes": skipped} if skipped else event.info))
        return completed

    def _probe(self, episodes: Sequence[Episode]) -> None:
        """Asks what the wrappers' probe functions and the scenario say: one batched call of each."""
        if not episodes:
            return
        conversations = [episode.conversation for episode in episodes]
        for source, probe_fn in enumerate(self.probe_fns):
            for episode, probe in zip(episodes, probe_fn(conversations), strict=True):
                if probe is not None:
                    episode.add_probe(probe, source)
        for episode, conversation in zip(episodes, conversations, strict=True):
            plan = conversation.scenario.probes
            probe = plan and ProbeSchedule(plan.every, plan.within, plan.held_out).probe(conversation)
            if probe is not None:
                episode.add_probe(probe, SCENARIO_SOURCE)

    def reply(self, episodes: Sequence[Episode]) -> None:
        """Lets the task agent speak in all of these episodes, in one call."""
        if not episodes or self.task_agent is None:
            return
        views = [episode.conversation.view("task", episode.draw_seed()) for episode in episodes]
        for episode, text in zip(episodes, self.task_agent.reply(views), strict=True):
            episode.hear(text)
