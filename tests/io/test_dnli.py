"""Dialogue NLI: personas and replies with human labels."""

import json
from pathlib import Path
from typing import Any

import pytest

from persona_env.io import load_personas
from persona_env.io.dnli import read_dnli
from tests.io.invented import refused

DNLI = Path(__file__).parents[3] / "shared" / "data" / "dnli" / "valid_attributes.jsonl"
needs_dnli = pytest.mark.skipif(not DNLI.is_file(), reason=f"the real set is not here: {DNLI}")

ROW: dict[str, Any] = {
    "persona": ["i sell tacos .", "i have brown hair ."],
    "prefix": ["hello .", "hi , i sell tacos .", "and your hair ?"],
    "eval_labels": ["brown , like tacos ."],
    "triple": ["i", "physical_attribute", "brown"],
    "candidates": {
        "label": ["brown , like tacos ."],
        "neg": ["i am blonde .", "i am bald ."],
        "similar": ["my hair is brown ."],
        "rand": ["god is kind ."],
    },
    "relevant_persona_sentence": "i have brown hair .",
}


def filed(folder: Path, *rows: Any) -> Path:
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def with_candidates(**lists: list[str]) -> dict[str, Any]:
    return {**ROW, "candidates": {**ROW["candidates"], **lists}}


def test_a_row_is_a_persona_a_dialogue_and_labelled_replies(tmp_path: Path):
    (row,) = read_dnli(filed(tmp_path, ROW))
    assert row.as_persona().description == "i sell tacos .\ni have brown hair ."
    assert row.prefix == tuple(ROW["prefix"])
    found = row.candidates
    assert {name: [*getattr(found, name)] for name in found.__struct_fields__} == ROW["candidates"]


def test_its_people_load_as_chat_partners_one_a_row(tmp_path: Path):
    path = filed(tmp_path, ROW, ROW)
    personas = load_personas(path)
    assert [p.id for p in personas] == ["set/0000", "set/0001"]
    assert {(p.role, p.questions) for p in personas} == {("chat_partner", ())}
    assert load_personas(path, "train") == personas  # the same description stays in one split


WRONG = {
    "a field too many": ({**ROW, "mood": 1}, "unknown field `mood`"),
    "a persona without sentences": ({**ROW, "persona": []}, r"`array` of length >= 1 at .*line 2, \$\.persona"),
    "a reply without words": (with_candidates(neg=[" "]), r"\$\.candidates\.neg\[0\]"),
    "a reply with two labels": (
        with_candidates(similar=["i am bald ."]),
        "one label for a reply, got 'i am bald .*line 2",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_line_and_field(tmp_path: Path, name: str):
    row, message = WRONG[name]
    for read in (load_personas, lambda path: list(read_dnli(path))):
        refused(read, filed(tmp_path, ROW, row), message)


def test_another_file_is_refused(tmp_path: Path):
    refused(
        lambda path: list(read_dnli(path)), filed(tmp_path, {"persona": ["I fish."]}), "missing required .*`prefix`"
    )
    refused(lambda path: list(read_dnli(path)), filed(tmp_path), "got an empty file")


@needs_dnli
def test_the_real_set_loads():
    rows = list(read_dnli(DNLI))
    assert (len(rows), len({row.as_persona().id for row in rows})) == (88, 78)
    assert {len(row.candidates.neg) for row in rows} == {10}
    assert len(load_personas(DNLI)) == 88
