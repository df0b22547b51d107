"""Conformance kits: what every speaker, judge, metric and reward wrapper must do.

Each is a plain function that raises `AssertionError` with the name of the clause that does not hold, such as
`speaker.batching: ...`. Plugin authors can use them from any test runner; they need no network.
"""

from persona_env.testing.judge_kit import check_judge
from persona_env.testing.metric_kit import check_metric
from persona_env.testing.reward_kit import check_reward_wrapper
from persona_env.testing.samples import sample_conversations, sample_queries, sample_views
from persona_env.testing.speaker_kit import check_speaker

__all__ = [
    "check_judge",
    "check_metric",
    "check_reward_wrapper",
    "check_speaker",
    "sample_conversations",
    "sample_queries",
    "sample_views",
]
