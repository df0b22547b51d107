"""`persona-env play`: talk to a simulator and see each of its lines judged."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated

import typer
from rich.text import Text

from persona_env.cli.options import JudgeSpec
from persona_env.conversation import Conversation
from persona_env.envs.persona_source import resolve_personas
from persona_env.evaluation.rollout import reply_seed
from persona_env.judges import load_judge
from persona_env.judges.base import JudgeLike
from persona_env.metrics import METRICS, LineMetric, evaluate, load_metric
from persona_env.report.terminal import Terminal, plain
from persona_env.roles import role_named
from persona_env.speakers import load_speaker

__all__ = ["play"]

_SIMULATOR = "The simulator: tiny, scripted, hf:<folder or id>, openai:<model>@<url>."
_ROLE = "Who is simulated: patient, student, chat_partner, or a path of a role."


def play(
    simulator: Annotated[str, typer.Option(help=_SIMULATOR)] = "tiny",
    role: Annotated[str, typer.Option(help=_ROLE)] = "patient",
    judge: JudgeSpec = "oracle",
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    split: Annotated[str, typer.Option(help="The personas that are measured: heldout, dev or train.")] = "heldout",
) -> None:
    """Talk to a simulator in the terminal and see each of its lines judged."""
    console, speaker = Terminal(), load_speaker(simulator)
    personas, side = resolve_personas(role, "bundled", split), role_named(role)
    persona = personas[seed % len(personas)]
    with contextlib.closing(load_judge(judge)) as made_judge:
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
    console.print(Text(f"{len(conversation.lines)} lines in {time.perf_counter() - begin:.0f} s."))


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
