"""RunConfig refuse what cannot be run, in one line, before anything is loaded."""

import math

import pytest

from persona_env.runs.config import RunConfig, parse_rewards, read_config


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"role": "pirate"}, "role"),
        ({"algorithm": "dqn"}, "algorithm ppo or a2c"),
        ({"lines": 0}, "lines >= 1"),
        ({"tokens": -5}, "tokens >= 1"),
        ({"seed": -1}, "seed >= 0"),
        ({"line_gamma": 1.5}, r"line_gamma in \[0, 1\]"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"kl_coef": math.nan}, "kl_coef >= 0"),
        ({"rewards": {}}, "at least one reward"),
        ({"rewards": {"niceness": 1.0}}, "niceness"),
        ({"rewards": {"relevance": math.nan}}, "finite weight for relevance"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(wrong, says):
    with pytest.raises(ValueError, match=says) as caught:
        RunConfig(**wrong)
    assert str(caught.value).startswith("Expected ")
    assert "\n" not in str(caught.value)


def test_tokens_are_rounded_up_to_whole_rollouts():
    assert RunConfig(tokens=1, envs=2, steps=3).rollouts == 1
    assert RunConfig(tokens=7, envs=2, steps=3).rollouts == 2


def test_rewards_are_read_from_a_line_of_text():
    assert parse_rewards("prompt_to_line=1, relevance") == {"prompt_to_line": 1.0, "relevance": 1.0}
    for wrong in ("prompt_to_line=much", "prompt_to_line=nan", "=1", ""):
        with pytest.raises(ValueError, match="Expected"):
            parse_rewards(wrong)


def test_a_config_file_gives_settings_and_refuses_what_it_does_not_know(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('role = "student"\ntokens = 4096\nkl_coef = 1\n[rewards]\nrelevance = 1.0\n')
    settings = RunConfig(**read_config(path))
    assert (settings.role, settings.tokens, settings.rewards) == ("student", 4096, {"relevance": 1.0})
    for text, says in (("rolle = 1", "rolle"), ("tokens = 'many'", "tokens"), ("role =", "TOML")):
        path.write_text(text)
        with pytest.raises(ValueError, match=says):
            read_config(path)
    with pytest.raises(ValueError, match="TOML"):
        read_config(tmp_path / "missing.toml")
