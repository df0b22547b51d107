from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from persona_env.errors import BudgetSpent, InputError, RunEnded
from persona_env.models.limits import ModelResources, Usage, UsageLimit
from persona_env.models.reply_cache import ReplyCache
from tests.models.asked import client, outcomes, requests
from tests.models.behaviours import by_chance, status
from tests.models.fault_server import FaultServer


def test_calls_are_never_more_than_allowed_however_many_threads_ask():
    limit = UsageLimit(calls=50)
    with ThreadPoolExecutor(8) as pool:
        ended = [pool.submit(limit.start).exception() for _ in range(200)]
    assert Counter(map(type, ended)) == {type(None): 50, BudgetSpent: 150}
    assert limit.used == {"calls": 50, "tokens": 0}


def test_no_request_starts_once_the_tokens_are_spent():
    limit = UsageLimit(tokens=100)
    limit.start()
    limit.add_tokens(120)
    with pytest.raises(BudgetSpent, match=r"^Expected at most 100 tokens, got 120 used: allow more, then resume\.$"):
        limit.start()


def test_what_earlier_processes_spent_counts():
    limit = UsageLimit(calls=10, spent=Usage(calls=9))
    limit.start()
    with pytest.raises(BudgetSpent):
        limit.start()
    with pytest.raises(InputError, match="above the 10 calls that were used, got calls=10: give a larger one"):
        UsageLimit(calls=10, spent=Usage(calls=10))
    with pytest.raises(InputError, match="above the 0 tokens that were used, got tokens=0"):
        UsageLimit(tokens=0)


def test_a_client_stops_in_order_and_keeps_what_was_paid(tmp_path: Path):
    """Retries count as well, and the limit is shared by all clients that get it."""
    limit = UsageLimit(calls=60)
    faults = by_chance(0.3, {"status 500": status(500)})
    with FaultServer(faults, latency=0.01) as server, ReplyCache(tmp_path / "replies") as cache:
        with client(server) as one, client(server) as other:
            for asked in (one, other):
                asked.use(ModelResources((cache,), limit))
            assert outcomes(one.complete(requests(20))) == {"right": 20}
            with pytest.raises(BudgetSpent) as caught:
                other.complete(requests(100))
        assert (isinstance(caught.value, RunEnded), caught.value.exit_code) == (True, 76)
        assert len(server.calls) == limit.used["calls"] == 60
        assert limit.used["tokens"] == 110 * len(cache)


def test_tokens_exceed_a_limit_by_no_more_than_what_is_in_flight():
    limit = UsageLimit(tokens=1100)
    with FaultServer(latency=0.01) as server, client(server, max_in_flight=4) as asked:
        asked.use(ModelResources(limit=limit))
        with pytest.raises(BudgetSpent):
            asked.complete(requests(100))
    assert 1100 <= limit.used["tokens"] <= 1100 + 3 * 110
