"""A distribution outside the package adds a role, speakers, a judge, a metric and an algorithm, for every command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.speakers.small import model, tokenizer

SOURCE = Path(__file__).parent / "stranger"
METADATA = "Metadata-Version: 2.1\nName: persona-env-shop\nVersion: 1.0\n"
ENTRY_POINTS = """
[persona_env.roles]
shopper = persona_env_shop:SHOPPER

[persona_env.speakers]
keeper = persona_env_shop:Keeper
shopper = persona_env_shop:Shopper
broken = persona_env_shop.gone:Nothing

[persona_env.judges]
keyword = persona_env_shop:Keyword

[persona_env.metrics]
politeness = persona_env_shop:Politeness

[persona_env.algorithms]
sweep = persona_env_shop:Sweep
"""
SMALL = ["--role", "shopper", "--judge", "keyword:refund", "--task-agent", "keeper?question=Which size%3F"]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder of installed packages with the stranger's distribution in it, as pip lays it out."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "persona_env_shop").symlink_to(SOURCE / "persona_env_shop")
    info = folder / "persona_env_shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def run(site: Path, *arguments: str, typed: str = "", code: int = 0) -> str:
    path = os.pathsep.join([str(site), *(p for p in sys.path if p)])
    command = [sys.executable, "-m", "persona_env", *arguments]
    found = subprocess.run(command, input=typed, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert found.returncode == code, found.stdout + found.stderr
    return found.stdout if code == 0 else found.stderr


@pytest.mark.slow
def test_a_strangers_parts_are_benchmarked(site, tmp_path):
    out = run(
        site, "bench", "shopper:Ann", "interview", *SMALL, "--dialogues", "3", "--lines", "4",
        "--metrics", "prompt_to_line,question_answer,politeness",
        "--out", str(tmp_path / "bench"),
    )  # fmt: skip
    assert "rudeness" in out
    assert "Ann" in out


@pytest.mark.slow
def test_a_strangers_parts_are_trained_with(site, tmp_path):
    sizes = ["--tokens", "64", "--dialogues", "3", "--extended-dialogues", "0", "--lines", "2", "--max-tokens", "6"]
    rewards = ["--rewards", "prompt_to_line=1,politeness=0.5", "--algorithm", "sweep?tries=1"]
    words = tokenizer()
    for part in (model(len(words)), words):
        part.save_pretrained(tmp_path / "model")
    learner = ["--simulator", str(tmp_path / "model")]
    out = run(site, "train", *SMALL, *sizes, *rewards, *learner, "--out", str(tmp_path / "run"))
    assert "rudeness" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["role"], summary["judge"]) == ("shopper", "keyword:refund")
    assert (tmp_path / "run" / "model" / "config.json").is_file()


@pytest.mark.slow
def test_a_strangers_parts_are_talked_to(site):
    out = run(site, "play", "--simulator", "shopper:Bo", *SMALL[:4], typed="Good morning.\n\n")
    assert "Bo wants" in out


@pytest.mark.slow
def test_a_plug_in_that_cannot_be_imported_is_named_and_takes_no_other_down(site):
    assert "persona_env_shop.gone:Nothing" in run(site, "bench", "broken", *SMALL, code=2)
    known = run(site, "bench", "nobody", *SMALL, code=2)
    assert "keeper" in known
    assert "tiny" in known
