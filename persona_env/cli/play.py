"""`persona-env play`: talk to a simulator and see each of its lines judged."""

from __future__ import annotations

import time

from rich.text import Text

from persona_env.cli.options import JudgeSpec, Role, Seed, Simulator, Split
from persona_env.conversation import Conversation
from persona_env.envs.persona_source import resolve_personas
from persona_env.evaluation.rollout import reply_seed
from persona_env.judges import load_judge
from persona_env.judges.base import JudgeLike
from persona_env.metrics import METRICS, LineMetric, evaluate, load_metric
from persona_env.persona import Persona
from persona_env.report.terminal import Terminal, plain
from persona_env.roles import role_named
from persona_env.speakers import load_speaker

__all__ = ["play", "talk"]


def play(
    simulator: Simulator = "tiny",
    role: Role = "patient",
    judge: JudgeSpec = "oracle",
    seed: Seed = 0,
    split: Split = "heldout",
) -> None:
    """Talk to a simulator in the terminal and see each of its lines judged."""
    talk(simulator, role=role, judge=judge, seed=seed, split=split)


def talk(simulator: str, *, role: str, judge: str, seed: int, split: str) -> Conversation:
    """Talks in the terminal until an empty line or the end of input; returns what was said.

    Raises:
        ValueError: If the simulator, judge, role or split cannot be had.
    """
    console = Terminal()
    made_judge, speaker = load_judge(judge), load_speaker(simulator)
    persona = _persona(role, split, seed)
    side = role_named(role)
    console.print(Text(f"You are the {side.task}. The {side.simulator}'s persona (hidden from you in a dialogue):"))
    console.print(Text(f"  {plain(persona.prompt, 2)}", style="dim"))
    if persona.questions:
        hints = "  ".join(item.wording(0) for item in persona.questions[:4])
        console.print(Text(f"Ask, for example: {hints}\nAn empty line ends it."))
    conversation, begin = Conversation(persona), time.perf_counter()
    while line := _line(console):
        conversation = conversation.with_reply(line)
        view = conversation.view("simulator", reply_seed(seed, len(conversation.lines)))
        conversation = conversation.with_line(speaker.reply([view])[0])
        console.print(Text(f"{side.simulator}> {plain(conversation.lines[-1], 4)}", style="bold"))
        console.print(_judged(conversation, made_judge))
    seconds = time.perf_counter() - begin
    console.print(Text(f"{len(conversation.lines)} lines in {seconds:.0f} s."))
    return conversation


def _persona(role: str, split: str, seed: int) -> Persona:
    found = resolve_personas(role, "bundled", split)
    return found[seed % len(found)]


def _line(console: Terminal) -> str:
    try:
        return console.input("you> ", markup=False).strip()
    except EOFError:
        return ""


def _judged(conversation: Conversation, judge: JudgeLike) -> Text:
    """Returns which metrics the last line meets (+), fails (-), or could not be judged by (?)."""
    metrics = [metric for name in METRICS.builtins if isinstance(metric := load_metric(name), LineMetric)]
    scores = evaluate([conversation], metrics, judge)
    text = Text("          ")
    for metric in metrics:
        value = scores[metric.name][0].per_line[-1]
        sign, style = ("?", "yellow") if value != value else ("+", "green") if value else ("-", "red")
        text.append(f"{sign} {metric.name.replace('_', '-')}   ", style)
    return text
