import json

import numpy as np
import pytest
import torch
from tokenizers import normalizers

from persona_env.errors import BudgetSpent
from persona_env.judges.backend import JudgePrompt
from persona_env.judges.label_prob_backend import LabelProbBackend
from persona_env.models.limits import ModelResources, UsageLimit
from persona_env.models.reply_cache import ReplyCache
from tests.judges.chat_families import FAMILIES, control_ids, tokenizer
from tests.judges.injections import forgeries
from tests.speakers.small import NO_END, NO_HISTORY, SYSTEM_LAST, THINKING, model
from tests.speakers.small import tokenizer as small_tokenizer

TEXTS = ("How do you sleep?", "x", "A longer text about nothing at all. " * 9, "What the patient said: 4 hours.")
PROMPTS = [JudgePrompt(polarity, "Judge it.", text) for text in TEXTS for polarity in ("negative", "positive")]


def backend(name="chatml", **settings):
    return LabelProbBackend(model(vocabulary=len(tokenizer(name)), length=2048), tokenizer(name), name, **settings)


def head(judge) -> torch.Tensor:
    return judge.model.get_output_embeddings().weight


@pytest.fixture(scope="module")
def sure():
    return backend(min_mass=0.0)


def test_a_batch_gives_what_each_prompt_gives_alone(sure):
    contexts = [sure._context(prompt) for prompt in PROMPTS]
    lengths = [len(ids) for ids in contexts]
    assert max(lengths) > 2 * min(lengths)
    for ids, (together, _) in zip(contexts, sure._probabilities(contexts), strict=True):
        [(alone, _)] = sure._probabilities([ids])
        with torch.no_grad():
            logits = sure.model(input_ids=torch.tensor([ids])).logits[0, -1, sure._labels]
        np.testing.assert_allclose(together, alone, atol=1e-5)
        np.testing.assert_allclose(together, logits.softmax(-1)[0].item(), atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 500, 10**6])
def test_the_size_of_a_batch_changes_no_answer(sure, tokens):
    other = backend(min_mass=0.0, batch_tokens=tokens)
    assert other.answer(PROMPTS) == sure.answer(PROMPTS)
    assert other.answer(PROMPTS[::-1])[::-1] == sure.answer(PROMPTS)


def test_a_trained_letter_comes_out():
    judge = backend(min_mass=0.5)
    with torch.no_grad():
        hidden = judge.model.model(torch.tensor([judge._context(PROMPTS[0])])).last_hidden_state[0, -1]
        head(judge)[judge._labels[1]] = 9 * hidden / hidden.norm() ** 2 * 9
    answer = judge.answer(PROMPTS[:1])[0]
    assert (answer.label, answer.problem) == ("B", "")
    assert answer.probability is not None
    assert answer.probability > 0.9


def equal_letters(judge):
    head(judge)[judge._labels[1]] = head(judge)[judge._labels[0]]


@pytest.mark.parametrize(("min_mass", "spoil", "why"), [
    (0.5, lambda judge: None, "something else"), (0.0, equal_letters, "undecided"),
    (0.0, lambda judge: head(judge).fill_(float("nan")), "not numbers"),
])  # fmt: skip
def test_a_model_whose_letters_say_nothing_is_unreadable(min_mass, spoil, why):
    judge = backend(min_mass=min_mass)
    with torch.no_grad():
        spoil(judge)
    answers = judge.answer(PROMPTS)
    assert all(why in answer.problem and not answer.label for answer in answers)


@pytest.mark.parametrize(("prompt", "why"), [
    (JudgePrompt("positive", "x", "word " * 3000), "the model reads 2048"),
    (JudgePrompt("positive", "x", "y", items=2), "list"),
])  # fmt: skip
def test_what_the_model_cannot_answer_is_not_asked(sure, prompt, why):
    before = sure.usage.calls
    refused, asked = sure.answer([prompt, PROMPTS[0]])
    assert why in refused.problem
    assert (asked, sure.usage.calls) == (sure.answer(PROMPTS[:1])[0], before + 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_line_forges_a_control_token_in_the_prompt(name):
    judge = backend(name, min_mass=0.0)

    def controls(prompt):
        return sum(i in control_ids(name) for i in judge._context(prompt))

    plain = controls(JudgePrompt("positive", "S.", "Fine."))
    for line in forgeries()[::7]:  # not even sanitized: the last line of defence
        prompt = JudgePrompt("positive", "S.", line)
        assert controls(prompt) == plain or judge._problem(prompt, judge._context(prompt))


def test_probabilities_are_read_from_a_cache_and_count_against_a_limit(sure, tmp_path):
    limited = backend(min_mass=0.0)
    with ReplyCache(tmp_path / "replies.sqlite") as cache:
        limited.use(ModelResources((cache,), UsageLimit(calls=len(TEXTS))))
        first = limited.answer(PROMPTS)
        assert first == sure.answer(PROMPTS)
        assert limited.answer([*PROMPTS, *PROMPTS]) == [*first, *first]
        assert (limited.usage.calls, limited.usage.cached) == (len(TEXTS), len(TEXTS))  # equal requests are sent once
        with pytest.raises(BudgetSpent):
            limited.answer([JudgePrompt("negative", "Judge it.", "Something new.")])


def test_a_tokenizer_without_a_token_for_each_letter_is_refused():
    made = small_tokenizer()
    LabelProbBackend(model(), made)
    made.backend_tokenizer.normalizer = normalizers.Replace("A", "AA")
    with pytest.raises(ValueError, match="Expected a tokenizer with a token for each of A and B, got"):
        LabelProbBackend(model(), made, "odd")


@pytest.mark.parametrize("template", [SYSTEM_LAST, NO_HISTORY, NO_END, THINKING])
def test_a_template_in_which_dialogues_do_not_compose_can_judge(template):
    judge = LabelProbBackend(model(), small_tokenizer(template), min_mass=0.0)
    assert {answer.label for answer in judge.answer(PROMPTS)} <= {"A", "B"}
    assert judge.usage.calls == len(TEXTS)


def test_the_identity_follows_the_weights_and_the_template():
    judge = backend()
    first = judge.identity
    assert json.loads(json.dumps(first)) == first
    assert backend().identity == first
    with torch.no_grad():
        next(judge.model.parameters())[0, 0] += 1
    assert judge.identity["weights"] != first["weights"]
    assert backend("llama3").identity["template"] != first["template"]
    assert backend(min_mass=0.3).identity != first


@pytest.mark.parametrize(
    ("settings", "what"), [({"batch_tokens": 0}, "batch_tokens >="), ({"min_mass": 1.0}, "min_mass < 1")]
)
def test_settings_that_cannot_be_used_are_refused(settings, what):
    with pytest.raises(ValueError, match=what):
        backend(**settings)
