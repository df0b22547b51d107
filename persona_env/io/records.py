"""What a log holds: a dialogue of two speakers, with what a judge replied about its lines and the scores recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from persona_env.conversation import Conversation, Message, Note, Side
from persona_env.io.json_files import FileError, Record, Text, Words
from persona_env.persona import Persona
from persona_env.roles import role_named
from persona_env.scenario import Scenario

__all__ = [
    "LoggedDialogue",
    "LoggedMessage",
    "LoggedReply",
    "LoggedScore",
    "LoggedSpeaker",
    "SpeakerKey",
    "SurveyEntry",
]

SpeakerKey: TypeAlias = Literal["P1", "P2"]


@dataclass(frozen=True, slots=True)
class LoggedSpeaker:
    """One of the two that speak; `backstory_test` has the log's questions and gold answers, word for word."""

    name: Text = ""
    persona: Persona | None = None
    backstory_test: tuple[tuple[Text, Text], ...] = ()


class LoggedMessage(Record, frozen=True, array_like=True):
    """A line and who said it, without the name that stands before it in the released logs."""

    speaker: SpeakerKey
    text: Text
    note: Note = ""


class LoggedReply(Record, frozen=True):
    """What a judge replied about one line.

    `label` is the verdict in a log of ours; it is None in the released logs, whose replies have to be read.
    """

    metric: Words  # the name of a metric that a judge is asked for
    line: int  # the place in the dialogue, counted over both speakers from 0
    raw: Text = ""
    label: Literal["consistent", "inconsistent", "undecided", "invalid"] | None = None
    conflicts: tuple[int, ...] = ()  # for `line_to_line` in a log of ours: places among the speaker's own lines
    reason: Text = ""
    probability: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None  # of `consistent`
    question: Text = ""  # for `question_answer`, as the next three
    gold: Text = ""
    answer: Text = ""
    choices: tuple[Text, ...] = ()
    applies: bool = True  # False where a judge found nothing to judge, in a log of ours


class SurveyEntry(Record, frozen=True, array_like=True):
    """The released logs' Q&A after one line: how many answers were right, and an answer and raw verdict a question."""

    line: int
    score: float
    answers: tuple[Text, ...]
    verdicts: tuple[Text, ...]


class LoggedScore(Record, frozen=True, array_like=True):
    """A score that the log gives a speaker; metrics are `prompt`, `index` and `survey` in the released logs."""

    speaker: SpeakerKey
    metric: Text
    value: float


@dataclass(frozen=True, slots=True)
class LoggedDialogue:
    """A dialogue as a log tells it; where it stands (`source`, `number` from 0) is no part of equality.

    >>> ann = Persona("p1", "patient", "Ann", "You are Ann.")
    >>> talk = Conversation(ann).with_reply("How are you?").with_line("Tired: very.")
    >>> LoggedDialogue.of(talk).conversation() == talk
    True
    """

    role: str
    speakers: tuple[LoggedSpeaker, LoggedSpeaker]  # P1, who opens in the released logs, and P2
    messages: tuple[LoggedMessage, ...]
    replies: tuple[LoggedReply, ...] = ()
    survey: tuple[SurveyEntry, ...] = ()
    scores: tuple[LoggedScore, ...] = ()
    id: str = ""
    topic: str = ""  # what a lesson is about
    grade: str = ""  # the student's
    scenario: Scenario = Scenario()  # noqa: RUF009 - frozen
    source: str = field(default="", compare=False)
    number: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        count = len(self.messages)
        for judged in (*self.replies, *self.survey):
            if not 0 <= judged.line < count:
                wrong = f"of {self.place}, got {judged.line}: correct the log."
                raise FileError(f"Expected a line in 0 to {count - 1} {wrong}")

    @classmethod
    def of(
        cls, conversation: Conversation, replies: Iterable[LoggedReply] = (), scores: Iterable[LoggedScore] = ()
    ) -> LoggedDialogue:
        """Returns a conversation of ours as a dialogue: P1 is the task agent, P2 the simulator."""
        role = role_named(conversation.persona.role)
        said = conversation.messages
        return cls(
            role.key,
            (LoggedSpeaker(role.task), LoggedSpeaker(role.simulator, conversation.persona)),
            tuple(LoggedMessage("P2" if line.side == "simulator" else "P1", line.text, line.note) for line in said),
            replies=tuple(replies),
            scores=tuple(scores),
            id=conversation.id,
            scenario=conversation.scenario,
        )

    @property
    def place(self) -> str:
        """Where the dialogue stands, for messages."""
        return f"{self.source}, dialogue {self.number}" if self.source else f"dialogue {self.id or self.number}"

    def speaker(self, key: SpeakerKey) -> LoggedSpeaker:
        """Returns P1 or P2."""
        return self.speakers[0 if key == "P1" else 1]

    def places(self, key: SpeakerKey) -> tuple[int, ...]:
        """Returns the places in the dialogue of the lines that one speaker says."""
        return tuple(place for place, message in enumerate(self.messages) if message.speaker == key)

    def recorded(self, key: SpeakerKey, metric: str) -> float | None:
        """Returns a recorded score, or None if the log has none of that name."""
        return next((s.value for s in self.scores if (s.speaker, s.metric) == (key, metric)), None)

    def replies_about(self, metric: str, key: SpeakerKey) -> tuple[LoggedReply, ...]:
        """Returns what the judge replied about one speaker's lines."""
        return tuple(r for r in self.replies if r.metric == metric and self.messages[r.line].speaker == key)

    def survey_of(self, key: SpeakerKey) -> tuple[SurveyEntry, ...]:
        """Returns the Q&A entries after one speaker's lines."""
        return tuple(entry for entry in self.survey if self.messages[entry.line].speaker == key)

    @property
    def judged(self) -> tuple[SpeakerKey, ...]:
        """The speakers whose lines a judge replied about."""
        lines = {self.messages[judged.line].speaker for judged in (*self.replies, *self.survey)}
        keys: tuple[SpeakerKey, ...] = ("P1", "P2")
        return tuple(key for key in keys if key in lines)

    def conversation(self, key: SpeakerKey = "P2") -> Conversation:
        """Returns the dialogue with that speaker as the simulator; FileError if the log gives it no persona."""
        persona = self.speaker(key).persona
        if persona is None:
            raise FileError(f"Expected a persona of {key} in {self.place}, got none: choose the other speaker.")
        sides: dict[SpeakerKey, Side] = {"P1": "task", "P2": "task", key: "simulator"}
        said = tuple(Message(sides[line.speaker], line.text, line.note) for line in self.messages)
        return Conversation(persona, said, self.id, self.scenario)
