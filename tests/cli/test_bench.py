"""`bench` from end to end: who judges and talks is said as in the other commands, and nothing is asked twice."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest

from persona_env.cli.bench import bench
from persona_env.cli.judge import judge_calibrate
from persona_env.cli.play import play
from persona_env.cli.train import train
from persona_env.evaluation.eval_log import load_eval_log
from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.judges.backend import JudgePrompt
from persona_env.judges.prompts import JudgePrompts, _prompts_of
from persona_env.models.hf import load_tokenizer
from persona_env.roles import role_named
from persona_env.runs.config import JudgeSettings
from persona_env.settings import settings_of
from persona_env.speakers.local import LanguageModel
from tests.judges.backends import reply, with_id
from tests.models.behaviours import WITHHELD, Behaviour, Call, raw, status, well
from tests.models.fault_server import FaultServer
from tests.speakers import small
from tests.test_cli import run

Polarity: TypeAlias = Literal["positive", "negative"]
FEW = ["--split", "dev", "--dialogues", "3", "--lines", "2"]
MORE = ["--split", "dev", "--dialogues", "16", "--lines", "8"]


def options(command: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(command).parameters)


def test_every_command_that_judges_takes_all_judge_settings():
    for command in (train, bench, play, judge_calibrate):
        assert set(settings_of(JudgeSettings)) <= options(command), command
    shared = {"role", "personas", "split", "task_agent", "lines", "seed", "max_tokens"}
    for command in (train, bench, play):
        assert shared <= options(command), command
    assert set(settings_of(EvalSuite)) <= options(bench)


def always(label: str) -> Callable[[str], str]:
    """A judge that says the same to everything."""

    def answer(user: str) -> str:
        wanted = re.search(r'\{"id": [^}]*?"(\w+)": \[', user)
        return with_id(user, json.dumps({wanted[1]: []} if wanted else {"answer": label}))

    return answer


@pytest.mark.parametrize(("answer", "more", "code", "says"), [
    (always("A"), [], {77, 78}, "Expected"),
    (lambda user: "I would say so.", [], {77, 78}, "Expected"),
    (reply, ["--judge-budget", "calls=20"], {76}, "at most 20 calls"),
    (reply, ["--judge-budget", "none"], {2}, "Expected a budget"),
    (reply, ["--judge-prompts", "nowhere"], {2}, "Expected judge prompts"),
    (reply, ["--judge-cache", "nowhere/cache"], {2}, "Expected a file that can be written"),
    (reply, ["--max-invalid", "7"], {2}, "max_invalid <= 1"),
])  # fmt: skip
@pytest.mark.parametrize("out", [[], ["--out", "out"]], ids=["shown only", "with a folder"])
def test_a_benchmark_holds_its_judge_to_what_a_training_run_does(
    answer, more, code, says, out, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with FaultServer(answer=answer) as server:
        found = run(["bench", "scripted", *MORE, "--judge", f"openai:{server.spec}", *more, *out], monkeypatch)
    shown = capsys.readouterr()
    assert found in code
    assert says in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert "%" not in shown.out, "no figure of a judge that is not sound"
    assert (tmp_path / "out").exists() == (bool(out) and code != {2})


def test_a_wrong_key_costs_one_call_in_every_command(tmp_path: Path, monkeypatch, capsys):
    with FaultServer(lambda call: status(401)) as server:
        judge = ["--judge", f"openai:{server.spec}"]
        assert run(["bench", "scripted", *FEW, *judge], monkeypatch) == 75
        assert run(["play", "--simulator", "scripted", "--task-agent", "scripted", *judge], monkeypatch) == 75
        assert len(server.calls) == 2
    assert capsys.readouterr().err.count("persona-env: Expected") == 2


def test_lines_and_verdicts_of_a_resumed_benchmark_are_asked_for_once(tmp_path: Path, monkeypatch):
    """The judge's budget ends the first try after all lines are said; the second asks for the rest."""

    def answer(user: str) -> str:
        return reply(user) if user.rstrip().endswith("}.") else "I sleep four hours."

    with FaultServer(answer=answer) as server:
        spec = f"openai:{server.spec}"
        arguments = ["bench", f"mine={spec}", *FEW, "--judge", spec, "--task-agent", spec, "--max-invalid", "1"]
        assert run([*arguments, "--judge-budget", "calls=9", "--out", tmp_path / "out"], monkeypatch) == 76
        first = len(server.calls)
        lines = first - 9
        assert lines == 3 * (2 + 2 + 1), "two lines of each side and an answer, for each of three dialogues"
        again = ["--judge-budget", "calls=999", "--resume", tmp_path / "out"]
        assert run([*arguments, *again], monkeypatch) == 0
        asked = [json.dumps(call.sent, sort_keys=True) for call in server.calls]
        said = [call.sent for call in server.calls[first:] if "response_format" not in call.sent]
        assert not said
        assert len(asked) == len(set(asked))


def test_a_benchmark_of_other_contents_under_the_same_paths_is_not_resumed(tmp_path: Path, monkeypatch, capsys):
    people, role = tmp_path / "people.txt", tmp_path / "customer.toml"
    texts = {
        people: "You are Ann and run a bakery.\nYou are Bo and keep bees.",
        role: 'key = "shopper"\nsimulator = "customer"\ntask = "agent"\ntask_prompt = "You help customers."\n',
    }
    for path, text in texts.items():
        path.write_text(text)
    model, agent = tmp_path / "model", tmp_path / "agent"
    tiny = LanguageModel.load("tiny")
    for folder in (model, agent):
        tiny.save_pretrained(folder)
    arguments = ["bench", f"mine=hf:{model}", "--role", role, "--personas", people, "--task-agent", f"hf:{agent}"]
    arguments += ["--judge", "match", "--metrics", "copying,repetition", "--dialogues", "2", "--lines", "1"]
    out = tmp_path / "out"
    assert run([*arguments, "--out", out], monkeypatch) == 0
    assert run([*arguments, "--resume", out], monkeypatch) == 0
    assert "contents" in json.loads((out / "config.json").read_text())

    def refused(named: str) -> None:
        assert run([*arguments, "--resume", out], monkeypatch) == 2
        error = capsys.readouterr().err.strip()
        assert f"got others of: {named}: put back" in error
        assert "\n" not in error

    people.write_text(texts[people].replace("bees", "cats"))
    refused("personas")
    people.write_text(texts[people])
    role.write_text(texts[role].replace("help", "fob off"))
    refused("role")
    role.write_text(texts[role])
    tiny.model.lm_head.weight.data[0, 0] += 1.0
    tiny.save_pretrained(model)
    refused("simulator mine")
    tiny.save_pretrained(agent)
    refused("task agent, simulator mine")


def test_another_precision_temperature_or_bound_is_another_simulator(tmp_path: Path, monkeypatch, capsys):
    def contents(*more: str) -> dict[str, str]:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        given = ["--dialogues", "1", "--lines", "1", "--split", "dev", "--metrics", "copying", "--out", out]
        assert run(["bench", *more, *given], monkeypatch) == 0
        return json.loads((out / "config.json").read_text())["contents"]

    folder = Path(load_tokenizer("tiny").name_or_path)
    specs = [f"hf:{folder}{rest}" for rest in ("", "?dtype=bfloat16", "?temperature=0.5", "?max_tokens=9")]
    digests = {contents(f"mine={spec}")["simulator mine"] for spec in specs}
    assert len(digests) == len(specs)
    assert contents(f"mine={specs[0]}", "--max-tokens", "9")["simulator mine"] in digests


def test_columns_can_be_told_apart_in_sixty_characters(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    arms = ["mine=tiny", "base=scripted", "tiny?temperature=0.5"]
    assert run(["bench", *arms, *FEW], monkeypatch) == 0
    shown = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 60 for line in shown)
    assert any(line.split() == ["mine", "base", "tiny"] for line in shown)
    assert {"mine: tiny", "base: scripted", "tiny: tiny?temperature=0.5"} <= set(shown)


def agreeing(*roles: str) -> Callable[[str], str]:
    """A judge that finds every line of these roles good, whichever way it is asked."""

    def answer(user: str) -> str:
        texts: list[tuple[str, Polarity]] = [wording for role in roles for wording in _wordings(role)]
        polarity: Polarity = next(polarity for start, polarity in texts if user.startswith(start))
        items = [*range(1, 1 + len(re.findall(r"^\d+: ", user, re.MULTILINE)))]
        prompt = JudgePrompt(polarity, "", user, len(items))
        good = {prompt.key: items if polarity == "positive" else []} if items else None
        return with_id(user, json.dumps(good or {"answer": "A" if polarity == "positive" else "B"}))

    return answer


def _wordings(role: str) -> list[tuple[str, Polarity]]:
    prompts, found = JudgePrompts.load(), list[tuple[str, Polarity]]()
    for wording in (prompts.roles.get(role) or _prompts_of(role_named(role))).wordings.values():
        found.append((str(wording.positive), "positive"))
        found.append((str(wording.negative), "negative"))
    return found


def test_personas_without_facts_need_no_canaries_and_it_is_said_everywhere(tmp_path: Path, monkeypatch, capsys):
    people = tmp_path / "people.txt"
    people.write_text("You are Ann.\nYou are Bo.\nYou are Cy.")
    given = ["--personas", people, "--role", "patient", "--task-agent", "interview", "--dialogues", "3", "--lines", "1"]
    with FaultServer(answer=lambda user: agreeing("patient")(user) if '"id"' in user else "I am well.") as server:
        judge = ["--judge", f"openai:{server.spec}", "--metrics", "relevance", "--out", tmp_path / "out"]
        with pytest.warns(UserWarning, match="canaries: none"):
            assert run(["bench", f"base=openai:{server.spec}", *given, *judge], monkeypatch) == 0
    assert load_eval_log(tmp_path / "out").header.judge.canaries == "none"
    assert "Canaries: none" in " ".join(capsys.readouterr().out.split())


def hosted(call: Call) -> Behaviour:
    """What a current hosted API refuses, and one line that its filter withholds."""
    sent = call.sent
    if call.headers.get("x-team") != "research":
        return status(403)
    if "max_tokens" in sent:
        return _refusal("Unsupported parameter: 'max_tokens' is not supported with this model. "
                        "Use 'max_completion_tokens' instead.")  # fmt: skip
    if sent.get("seed", 0) >= 2**32:
        return _refusal("Invalid 'seed': integer above maximum value. Expected a value <= 4294967295.")
    sad = "hopeless" in sent["messages"][0]["content"] and "response_format" not in sent
    return WITHHELD["a filtered reply"] if sad else well


def _refusal(message: str) -> Behaviour:
    return raw(json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode(), 400)


FACTS = ("has lost a parcel", "wants the money back", "feels hopeless about a bill", "moves", "is deaf", "has a dog")
CUSTOMER = """
key = "customer"
simulator = "customer"
task = "agent"
task_prompt = "You help customers of a shop."
"""
THOUGHT = "The user wants something."


def _thinking(user: str) -> str:
    said = agreeing("customer")(user) if '"id"' in user else "Where is my parcel?"
    return f"<think>\n{THOUGHT}\n</think>\n\n{said}"


def test_the_stranger_sees_a_table(tmp_path: Path, monkeypatch, capsys):
    """Own personas and role, a model of one's own that thinks, and a hosted model that talks, asks and judges."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    Path("people.txt").write_text("\n".join(f"You are a customer who {fact}." for fact in FACTS))
    Path("customer.toml").write_text(CUSTOMER)
    LanguageModel(small.model(length=2048), small.tokenizer(small.THINKING), max_tokens=8).save_pretrained("model")
    with FaultServer(hosted, answer=_thinking) as server:
        served = f"openai:{server.spec}?header=x-team:research"
        command = [
            "bench",
            "mine=hf:model",
            f"base={served}",
            "--role",
            "./customer.toml",
            "--personas",
            "./people.txt",
        ]
        command += ["--judge", served, "--task-agent", served, "--dialogues", "6", "--lines", "2", "--out", "out"]
        with pytest.warns(UserWarning, match="canaries: none"):
            assert run(command, monkeypatch) == 0
        refused = [call for call in server.calls if "max_tokens" in call.sent or call.sent.get("seed", 0) >= 2**32]
        assert len(refused) == 3, "simulator, task agent and judge learn once what the server refuses"
    shown, error = capsys.readouterr()
    lines = shown.splitlines()
    assert error == ""
    assert any(line.split() == ["mine", "base"] for line in lines)
    assert not [line for line in lines[: lines.index("mine: hf:model")] if len(line) > 60]
    assert THOUGHT not in (tmp_path / "out" / "eval.jsonl").read_text()
    mine, base = load_eval_log(tmp_path / "out").arms
    notes = [m.note for sample in base.samples for m in sample.conversation.messages if m.side == "simulator"]
    assert notes.count("filtered") == 2, "both lines of the hopeless customer"
    assert {m.note for m in mine.samples[0].conversation.messages if m.side == "task"} <= {"", "filtered"}
