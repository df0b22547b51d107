"""`persona-env audit`: recorded scores against their own raw replies."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from persona_env.io.atomic import check_target, write_json
from persona_env.papers.audit import audit_log
from persona_env.papers.paper_scores import PaperScore
from persona_env.report.audit import audit_table
from persona_env.report.terminal import Terminal

__all__ = ["audit"]


def audit(
    logs: Annotated[list[Path], typer.Argument(help="Log files: ours (JSONL) or the released ones (JSON).")],
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
) -> None:
    """Recompute recorded consistency scores and list those that disagree with their own raw replies."""
    if json_out is not None:
        check_target(json_out)
    audits = [audit_log(path) for path in logs]
    if json_out is not None:
        found = {
            "rows": [asdict(row) for one in audits for row in one.rows],
            "disagreements": [_plain(score) for one in audits for score in one.disagreements],
        }
        write_json(json_out, found)
    Terminal().print(audit_table(audits))


def _plain(score: PaperScore) -> dict[str, Any]:
    fields = asdict(score) | {"is_inverted": score.is_inverted}
    return {k: None if v != v else v for k, v in fields.items()}  # nan has no place in JSON
