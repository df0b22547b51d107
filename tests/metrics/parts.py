"""Dialogues, and a metric from outside, for the tests of the metrics and rewards."""

from persona_env.conversation import Conversation
from persona_env.judges import Verdict
from persona_env.metrics import LineMetric
from persona_env.persona import Persona

ANN = Persona("p1", "patient", "Ann", "You are Ann. You sleep four hours a night.")


def talk(*lines, persona=ANN):
    conversation = Conversation(persona)
    for line in lines:
        conversation = conversation.with_reply("Go on.").with_line(line)
    return conversation


class Shouting(LineMetric):
    """Share of the lines that are not written in capitals."""

    name, title, is_judged, is_penalty = "shouting", "shouting", False, True

    def __init__(self, most: int = 0):
        self.most = most

    def query(self, conversation, index):
        capitals = sum(map(str.isupper, conversation.lines[index]))
        return Verdict("inconsistent" if capitals > self.most else "consistent")
