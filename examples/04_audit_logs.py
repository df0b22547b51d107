"""Audit dialogue logs: are the recorded scores what the judge's own replies say?

Run `python examples/04_audit_logs.py [LOG ...]` with logs of ours (JSONL) or of the released kind (JSON).
Without a log it writes two invented dialogues in the released format; the score of the second is inverted.
The same from the command line: `persona-env audit LOG ...`.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from persona_env.cli.audit import audit as print_audit
from persona_env.io import load_logs
from persona_env.papers.paper_scores import audit, fail_closed

PERSONA = "You are Ida, a lighthouse keeper. You never leave the island and you distrust doctors."
REPLIES = ("It fits a keeper who stays on the island. NO", "She would not trust a doctor. YES")


def therapy(answer: str, reply: str, recorded: float) -> dict[str, object]:
    """Returns a dialogue of two patient lines in the released format."""
    return {
        "task_name": "Therapy",
        "P1": "",
        "P2": PERSONA,
        "conversation": [
            [0, "Therapist: Where did you spend the summer?\n"],
            [1, "Patient: Where I always am: on the island.\n"],
            [2, "Therapist: And how do you get on with your doctor?\n"],
            [3, f"Patient: {answer}\n"],
        ],
        "pturn": 1,
        "rounds": 4,
        "eval_prompt_consistency": [[1, reply], [3, reply]],
        "eval_index_consistency": [[3, "Nothing she said before speaks against it. []"]],
        "P2_prompt_consistency_score": recorded,
        "P2_index_consistency_score": 1.0,
    }


def invented_log(folder: Path) -> Path:
    """Writes the two dialogues: one scored right, one inverted (it counts NO where YES is the fault)."""
    fits, breaks = REPLIES
    dialogues = [
        therapy("I keep away from doctors.", fits, recorded=1.0),
        therapy("Oh, I would trust her with my life.", breaks, recorded=1.0),
    ]
    path = folder / "invented.json"
    path.write_text(json.dumps(dialogues, indent=1), encoding="utf-8")
    return path


def main(paths: Sequence[str | Path]) -> None:
    """Prints the audit of the logs, then what is wrong and what can be read of each."""
    with tempfile.TemporaryDirectory() as folder:
        logs = list(paths) or [invented_log(Path(folder))]
        print_audit([*map(Path, logs)])
        for path in logs:
            dialogues = load_logs(path)
            found = [fail_closed(dialogue, key) for dialogue in dialogues for key in dialogue.judged]
            unread = sum(one.prompt_to_line.invalid for one in found)
            print(f"\n{len(audit(dialogues))} recorded scores disagree; {unread} prompt-to-line replies say nothing")


if __name__ == "__main__":
    main(sys.argv[1:])
