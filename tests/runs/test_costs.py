"""What a run has cost adds up over its processes, and what a resumed run finds again counts once."""

from collections import Counter
from pathlib import Path

import pytest

from persona_env.runs.costs import CostLog, TooManyInvalid, check_invalid, judge_sentence, judge_usage
from persona_env.runs.run_folder import RunFolder


def test_a_few_invalid_verdicts_among_the_first_do_not_end_a_training_yet():
    check_invalid("training", 0.01, judged=10, invalid=2, ended=False)
    check_invalid("training", 0.01, judged=0, invalid=0)
    with pytest.raises(TooManyInvalid, match="at most 1 % invalid verdicts in training, got 2 of 10"):
        check_invalid("training", 0.01, judged=10, invalid=2)
    with pytest.raises(TooManyInvalid, match="got 3 of 200") as ended:
        check_invalid("training", 0.01, judged=200, invalid=3, ended=False)
    assert ended.value.exit_code == 78


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
    usage = judge_usage(counts, "calls=9,tokens=1000", invalid=3)
    assert (usage["budget"], usage["agreement"], usage["damaged"]) == ({"calls": 9, "tokens": 1000}, 8 / 9, 0)
    assert judge_sentence(usage) == (
        "Judge: 7 of 9 calls, 900 of 1,000 tokens; 0 replies from the cache, 3 invalid verdicts; 2 of 5 canaries "
        "failed; its members agreed in 89% of 9 pairs."
    )
    assert judge_usage({})["agreement"] is None
    assert "; 1 damaged replies asked for again." in judge_sentence(judge_usage({"damaged": 1}))
