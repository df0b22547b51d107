"""What a run has cost adds up over its processes, and what a resumed run finds again counts once."""

from collections import Counter
from pathlib import Path

import pytest

from persona_env.judges.base import VerdictCounts
from persona_env.runs.checkpoint import Checkpoints
from persona_env.runs.config import RunConfig
from persona_env.runs.costs import CostLog, TooManyInvalid, check_invalid, judge_sentence, judge_usage
from persona_env.runs.run_folder import RunFolder
from persona_env.runs.training import Training


def test_a_few_invalid_verdicts_among_the_first_do_not_end_a_training_yet():
    check_invalid("training", 0.01, VerdictCounts(judged=8, invalid=2, asked=10), ended=False)
    check_invalid("training", 0.01, VerdictCounts())
    with pytest.raises(TooManyInvalid, match="at most 1 % invalid verdicts in training, got 2 of 10"):
        check_invalid("training", 0.01, VerdictCounts(judged=8, invalid=2, asked=10))
    with pytest.raises(TooManyInvalid, match="got 3 of 200") as ended:
        check_invalid("training", 0.01, VerdictCounts(judged=197, invalid=3, asked=200), ended=False)
    assert ended.value.exit_code == 78


def test_what_the_text_settles_hides_no_invalid_verdict():
    with pytest.raises(TooManyInvalid, match="got 2 of 100"):
        check_invalid("it", 0.01, VerdictCounts(judged=998, invalid=2, asked=100))
    check_invalid("it", 0.01, VerdictCounts(judged=998, invalid=1, asked=100))


def test_a_judge_may_contradict_itself_now_and_then_but_not_mostly_and_one_that_never_decides_is_none():
    check_invalid("it", 0.01, VerdictCounts(judged=950, undecided=49, invalid=1, asked=1000))
    for most, asked, says in (
        (0.01, 100, "at most 50 %"),
        (0.6, 100, "at most 60 %"),
        (1.0, 65, "decide in it, got none"),
    ):
        with pytest.raises(TooManyInvalid, match=says):
            check_invalid("it", most, VerdictCounts(judged=35, undecided=65, asked=asked))
    check_invalid("it", 1.0, VerdictCounts(judged=36, undecided=65, asked=66))
    check_invalid("training", 0.01, VerdictCounts(undecided=10, asked=10), ended=False)
    with pytest.raises(TooManyInvalid, match="got 11 of 11"):
        check_invalid("training", 0.01, VerdictCounts(undecided=11, asked=11), ended=False)


def test_costs_add_up_over_processes_and_a_canary_that_is_repeated_counts_once(tmp_path: Path):
    folder, counts = RunFolder(tmp_path).create(), Counter[str]()
    log = CostLog(folder, lambda: counts)
    counts.update(calls=9, tokens=90, canaries=1)
    log.book()
    log.note("before")
    counts.update(calls=20, tokens=200, canaries=2, canaries_failed=1, pairs=8, agreed=6)
    log.note("training", tokens=256)
    counts.update(calls=20, tokens=200, canaries=2)
    log.note("training", tokens=512)  # after the last checkpoint: a kill undoes it
    counts.update(calls=5, canaries=3)
    log.book()
    again = Counter[str]()
    log = CostLog(folder, lambda: again)
    again.update(cache_hits=20, canaries=2, damaged=1)
    log.note("training", tokens=512)
    assert {*log.seconds} == {"before", "training"}
    assert log.counts == CostLog(folder).counts == {
        "calls": 54, "tokens": 490, "cache_hits": 20, "damaged": 1,
        "canaries": 1 + 2 + 2, "canaries_failed": 1, "pairs": 8, "agreed": 6,
    }  # fmt: skip


def test_the_use_of_a_judge_is_said_in_one_line():
    counts = {"calls": 7, "tokens": 900, "canaries": 5, "canaries_failed": 2, "pairs": 9, "agreed": 8}
    usage = judge_usage(counts, "calls=9,tokens=1000", VerdictCounts(150, 5, 3, 120))
    assert (usage["budget"], usage["agreement"], usage["damaged"]) == ({"calls": 9, "tokens": 1000}, 8 / 9, 0)
    assert judge_sentence(usage) == (
        "Judge: 7 of 9 calls, 900 of 1,000 tokens; 0 replies from the cache; of 120 verdicts 3 invalid, 5 "
        "undecided; 2 of 5 canaries failed; its members agreed in 89% of 9 pairs."
    )
    assert judge_usage({})["agreement"] is None
    assert "; 1 damaged replies asked for again." in judge_sentence(judge_usage({"damaged": 1}))


def test_a_judge_that_breaks_late_in_a_training_ends_it_with_the_first_batch_that_it_spoils(tmp_path: Path):
    folder = RunFolder(tmp_path).create()
    settled = list[int]()
    training = Training(
        RunConfig(judge="openai:some-model@http://127.0.0.1:9/v1"),
        folder=folder,
        checkpoints=Checkpoints(folder),
        cost_log=CostLog(folder),
        settle=lambda: settled.append(training.tokens),
    )
    training.log({"tokens": 1, "judged": 99_000, "undecided": 900, "invalid": 100})
    training.log({"tokens": 2, "judged": 1_000, "undecided": 50, "invalid": 10, "asked": 1_000})
    for broken in ({"judged": 970, "invalid": 30}, {"judged": 400, "undecided": 600}):
        with pytest.raises(TooManyInvalid, match=r"in training, got (30|600) of 1000"):
            training.log({"tokens": 3, **broken})
    assert settled == [1, 2]
    folder.close()
