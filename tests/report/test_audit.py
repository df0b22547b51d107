import io
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from persona_env.cli.audit import audit
from persona_env.conversation import Conversation
from persona_env.io import LoggedDialogue, LoggedReply, save_logs
from persona_env.papers.audit import audit_log
from persona_env.persona import Persona
from persona_env.report.audit import audit_table
from tests.io.invented import CHATTING, DATA, THERAPY, changed, needs_data, written

WRONG = changed(THERAPY, P2_prompt_consistency_score=0.25, P2="You are Cy. [bold]You[/] never sleep.")


def shown(*paths: Path, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(audit_table([audit_log(path) for path in paths]))
    return capture.get()


def test_the_rows_by_hand(tmp_path: Path):
    path = written(tmp_path, THERAPY, WRONG)
    rows = {row.metric: row for row in audit_log(path).rows}
    assert list(rows) == ["prompt_to_line", "line_to_line", "question_answer", "copying", "repetition"]
    prompt = rows["prompt_to_line"]
    assert (prompt.dialogues, prompt.personas, prompt.n, prompt.invalid, prompt.disagreements) == (2, 2, 4, 2, 1)
    assert prompt.recorded == pytest.approx((2 / 3 + 0.25) / 2)
    assert prompt.recomputed == pytest.approx(2 / 3)
    assert (prompt.fail_closed, prompt.low) == (0.5, pytest.approx(0.006081, abs=1e-6))
    survey = rows["question_answer"]
    assert survey.recorded == survey.recomputed == 0.5  # one of two questions
    assert (survey.fail_closed, survey.broken_golds, survey.questions) == (pytest.approx(2 / 3), 2, 4)
    assert rows["repetition"].fail_closed == 1.0


def test_the_table_shows_what_is_recorded_beside_what_is_recomputed_and_read(tmp_path: Path):
    text = shown(written(tmp_path, THERAPY, WRONG))
    cells = next(line for line in text.splitlines() if "prompt_to_line" in line).split()
    assert cells == ["prompt_to_line", "2", "4", "2", "0", "0.458", "0.667", "1", "0.500", "±", "0.494"]
    assert "P2 prompt recorded 0.25, its replies give 0.666" in " ".join(text.split())
    assert "2 of 4 questions have a broken gold answer" in " ".join(text.split())


@pytest.mark.parametrize("width", [40, 50, *range(30, 90, 4)])
def test_every_name_and_figure_can_be_read_on_a_terminal_of_any_width(tmp_path: Path, width: int):
    path = written(tmp_path, THERAPY, WRONG)
    text = shown(path, width=width)
    assert max(map(len, text.splitlines())) <= width
    for row in audit_log(path).rows:
        shares = [f"{abs(v):.3f}" for v in (row.recorded, row.recomputed) if v is not None]
        differ = [str(row.disagreements)] * bool(shares)
        # two personas alike: h = 161.4476 / 2 / n, 2 h / (1 + 2 h) for n = 6; sqrt(h / 2 / (1 + 2 h)) for n = 4
        side = {1.0: "0.964", 0.5: "0.494"}.get(row.fail_closed or 0, "0.651" if row.fail_closed else "0.976")
        counts = (row.dialogues, row.n, row.invalid, row.undecided)
        figures = map(str, [*counts, *shares, *differ, f"{row.fail_closed:.3f} ± {side}"])
        assert re.search(r"\D+".join([row.metric, *figures]), " ".join(text.split())), text


def test_each_log_has_its_rows(tmp_path: Path):
    paths = [written(tmp_path, THERAPY, name="a.json"), written(tmp_path, CHATTING, name="b.json")]
    rows = [asdict(row) for path in paths for row in audit_log(path).rows]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [row["file"] for row in rows] == [str(paths[0])] * 5 + [str(paths[1])] * 4
    assert "a.json" in shown(*paths)
    assert "b.json" in shown(*paths)


def test_a_file_name_like_markup_breaks_nothing(tmp_path: Path):
    text = shown(written(tmp_path, WRONG, name="[red]x[bold].json"), width=200)
    assert f"{tmp_path.name}/[red]x[bold].json" in text.partition("Shares in")[0]


def test_a_repeating_speaker_is_seen_beside_its_consistency(tmp_path: Path):
    lines = [[i, f"{'Therapist' if i % 2 == 0 else 'Patient'}: The same.\n"] for i in range(6)]
    parrot = {k: v for k, v in changed(THERAPY, conversation=lines).items() if "survey" not in k}
    rows = {row.metric: row for row in audit_log(written(tmp_path, parrot)).rows}
    assert rows["repetition"].fail_closed == pytest.approx(1 / 3)


def test_a_log_of_ours_is_audited_too(tmp_path: Path):
    talk = Conversation(Persona("p", "patient", "Ann", "You are Ann.")).with_reply("Who?")
    talk = talk.with_line("I am Ann.").with_line("Bo.")
    replies = [LoggedReply("prompt_to_line", 1, label="consistent"), LoggedReply("prompt_to_line", 2, label="invalid")]
    path = tmp_path / "ours.jsonl"
    save_logs(path, [LoggedDialogue.of(talk, replies), talk])
    rows = {row.metric: row for row in audit_log(path).rows}
    prompt = rows["prompt_to_line"]
    assert (prompt.dialogues, prompt.n, prompt.invalid, prompt.recorded, prompt.fail_closed) == (1, 1, 1, None, 1.0)
    assert rows["repetition"].dialogues == 2
    assert "ours.jsonl" in shown(path)


def test_the_figures_go_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "audit.json"
    audit([written(tmp_path, THERAPY, WRONG)], out)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [row["metric"] for row in found["rows"]][:2] == ["prompt_to_line", "line_to_line"]
    assert [(s["recorded"], s["is_inverted"]) for s in found["disagreements"]] == [(0.25, False)]
    assert "prompt_to_line" in capsys.readouterr().out


@needs_data
def test_the_inverted_scores_of_the_real_logs_are_found():
    rows = [row for path in sorted(DATA.glob("[cet]*/*.json")) for row in audit_log(path).rows]
    wrong = {Path(row.file).stem: row for row in rows if row.disagreements}
    assert list(wrong) == ["mistral-instruct_0_261"]
    row = wrong["mistral-instruct_0_261"]
    assert (row.metric, row.disagreements, row.dialogues) == ("prompt_to_line", 35, 39)
    assert (row.recorded or 0) > 0.6 > 0.4 > (row.recomputed or 1)
