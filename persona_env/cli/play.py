"""`persona-env play`: talk to a simulator, or let a task agent do it, and see each line of the simulator judged."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from gymnasium.utils import seeding
from rich.text import Text

from persona_env.cli.options import MaxTokens, suite_of, taken, with_settings
from persona_env.conversation import Conversation
from persona_env.envs.episode import Episode
from persona_env.envs.observations import checked_line, line_space
from persona_env.envs.persona_source import chosen_personas, resolve_personas
from persona_env.evaluation.eval_log import JudgeInfo
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import reply_seed
from persona_env.judges.base import Verdict, VerdictCounts
from persona_env.metrics import LineMetric, load_metric, verdicts_on
from persona_env.persona import Persona
from persona_env.report.terminal import Terminal, plain
from persona_env.roles import role_named
from persona_env.runs.config import JudgeSettings, check_readers
from persona_env.runs.costs import check_invalid, judge_remarks, judge_usage
from persona_env.runs.run_judge import RunJudge
from persona_env.speakers import Speaker, load_speaker

__all__ = ["play"]

_SIMULATOR = "The simulator: tiny, scripted, hf:<folder or id>, openai:<model>@<url>, run:<run folder>, a model folder."
_AGENT = "Who talks to it instead of you: scripted, interview, hf: or openai:."
_PERSONA = "The id of the persona; else the seed chooses."


@with_settings({"Talk": [EvalSuite], "Judge": [JudgeSettings]}, without=("dialogues", "questions_every", "task_agent"))
def play(
    settings: Mapping[str, Any],
    simulator: Annotated[str, typer.Option(help=_SIMULATOR)] = "tiny",
    persona: Annotated[str | None, typer.Option(help=_PERSONA)] = None,
    task_agent: Annotated[str | None, typer.Option(help=_AGENT)] = None,
    max_tokens: MaxTokens = None,
) -> None:
    """Talk to a simulator, or let a task agent talk to it, and see each of its lines judged.

    Unless --max-invalid is given, only a judge that decides nothing is an error.
    """
    suite = suite_of({**settings, **({"task_agent": task_agent} if task_agent else {})}, max_tokens)
    judging = JudgeSettings(**taken(JudgeSettings, settings))
    personas = resolve_personas(suite.role, suite.personas, suite.split)
    check_readers(personas, judging.judge, [simulator])
    (asked,) = chosen_personas(suite.role, personas, {"persona": persona}, 1)
    with contextlib.ExitStack() as stack:
        judge = stack.enter_context(contextlib.closing(RunJudge.from_settings(judging, personas)))
        speaker = stack.enter_context(contextlib.closing(load_speaker(simulator, max_tokens)))
        agent = stack.enter_context(contextlib.closing(load_speaker(task_agent))) if task_agent else None
        judge.open(speakers=[one for one in (speaker, agent) if one])
        most = suite.lines if agent or "lines" in settings else sys.maxsize
        talk = _Talk(suite, asked or personas[suite.seed % len(personas)], speaker, agent, judge, most)
        talk.run()
        calibrated = judge.is_calibrated(judging.judge_calibration, suite.role, suite.metrics)
        info = JudgeInfo(judging.judge, judge.identity, calibrated, judge.canaries)
        usage = judge_usage(judge.counts, judging.judge_budget, VerdictCounts.of(talk.verdicts))
        for remark in judge_remarks(info, usage):
            talk.console.print(remark)
    check_invalid("the talk", settings.get("max_invalid", 1.0), VerdictCounts.of(talk.verdicts))


@dataclass
class _Talk:
    """One dialogue in the terminal, of at most so many lines; without a task agent its lines are typed."""

    suite: EvalSuite
    persona: Persona
    simulator: Speaker
    task_agent: Speaker | None
    judge: RunJudge
    most: int

    def __post_init__(self) -> None:
        self.console, self.role, self.verdicts = Terminal(), role_named(self.suite.role), list[Verdict]()
        self._episode = Episode(seeding.np_random(self.suite.seed)[0], self.most)
        self._space = line_space(self.suite.max_tokens or self.simulator.max_tokens or 24)
        found = map(load_metric, self.suite.metrics)
        self._metrics = [metric for metric in found if isinstance(metric, LineMetric)]

    def run(self) -> None:
        """Goes on until somebody ends it or all lines are said."""
        self._introduce()
        episode, begin = self._episode, time.perf_counter()
        episode.start(self.persona)
        while not episode.over and self._heard():
            view = episode.view(reply_seed(self.suite.seed, episode.line_count + 1))
            episode.complete(checked_line(self.simulator.reply([view])[0], self._space))
            episode.take_probe()
            line = episode.conversation.lines[-1]
            self.console.print(Text(f"{self.role.simulator}> {plain(line, 4)}", style="bold"))
            self.console.print(self._judged(episode.conversation))
        seconds = time.perf_counter() - begin
        self.console.print(Text(f"{len(episode.conversation.lines)} lines in {seconds:.0f} s."))

    def _introduce(self) -> None:
        who = "The persona" if self.task_agent else f"You are the {self.role.task}. The {self.role.simulator}'s persona"
        hidden = "" if self.task_agent else " (hidden from you in a dialogue)"
        self.console.print(Text(f"{who}{hidden}:"))
        self.console.print(Text(f"  {plain(self.persona.prompt, 2)}", style="dim"))
        if self.task_agent is None:
            hints = "  ".join(item.wording(0) for item in self.persona.questions[:4])
            ask = f"Ask, for example: {hints}\n" if hints else ""
            self.console.print(Text(f"{ask}An empty line ends it."))

    def _heard(self) -> bool:
        """Lets the other side speak; returns whether the simulator is to answer."""
        episode = self._episode
        if self.task_agent is None:
            line = _typed(self.console)
            episode.hear(line)
            return bool(line)
        view = episode.conversation.view("task", episode.draw_seed())
        heard = episode.hear(self.task_agent.reply([view])[0])
        self.console.print(Text(f"{self.role.task}> {plain(heard, 4)}"))
        return not episode.over

    def _judged(self, conversation: Conversation) -> Text:
        """Returns which metrics the last line meets (+), fails (-), or could not be judged by (?)."""
        asked = {metric: metric.queries([conversation])[0][-1] for metric in self._metrics}
        verdicts = verdicts_on([*asked.values()], self.judge)
        self.verdicts += verdicts
        text = Text("          ")
        for metric, verdict in zip(asked, verdicts, strict=True):
            if verdict.applies:
                value = verdict.value
                sign, style = ("?", "yellow") if value != value else ("+", "green") if value else ("-", "red")
                text.append(f"{sign} {metric.name.replace('_', '-')}   ", style)
        return text


def _typed(console: Terminal) -> str:
    try:
        return console.input("you> ", markup=False).strip()
    except EOFError:
        return ""
