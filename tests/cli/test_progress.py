"""Long work is told: bars on a terminal, one line a minute elsewhere, and none in a run that is over before."""

import io

from persona_env.cli.progress import ProgressReport
from persona_env.judges.llm import LLMJudge
from persona_env.report.terminal import Terminal
from persona_env.runs.run_judge import RunJudge
from tests.judges.backends import TextBackend, grammatical
from tests.runs.test_run_judge import MANY


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def report(judge: RunJudge | None = None) -> tuple[ProgressReport, Clock, io.StringIO]:
    clock, written = Clock(), io.StringIO()
    return ProgressReport(judge, console=Terminal(file=written, width=40), clock=clock), clock, written


def test_one_line_a_minute_says_stage_done_and_total():
    progress, clock, written = report()
    with progress:
        for second in range(200):
            clock.now = float(second)
            progress("before_extended", 10 * second, 4000)
            progress.look()
    assert written.getvalue().splitlines() == [
        f"before extended: {10 * second:,} of 4,000" for second in (60, 120, 180)
    ]


def test_a_run_of_less_than_a_minute_writes_nothing():
    progress, clock, written = report()
    with progress:
        for clock.now in (0.0, 30.0, 59.0):
            progress("before", 3, 4)
            progress.look()
    assert written.getvalue() == ""


def test_what_the_judge_is_doing_or_waits_for_is_told():
    def say(prompt):
        if len(backend.batches) == 2:
            clock.now += 60
            progress.look()
        return grammatical(prompt)

    backend = TextBackend(say)
    judge = RunJudge(LLMJudge(backend))
    progress, clock, written = report(judge)
    progress("mine", 5, 5)
    judge.judge(MANY[:3])
    assert written.getvalue() == ""
    judge.judge(MANY[3:5])
    assert judge.in_work is None
    found = written.getvalue().splitlines()
    assert found[0] == "mine: 5 of 5; judge: 4 replies to 2 queries"
    assert judge.on_wait is not None
    judge.on_wait(12.0)
    clock.now += 60
    progress.look()
    assert written.getvalue().splitlines()[-1] == "mine: 5 of 5; a server is away for 12 s"


def test_a_terminal_shows_counts_while_work_goes_on():
    written = io.StringIO()
    console = Terminal(file=written, width=80, force_terminal=True, color_system=None)
    with ProgressReport(console=console) as progress:
        progress("before", 3, 1280)
        progress("before", 640, 1280)
    assert "640/1,280" in written.getvalue()
    assert "\n" in written.getvalue()
