"""Copying on probes, a guard: does an answer recite the persona text beyond what was asked?"""

from __future__ import annotations

from persona_env.conversation import Probe
from persona_env.judges.base import Verdict
from persona_env.metrics.answer_metric import AnswerMetric
from persona_env.metrics.copying import recited_share
from persona_env.metrics.words import sentences

__all__ = ["RECITED", "ProbeCopying", "recites"]

RECITED = Verdict("inconsistent", reason="recites the persona text", is_asked=False)
_OWN_WORDS = Verdict("consistent", is_asked=False)
_WHOLE = 0.75  # of a persona text: whoever says that much of it has said all of it


def recites(probe: Probe, answer: str) -> bool:
    """Returns whether an answer recites the persona text beyond what was asked, or all of a text of several sentences.

    Sentences that share a content word with the question or with its gold answer were asked for.

    >>> text = "You are Ann. You sleep four hours a night. You came because of grief. You have a grey cat."
    >>> asked = Probe("How are your nights?", "four hours a night", description=text)
    >>> recites(asked, "I sleep four hours a night."), recites(asked, text.replace("You", "I"))
    (False, True)
    """
    text = probe.description
    if recited_share(text, answer, f"{probe.text} {probe.gold}") > 0.5:
        return True
    return len(sentences(text)) > 1 and recited_share(answer, text) > _WHOLE


class ProbeCopying(AnswerMetric):
    """Share of answers to probes that do *not* recite the persona text beyond what was asked; see `recites`.

    Needs no judge.

    >>> ProbeCopying(every=2).query(Probe("Name?", "Ann", description="You are Ann. You live in Oslo."), "Ann.").label
    'consistent'
    """

    name = "probe_copying"
    title = "answers that recite the persona"
    mark = "recites its description"
    is_judged = False
    is_penalty = True

    def query(self, probe: Probe, text: str) -> Verdict:
        """Returns `inconsistent` if the answer recites the persona text."""
        return RECITED if recites(probe, text) else _OWN_WORDS
