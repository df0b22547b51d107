"""What every speaker must do."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence

import numpy as np

from persona_env.conversation import Side, View
from persona_env.speakers import Replies, Speaker, as_speaker
from persona_env.testing.samples import require, sample_views

__all__ = ["check_speaker"]


def check_speaker(
    speaker: Speaker | Replies, *, side: Side = "simulator", views: Sequence[View] | None = None, exact: bool = True
) -> None:
    """Checks that a speaker keeps to the protocol, on `sample_views` if none are given.

    With `exact` a reply is a function of its view alone; a remote model's is not.

    >>> from persona_env.world.scripted import ScriptedSpeaker
    >>> check_speaker(ScriptedSpeaker())
    """
    views = list(sample_views(side) if views is None else views)
    require(hasattr(speaker, "reply"), "speaker.protocol", f"{speaker!r} has no method reply(views)")
    speaker = as_speaker(speaker)
    is_plain = json.loads(json.dumps(dict(speaker.identity))) == dict(speaker.identity)
    require(is_plain, "speaker.identity", f"Expected a mapping of plain data, got {speaker.identity!r:.80}")
    require(speaker.reply([]) == [], "speaker.no_views", "reply([]) is to be []")
    before = _global_randomness()
    lines = speaker.reply(views)
    is_untouched = before == _global_randomness()
    require(
        isinstance(lines, list) and len(lines) == len(views),
        "speaker.one_line_per_view",
        f"Expected a list of {len(views)} lines, got {lines!r:.80}",
    )
    for line in lines:
        is_text = isinstance(line, str) and not any(0xD800 <= ord(c) <= 0xDFFF for c in line)
        require(is_text, "speaker.text", f"Expected text that UTF-8 can hold, got {line!r:.80}")
    if not exact:
        return
    require(is_untouched, "speaker.own_seed_only", "it draws from a global generator: use view.seed alone")
    random.seed(random.random())
    np.random.seed(np.random.randint(1 << 31))
    require(speaker.reply(views) == lines, "speaker.own_seed_only", "the same views got other lines")
    require(speaker.reply(views[::-1])[::-1] == lines, "speaker.batching", "the order of the views changes the lines")
    alone = [speaker.reply([view])[0] for view in views[:4]]
    require(alone == lines[:4], "speaker.batching", "the other views of a batch change a line")


def _global_randomness() -> tuple[object, ...]:
    torch = sys.modules.get("torch")
    state = np.random.get_state()
    numbers = torch.get_rng_state().tolist() if torch is not None else []
    return random.getstate(), str(state), numbers
