"""`persona-env bench`: simulators side by side on the same people, seeds and questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from persona_env.bench.cases import Cases
from persona_env.bench.play import play
from persona_env.bench.records import dialogue_records
from persona_env.bench.score import Scores, score
from persona_env.judges import load_judge
from persona_env.learning.run_folder import RunFolder
from persona_env.logs import save_logs
from persona_env.report.drift_table import simulator_table
from persona_env.speakers import load_speaker

__all__ = ["run_benchmark"]


def run_benchmark(simulators: Sequence[str], cases: Cases, judge: str, out: Path | None) -> dict[str, Scores]:
    """Plays the cases with each simulator, prints one table and, where asked, writes a folder.

    Raises:
        ValueError: If a simulator or judge cannot be had, or the folder is not empty.
    """
    console, folder = Console(), RunFolder(out).create() if out else None
    ears = load_judge(judge)
    speakers = {spec: load_speaker(spec) for spec in simulators}
    scores: dict[str, Scores] = {}
    records = []
    for spec, speaker in speakers.items():
        with console.status(f"{spec} is talking"):
            played = play(speaker, cases)
            scores[spec] = score(played, ears)
        records += list(dialogue_records(spec, played, scores[spec]))
    title = (
        f"{cases.role}: {cases.dialogues} dialogues of {cases.lines} lines with {cases.split} people, judged by {judge}"
    )
    console.print(simulator_table(title, scores))
    if folder:
        save_logs(folder.path / "dialogues.jsonl", records)
        folder.write_json("summary.json", {spec: found.as_json() for spec, found in scores.items()})
        console.print(f"Run folder: {folder.path}/", highlight=False)
    return scores
