"""`persona-env play`: a person talks to a simulator and sees each of its lines judged."""

from __future__ import annotations

import time

from rich.text import Text

from persona_env.cli.options import JudgeSpec, Role, Seed, Simulator, Split
from persona_env.conversation import Conversation
from persona_env.evaluation.rollout import reply_seed
from persona_env.judges import load_judge
from persona_env.judges.base import Judge
from persona_env.metrics import Copying, LineToLine, PromptToLine, Relevance, Repetition, evaluate
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


_METRICS = {
    "persona": PromptToLine(),
    "own words": LineToLine(),
    "relevant": Relevance(),
    "not recited": Copying(),
    "not repeated": Repetition(),
}


def talk(simulator: str, *, role: str, judge: str, seed: int, split: str) -> Conversation:
    """Talks in the terminal until an empty line or the end of input; returns what was said.

    Raises:
        ValueError: If the simulator, judge, role or split cannot be had.
    """
    console = Terminal()
    ears, speaker = load_judge(judge), load_speaker(simulator)
    persona = _somebody(role, split, seed)
    side = role_named(role)
    console.print(Text(f"You are the {side.task}. The {side.simulator}'s persona (hidden from you in a dialogue):"))
    console.print(Text(f"  {plain(persona.prompt, 2)}", style="dim"))
    if persona.questions:
        hints = "  ".join(item.wording(0) for item in persona.questions[:4])
        console.print(Text(f"Ask, for example: {hints}\nAn empty line ends it."))
    conversation, begin = Conversation(persona), time.perf_counter()
    while heard := _heard(console):
        conversation = conversation.with_reply(heard)
        view = conversation.view("simulator", reply_seed(seed, len(conversation.lines)))
        conversation = conversation.with_line(speaker.reply([view])[0])
        console.print(Text(f"{side.simulator}> {plain(conversation.lines[-1], 4)}", style="bold"))
        console.print(_judged(conversation, ears))
    seconds = time.perf_counter() - begin
    console.print(Text(f"{len(conversation.lines)} lines in {seconds:.0f} s."))
    return conversation


def _somebody(role: str, split: str, seed: int) -> Persona:
    from persona_env.world import personas

    people = personas(role, split)
    return people[seed % len(people)]


def _heard(console: Terminal) -> str:
    try:
        return console.input("you> ", markup=False).strip()
    except EOFError:
        return ""


def _judged(conversation: Conversation, judge: Judge) -> Text:
    scores = evaluate([conversation], list(_METRICS.values()), judge)
    words = Text("          ")
    for title, metric in _METRICS.items():
        value = scores[metric.name][0].per_line[-1]
        sign, style = ("?", "yellow") if value != value else ("+", "green") if value else ("-", "red")
        words.append(f"{sign} {title}   ", style)
    return words
