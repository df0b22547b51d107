"""How dialogues are played: all of them at once, one batched call a turn for each side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from gymnasium.utils import seeding

from persona_env.conversation import Conversation, Event, LineCompleted, View
from persona_env.envs.line_env import LineForm
from persona_env.envs.persona_source import resolve_personas
from persona_env.evaluation.eval_log import Sample
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.metrics import Answer, ProbeSchedule
from persona_env.persona import Persona
from persona_env.speakers import Speaker

__all__ = ["counter", "play", "reply_seed", "try_out"]


def counter(progress: Callable[[str, int, int], object], stage: str, total: int) -> Callable[[int], None]:
    """Returns a function that is told how much more of a stage is done, and tells `progress` how much that is in all.

    >>> tick = counter(print, "judging", 4)
    judging 0 4
    >>> tick(3)
    judging 3 4
    """
    done = 0

    def tick(more: int) -> None:
        nonlocal done
        done += more
        progress(stage, done, total)

    tick(0)
    return tick


def reply_seed(*parts: int) -> int:
    """Returns a seed in [0, 2**63) that depends on all parts.

    >>> reply_seed(1, 2) == reply_seed(1, 2) != reply_seed(2, 1)
    True
    """
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def play(
    simulator: Speaker,
    suite: EvalSuite,
    personas: Sequence[Persona] | None = None,
    tick: Callable[[int], None] = lambda lines: None,
    task_agent: Speaker | None = None,
) -> list[Sample]:
    """Plays the dialogues of a suite and returns them, without verdicts, in the order of the personas.

    Where no personas are given, they are those of the suite's split, in order; `task_agent` is the suite's, if it is
    loaded already. It is asked for no line but those that a simulator answers. `tick` is called after each step with
    the number of lines and answers that were said.
    """
    if personas is None:
        found = resolve_personas(suite.role, suite.personas, suite.split)
        personas = [found[i % len(found)] for i in range(suite.dialogues)]
    form = _begun(simulator, suite, personas, task_agent)
    engine, episodes = form.engine, form.episodes
    samples = [Sample(Conversation(persona)) for persona in personas]
    running = range(len(samples))
    while running:
        seeds = [_seed(suite.seed, row, samples[row], episodes[row].probe is not None) for row in running]
        lines = simulator.reply([episodes[row].view(seed) for row, seed in zip(running, seeds, strict=True)])
        completed = engine.complete([episodes[row] for row in running], [*map(form.checked, lines)])
        for row, (event, _) in zip(running, completed, strict=True):
            samples[row] = _with_event(samples[row], event)
        tick(len(running))
        engine.reply([e for e in (episodes[row] for row in running) if e.probe is None and not e.over])
        running = [row for row in running if not episodes[row].over]
    return samples


def try_out(simulators: Sequence[Speaker], task_agent: Speaker, suite: EvalSuite) -> None:
    """Lets each simulator, and the task agent once, say a line, so that what cannot talk is told before work begins.

    A served model is not asked: a trial costs no call.
    """
    short = replace(suite, dialogues=1, lines=1)
    for number, simulator in enumerate(simulators):
        agent = task_agent if number == 0 else _Somebody()
        some = [_Somebody() if speaker.is_remote else speaker for speaker in (simulator, agent)]
        play(some[0], short, task_agent=some[1])
    for speaker in (task_agent, *simulators):
        speaker.reset_cache()


class _Somebody(Speaker):
    """Stands in for a served model where others are tried: a trial costs no call."""

    def reply(self, views: Sequence[View]) -> list[str]:
        return ["Hello."] * len(views)


def _begun(simulator: Speaker, suite: EvalSuite, personas: Sequence[Persona], task_agent: Speaker | None) -> LineForm:
    """Returns the dialogues, seeded as in the vector form, that the task agent has opened."""
    form = LineForm(
        len(personas),
        suite.role,
        personas=personas,
        task_agent=task_agent or suite.task_agent,
        max_lines=suite.lines,
        max_tokens=suite.max_tokens or simulator.max_tokens or 24,
    )
    for row, episode in enumerate(form.episodes):
        episode.rng, _ = seeding.np_random(suite.seed + row)
    schedule = ProbeSchedule(every=suite.questions_every, held_out=True)
    form.engine.prepare(form.episodes, {"personas": personas, "probe_fns": (schedule.ask,)})
    form.engine.reply(form.episodes)
    return form


def _seed(seed: int, row: int, sample: Sample, asked: bool) -> int:
    """Returns the same seed for the same line, whether or not questions were asked before it."""
    return reply_seed(seed, row, len(sample.conversation.lines), 1 + len(sample.answers) if asked else 0)


def _with_event(sample: Sample, event: Event) -> Sample:
    """Returns a dialogue with the line or the answer that a step has completed."""
    if isinstance(event, LineCompleted):
        return replace(sample, conversation=event.conversation)
    answer = Answer(len(sample.conversation.lines) - 1, event.probe, event.text, event.note)
    return replace(sample, answers=(*sample.answers, answer))
