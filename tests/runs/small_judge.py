"""A judge and a simulator for the tests: small language models that learn in seconds what they have to know.

In their world a line with "never" in it is wrong, and every other one is right.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from persona_env.conversation import Message, View
from persona_env.io.persona_file import save_personas
from persona_env.judges import AnswerVsGold, LineVsHistory, LineVsPersona, LineVsPrevious, Query
from persona_env.judges.backend import JudgePrompt
from persona_env.judges.json_backend import _LABEL, _LIST
from persona_env.judges.prompts import JudgePrompts
from persona_env.persona import Persona, QAItem
from persona_env.speakers.chat_format import ChatFormat
from tests.speakers.small import CHATML, SPECIAL, model

__all__ = ["make_parts"]

Exchange: TypeAlias = tuple[View, str]
"""What a model sees, and what it is to say then."""

Ids: TypeAlias = tuple[list[int], list[int]]
"""The same as token ids."""

_BATCH = 16
_DRINKS = ("tea", "coffee", "water", "milk", "juice", "cocoa", "beer", "wine")
_WORDS = ("never", "i", "drink", "like", "a", "lot", "of", *_DRINKS)
_ASKED = "What do you drink?"
_HEARD = (_ASKED, "Hello.", "How are you?", "I see.", "Tell me more.", "So you feel better now?", "Why did you come?")
_PROMPTS = """
system = "You judge."
[line_vs_persona]
shown = "persona {persona} heard {heard} line {line}"
negative = "wrong?"
positive = "right?"
[line_vs_history]
shown = "earlier {earlier} line {line}"
negative = "conflicts?"
positive = "compatible?"
[line_vs_earlier]
shown = "earlier {before} line {line}"
negative = "wrong?"
positive = "right?"
[answer_vs_gold]
shown = "asked {question} gold {gold} answer {answer}"
negative = "wrong?"
positive = "right?"
[line_vs_previous]
shown = "heard {heard} line {line}"
negative = "wrong?"
positive = "right?"
"""
"""Short ones: a small model reads them in no time."""


def make_parts(folder: Path, *, steps: int = 400) -> dict[str, str]:
    """Makes a judge, a simulator, and what a run with these two needs beside them.

    Args:
        folder: Where all of it goes.
        steps: How long the judge learns; the simulator takes a fifth of that.

    Returns:
        Paths: `judge` and `simulator` (models), `prompts` (a folder) and `people` (a persona file).
    """
    paths = {name: folder / name for name in ("judge", "simulator", "prompts", "people")}
    people, rng = _people(), random.Random(0)
    save_personas(paths["people"], people, ["train", "dev"] * (len(people) // 2))
    paths["prompts"].mkdir()
    (paths["prompts"] / "patient.toml").write_text(_PROMPTS, encoding="utf-8")
    prompts = JudgePrompts.load(paths["prompts"])
    judged = [one for _ in range(600) for one in _judged(prompts, _question(people, rng))]
    said = [(_view(rng.choice(people).prompt, rng.choice(_HEARD)), _line(rng)) for _ in range(300)]
    words = _tokenizer([text for view, reply in [*judged, *said] for text in _texts(view, reply)])
    _learn(words, judged[::2], judged[1::2], steps, paths["judge"])
    _learn(words, said, said, steps // 5, paths["simulator"])
    return {name: str(path) for name, path in paths.items()}


def _people() -> list[Persona]:
    """Returns people of whom one fact is known; asked for it, the wrong answer is "never"."""
    return [
        Persona(
            f"p{number}", "patient", "Ann", f"You are Ann. You drink {drink}.",
            questions=(QAItem(drink, (_ASKED,), choices=(drink, "never"), key="drink"),),
        )
        for number, drink in enumerate(_DRINKS)
    ]  # fmt: skip


def _line(rng: random.Random) -> str:
    words = [rng.choice(_WORDS[1:]) for _ in range(rng.randint(1, 6))]
    if rng.random() < 0.5:
        words[rng.randrange(len(words))] = "never"
    return " ".join(words).capitalize() + rng.choice(("", "."))


def _question(people: Sequence[Persona], rng: random.Random) -> Query:
    person, line, heard = rng.choice(people), _line(rng), rng.choice(_HEARD)
    (item,) = person.questions
    earlier = tuple(_line(rng) for _ in range(rng.randint(1, 3)))
    kinds: list[Query] = [LineVsPersona(person, line, heard), LineVsPrevious(person, heard, line)]
    kinds += [LineVsHistory("patient", line, earlier)]
    kinds += [AnswerVsGold("patient", _ASKED, item.gold, line, item.choices)]
    return rng.choice(kinds)


def _judged(prompts: JudgePrompts, query: Query) -> Iterator[Exchange]:
    """Yields what a judge behind a server is asked, and what it ought to reply."""
    for prompt in prompts.both(query):
        form = _LIST % (prompt.key, prompt.key) if prompt.items else _LABEL
        yield _view(prompt.system, f"{prompt.user}\n\n{form}"), _right(prompt, query)


def _right(prompt: JudgePrompt, query: Query) -> str:
    if isinstance(query, LineVsHistory):  # nothing conflicts
        return json.dumps({prompt.key: [] if prompt.polarity == "negative" else list(range(1, prompt.items + 1))})
    line = query.answer if isinstance(query, AnswerVsGold) else query.line
    is_wrong = "never" in line.casefold()
    return json.dumps({prompt.key: "A" if is_wrong == (prompt.polarity == "negative") else "B"})


def _view(system: str, heard: str) -> View:
    return View("patient", "simulator", system, (Message("task", heard),), 0)


def _texts(view: View, reply: str) -> Iterator[str]:
    yield from (view.system, *(message.text for message in view.messages), reply)


def _tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Returns a byte-level tokenizer of whole words."""
    bpe: Any = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=600, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="<|end|>", pad_token="<pad>",
        extra_special_tokens=list(SPECIAL[3:]),
    )  # fmt: skip
    made.chat_template = CHATML
    return made


def _learn(
    words: PreTrainedTokenizerFast, first: Sequence[Exchange], later: Sequence[Exchange], steps: int, out: Path
) -> None:
    """Teaches a new model what to say where, and saves it.

    What comes `later` is mixed in slowly, up to a half: who is taught both polarities at once learns neither.
    """
    chat, rng = ChatFormat.derive(words), random.Random(0)
    made = model(len(words), intermediate_size=128, initializer_range=0.1, eos_token_id=words.eos_token_id)
    optimiser = torch.optim.AdamW(made.parameters(), lr=5e-3, betas=(0.9, 0.98))
    course = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        new = round(_BATCH * min(step / steps, 0.5))
        chosen = [*rng.sample(first, _BATCH - new), *rng.sample(later, new)]
        loss = _loss(made, [(chat.context(view), chat.own(reply)) for view, reply in chosen])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimiser.step()
        course.step()
    made.save_pretrained(out)
    words.save_pretrained(out)


def _loss(made: LlamaForCausalLM, pairs: Sequence[Ids]) -> torch.Tensor:
    """Returns the mean loss of what is said, padded on the right."""
    longest = max(len(before) + len(said) for before, said in pairs)
    ids, labels = torch.zeros(len(pairs), longest, dtype=torch.long), torch.full((len(pairs), longest), -100)
    for row, (before, said) in enumerate(pairs):
        ids[row, : len(before) + len(said)] = torch.tensor(before + said)
        labels[row, len(before) : len(before) + len(said)] = torch.tensor(said)
    found: Any = made(input_ids=ids, labels=labels)
    return found.loss
