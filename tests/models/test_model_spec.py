"""Where a model stands may be said as a run folder or a bare path, wherever a spec is taken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from persona_env.errors import InputError
from persona_env.judges import load_judge
from persona_env.models.model_spec import model_spec
from persona_env.rl.loading import load_trainable
from persona_env.speakers import load_speaker
from persona_env.speakers.local import LanguageModel
from tests.speakers import small


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a model in `mine` and a run in `runs/one`, which is also where the process stands."""
    LanguageModel(small.model(), small.tokenizer()).save_pretrained(tmp_path / "mine")
    shutil.copytree(tmp_path / "mine", tmp_path / "runs" / "one" / "model")
    (tmp_path / "runs" / "one" / "config.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


PLACES = (
    "hf:mine",
    "hf:~/mine",
    "mine/",
    "./mine",
    "~/mine",
    "{home}/mine",
    "run:runs/one",
    "run:~/runs/one",
    "runs/one",
)


@pytest.mark.parametrize("place", PLACES)
def test_a_speaker_a_judge_and_a_learner_are_loaded_from_it(home: Path, place: str) -> None:
    place = place.format(home=home)
    speaker = load_speaker(f"{place}?temperature=0", max_tokens=5)
    assert isinstance(speaker, LanguageModel)
    assert (speaker.temperature, speaker.max_tokens) == (0, 5)
    assert LanguageModel.load(place, max_tokens=5).identity == {**speaker.identity, "temperature": 1.0}
    assert load_judge(f"{place}?min_mass=0").identity == load_judge("hf:mine?min_mass=0").identity
    assert load_trainable(place).folder is not None


@pytest.mark.parametrize(("place", "why"), [
    ("./nothing", "'./nothing', which does not exist: check the path"),
    ("~/nothing", "'~/nothing', which does not exist"),
    ("some/model", "or write hf:some/model for a model of the hub"),
    ("empty", "'empty', which has neither a config.json nor a model/ in it"),
    ("run:empty", "Expected a run folder with a model/ in it, got 'empty'"),
    ("run:nothing", "Expected a run folder with a model/ in it, got 'nothing'"),
])  # fmt: skip
def test_a_path_of_neither_is_one_line(home: Path, place: str, why: str) -> None:
    for load in (load_speaker, load_judge, load_trainable):
        with pytest.raises(InputError) as caught:
            load(place)
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_kind_wins_over_a_folder_of_its_name_and_words_stay_words(home: Path) -> None:
    shutil.copytree(home / "mine", home / "tiny")
    assert model_spec("tiny") == "tiny"
    assert load_speaker("tiny").identity != load_speaker("./tiny").identity
    with pytest.raises(InputError, match="Expected a speaker among tiny, "):
        load_speaker("nothing")


def test_a_local_model_that_is_to_think_is_refused(home: Path) -> None:
    load_speaker("mine?thinking=false")
    with pytest.raises(InputError, match="Expected thinking=false of a local model, got 'true'"):
        load_speaker("mine?thinking=true")
