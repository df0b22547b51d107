"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["JudgeSpec", "Role", "Seed", "Simulator", "Split"]

Role = Annotated[str, typer.Option(help="Who is simulated: patient, student or chat_partner.")]
Simulator = Annotated[str, typer.Option(help="The simulator: tiny, scripted, hf:<folder or id>, openai:<model>@<url>.")]
JudgeSpec = Annotated[str, typer.Option("--judge", help="The judge: oracle, recorded:, hf:, openai: or ensemble:.")]
Seed = Annotated[int, typer.Option(help="Everything random follows from it.")]
Split = Annotated[str, typer.Option(help="The personas that are measured: heldout, dev or train.")]
