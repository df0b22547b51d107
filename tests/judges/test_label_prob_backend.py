import json

import numpy as np
import pytest
import torch
from tokenizers import normalizers

from persona_env.errors import BudgetSpent
from persona_env.judges import LineVsHistory, load_judge
from persona_env.judges.backend import JudgePrompt
from persona_env.judges.label_prob_backend import LabelProbBackend
from persona_env.judges.llm import LLMJudge
from persona_env.models.limits import ModelResources, UsageLimit
from persona_env.models.reply_cache import ReplyCache
from persona_env.testing import check_judge
from persona_env.testing.samples import sample_queries
from tests.judges.chat_families import FAMILIES, control_ids, tokenizer
from tests.judges.injections import forgeries
from tests.speakers.small import model
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


def test_it_passes_the_kit(sure):
    check_judge(LLMJudge(sure), queries=[q for q in sample_queries() if not isinstance(q, LineVsHistory)][::3])


def test_earlier_lines_are_asked_about_one_by_one(sure):
    before = sure.usage.calls
    LLMJudge(sure).judge([LineVsHistory("patient", "Fine.", ("Sad.", "Tired.", "Numb."))])
    assert sure.usage.calls - before == 6


def test_a_batch_gives_what_each_prompt_gives_alone(sure):
    contexts = [sure._context(prompt) for prompt in PROMPTS]
    lengths = [len(ids) for ids in contexts]
    assert max(lengths) > 2 * min(lengths)
    for ids, together in zip(contexts, probabilities(sure, contexts), strict=True):
        alone = probabilities(sure, [ids])[0]
        with torch.no_grad():
            logits = sure.model(input_ids=torch.tensor([ids])).logits[0, -1, sure._labels]
        np.testing.assert_allclose(together, alone, atol=1e-5)
        np.testing.assert_allclose(together, logits.softmax(-1)[0].item(), atol=1e-5)


def probabilities(judge, contexts):
    """The probabilities of A, before they are rounded."""
    return [chance for chance, _ in judge._probabilities(contexts)]


@pytest.mark.parametrize("tokens", [1, 500, 10**6])
def test_the_size_of_a_batch_changes_no_answer(sure, tokens):
    other = backend(min_mass=0.0, batch_tokens=tokens)
    assert other.answer(PROMPTS) == sure.answer(PROMPTS)
    assert other.answer(PROMPTS[::-1])[::-1] == sure.answer(PROMPTS)


def test_a_batch_keeps_to_its_budget(sure):
    contexts = {bytes([length]): [0] * length for length in (5, 90, 7, 40, 30, 3)}
    batches = list(backend(batch_tokens=100)._batches(contexts))
    assert {key for batch in batches for key in batch} == contexts.keys()
    assert all(len(batch) == 1 or len(batch) * max(len(contexts[key]) for key in batch) <= 100 for batch in batches)
    assert len(batches) < 6


def test_a_trained_letter_comes_out():
    judge = backend(min_mass=0.5)
    with torch.no_grad():
        hidden = judge.model.model(torch.tensor([judge._context(PROMPTS[0])])).last_hidden_state[0, -1]
        head(judge)[judge._labels[1]] = 9 * hidden / hidden.norm() ** 2 * 9
    answer = judge.answer(PROMPTS[:1])[0]
    assert (answer.label, answer.problem) == ("B", "")
    assert answer.probability is not None
    assert answer.probability > 0.9


def test_a_model_that_wants_to_say_something_else_is_unreadable():
    answers = backend(min_mass=0.5).answer(PROMPTS)
    assert {answer.label for answer in answers} == {""}
    assert all("something else" in answer.problem for answer in answers)


def test_letters_that_are_equally_likely_are_unreadable():
    judge = backend(min_mass=0.0)
    with torch.no_grad():
        head(judge)[judge._labels[1]] = head(judge)[judge._labels[0]]
    assert all("undecided" in answer.problem for answer in judge.answer(PROMPTS))


def test_weights_that_are_not_finite_give_no_answer():
    judge = backend(min_mass=0.0)
    with torch.no_grad():
        head(judge).fill_(float("nan"))
    assert all("not numbers" in answer.problem for answer in judge.answer(PROMPTS))


def test_what_is_too_long_for_the_model_is_not_asked(sure):
    long, short = sure.answer([JudgePrompt("positive", "x", "word " * 3000), PROMPTS[0]])
    assert "the model reads 2048" in long.problem
    assert short == sure.answer(PROMPTS[:1])[0]


def test_a_list_is_not_asked_for(sure):
    assert "list" in sure.answer([JudgePrompt("positive", "x", "y", items=2)])[0].problem


@pytest.mark.parametrize("name", FAMILIES)
def test_no_line_forges_a_control_token_in_the_prompt(name):
    judge = backend(name, min_mass=0.0)
    controls = control_ids(name)
    plain = sum(i in controls for i in judge._context(JudgePrompt("positive", "S.", "Fine.")))
    for line in forgeries()[::7]:  # not even sanitized: the last line of defence
        ids = judge._context(JudgePrompt("positive", "S.", line))
        assert sum(i in controls for i in ids) == plain or judge._problem(JudgePrompt("positive", "S.", line), ids)


def test_a_prompt_with_more_control_tokens_than_the_template_has_is_not_asked(sure):
    ids = sure._context(PROMPTS[0])
    assert sure._problem(PROMPTS[0], ids) == ""
    assert "control tokens" in sure._problem(PROMPTS[0], [*ids, next(iter(control_ids("chatml")))])


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
    ("settings", "what"), [({"batch_tokens": 0}, "batch_tokens >="), ({"min_mass": 1.0}, "min_mass in")]
)
def test_settings_that_cannot_be_used_are_refused(settings, what):
    with pytest.raises(ValueError, match=what):
        backend(**settings)


def test_a_saved_model_is_loaded_by_its_spec(tmp_path):
    judge = backend()
    judge.model.save_pretrained(tmp_path / "judge")
    judge.chat.tokenizer.save_pretrained(tmp_path / "judge")
    loaded = load_judge(f"hf:{tmp_path / 'judge'}")
    assert isinstance(loaded, LLMJudge)
    assert loaded.backend.answer(PROMPTS) == judge.answer(PROMPTS)
    with pytest.raises(ValueError, match="which does not exist"):
        load_judge(f"hf:{tmp_path / 'no'}/such/judge")
