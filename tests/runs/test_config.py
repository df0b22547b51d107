"""A run's settings are refused in one line before anything is loaded, and come from keywords, TOML or JSON alike."""

from pathlib import Path
from typing import Any

import pytest

from persona_env.algorithms.a2c import A2C
from persona_env.algorithms.ppo import PPO
from persona_env.runs.config import RunConfig, parse_budget, parse_rewards, read_config


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"role": "pirate"}, "role"),
        ({"algorithm": "dqn"}, "algorithm among ppo, a2c"),
        *(({"algorithm": value}, "a text as algorithm, got") for value in (True, 3, ["ppo"])),
        ({"lines": 0}, "lines >= 1, got 0"),
        ({"tokens": -5}, "tokens >= 1"),
        ({"tokens": 10**15}, "tokens < 1e"),
        ({"tokens": 1.5}, "a whole number as tokens"),
        ({"threads": True}, "a whole number as threads"),
        ({"seed": -1}, "seed >= 0"),
        ({"seed": 2**32}, "seed < "),
        ({"max_invalid": 2}, "max_invalid <= 1"),
        ({"dtype": "int3"}, "dtype among auto, float32, bfloat16"),
        ({"judge_cache": "a\x00b"}, "a text as judge_cache"),
        *(({"judge_budget": text}, "a budget such as") for text in ("lots", "calls=0", "money=3", "tokens=inf")),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"rewards": {}}, "at least one reward"),
        ({"rewards": {"niceness": 1.0}}, "a reward among prompt_to_line, .*, got 'niceness'"),
        ({"rewards": {"relevance": float("nan")}}, "finite weight for relevance"),
        ({"load_in_4bit": True}, "lora_rank >= 1 with load_in_4bit, got 0"),
        ({"rolle": 1}, "settings among judge, .*role, .*kl_coef.*, got 'rolle'"),
        ({"algorithm": "a2c", "epochs": 2}, "settings among .*, got 'epochs'"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(wrong: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says) as caught:
        RunConfig.from_flat(wrong)
    assert str(caught.value).startswith("Expected ")
    assert "\n" not in str(caught.value)


def test_a_run_is_one_flat_table_and_comes_back_from_it():
    run = RunConfig(role="student", algorithm=A2C(kl_coef=0.2, steps=16), rewards={"relevance": 1.0})
    table = run.as_json()
    assert (table["algorithm"], table["kl_coef"], table["steps"], "epochs" in table) == ("a2c", 0.2, 16, False)
    assert RunConfig.from_json(table, "config.json") == run
    assert RunConfig.from_flat({"algorithm": "ppo?epochs=3", "kl_coef": 1}).algorithm == PPO(epochs=3, kl_coef=1)
    with pytest.raises(ValueError, match=r"settings of this version in config.json, got none of 'seed'"):
        RunConfig.from_json({name: value for name, value in table.items() if name != "seed"}, "config.json")


def test_what_changes_no_figure_may_change_when_a_run_is_resumed():
    free = {"checkpoint_every": 9, "max_invalid": 0.5, "judge_budget": "100", "judge_cache": "shared.sqlite"}
    assert RunConfig().resumed(free) == RunConfig(**free)
    with pytest.raises(ValueError, match=r"got seed: was 0, is 7, kl_coef: was 0.11, is 0.3: leave"):
        RunConfig().resumed({"seed": 7, "role": "patient", "kl_coef": 0.3})
    with pytest.raises(ValueError, match=r"got algorithm: was 'ppo', is 'a2c': leave"):
        RunConfig().resumed({"algorithm": "a2c"})


def test_rewards_and_budgets_are_read_from_a_line_of_text():
    assert parse_budget("tokens=2e6") == {"tokens": 2_000_000}
    assert parse_rewards("prompt_to_line=1, relevance") == {"prompt_to_line": 1.0, "relevance": 1.0}
    for wrong in ("prompt_to_line=much", "prompt_to_line=nan", "=1", ""):
        with pytest.raises(ValueError, match="Expected"):
            parse_rewards(wrong)


def test_a_config_file_gives_settings_and_refuses_what_it_does_not_know(tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text('role = "student"\ntokens = 4096\nkl_coef = 1\n[rewards]\nrelevance = 1.0\n')
    run = RunConfig.from_flat(read_config(path))
    assert (run.role, run.tokens, run.rewards, run.algorithm) == ("student", 4096, {"relevance": 1.0}, PPO(kl_coef=1))
    wrong = {"rolle = 1": r"'rolle'.*run\.toml", "tokens = 'many'": "tokens", "role =": "TOML"}
    for text, says in (wrong | {"algorithm = true": r"got True: .*run\.toml"}).items():
        path.write_text(text)
        with pytest.raises(ValueError, match=says):
            read_config(path)
    with pytest.raises(ValueError, match="TOML"):
        read_config(tmp_path / "missing.toml")
