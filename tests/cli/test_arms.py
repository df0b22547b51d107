"""Arms are told apart by short names; a name is a plain word before a spec, whatever the spec's options hold."""

import pytest

from persona_env.cli.arms import named_arms
from persona_env.errors import InputError


@pytest.mark.parametrize(("texts", "arms"), [
    (["mine=hf:org/some", "base=openai:m@http://h/v1"], {"mine": "hf:org/some", "base": "openai:m@http://h/v1"}),
    (["openai:m?temperature=0", "tiny?a=1"], {"m": "openai:m?temperature=0", "tiny": "tiny?a=1"}),
    (["a.b-c=openai:m?x=1&y=2"], {"a.b-c": "openai:m?x=1&y=2"}),
    (["~/models/x", "run:runs/patient", "hf:runs/ann/model"],
     {"x": "~/models/x", "patient": "run:runs/patient", "ann": "hf:runs/ann/model"}),
    (["hf:a/x", "hf:b/x", "x=tiny"], {"x-2": "hf:a/x", "x-3": "hf:b/x", "x": "tiny"}),
    (["tiny", "tiny"], {"tiny": "tiny", "tiny-2": "tiny"}),
    (["openai:gpt@https://h:8000/v1?header=X-A:b=c"], {"gpt": "openai:gpt@https://h:8000/v1?header=X-A:b=c"}),
    (["./a=b/model"], {"a=b": "./a=b/model"}),
    (["openai:" + "m" * 90], {"m" * 20: "openai:" + "m" * 90}),
])  # fmt: skip
def test_specs_and_their_names(texts: list[str], arms: dict[str, str]):
    assert named_arms(texts) == arms


def test_a_folder_whose_name_holds_an_equals_sign_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0").mkdir()
    assert named_arms(["lr=0", "lr=tiny"]) == {"lr=0": "lr=0", "lr": "tiny"}


def test_the_same_name_twice_is_one_line():
    with pytest.raises(InputError, match="got 'mine' twice: rename"):
        named_arms(["mine=tiny", "base=tiny", "mine=scripted"])
