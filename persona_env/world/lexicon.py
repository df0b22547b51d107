"""The words of the embedded world: attributes, values, templates, drift lines, hedges and reactions.

Data only. Three promises hold for them, and tests keep them: every value word belongs to exactly one
attribute and to no template; every question wording asks for exactly one attribute; marker words occur in
drift lines and nowhere else. So one word is enough to read a line, and the oracle is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "ATTRIBUTES",
    "DEFAULT_VALUES",
    "DENIED",
    "DRIFT_LINES",
    "ECHO_REACTION",
    "GREETINGS",
    "HEDGES",
    "HEDGE_REACTION",
    "HELD_VALUES",
    "MARKER_WORDS",
    "PLAIN_REACTIONS",
    "VALUES_PER_ATTRIBUTE",
    "WARM_REACTIONS",
    "Attribute",
]

VALUES_PER_ATTRIBUTE = 8
DEFAULT_VALUES = (0, 1)
"""The default persona: what a drifting speaker falls back on, as a language model does."""
HELD_VALUES = (6, 7)
"""Values that no training persona has."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something that one may ask about, with all the ways to ask for it and to say it.

    `{}` stands for the value in each template; no template starts with it.

    Attributes:
        key: Its name.
        values: Eight words; the first two are the default persona's, the last two are held out.
        sentence: How a persona's description states it.
        questions: Wordings of the question in dialogues and in training probes.
        held_out: Wordings of the question that only evaluation uses.
        answers: First-person answers; none of them is `sentence` in the first person.
        gold: The answer in words.
    """

    key: str
    values: tuple[str, ...]
    sentence: str
    questions: tuple[str, ...]
    held_out: tuple[str, ...]
    answers: tuple[str, ...]
    gold: str = "{}"

    def leading(self, value: str) -> str:
        """Returns the question that suggests a value: `So you live in Rome, right?`."""
        sentence = self.sentence.format(value)
        return f"So {sentence[0].lower()}{sentence[1:-1]}, right?"


_NAME = Attribute(
    "name",
    ("Carla", "Noah", "Amir", "Mei", "Fatima", "Tomas", "Priya", "Kofi"),
    "You are {}.",
    ("What is your name?", "How should I call you?", "Who am I talking to?", "Who are you?"),
    ("May I ask your name?", "What do people call you?"),
    ("My name is {}.", "You can call me {}.", "People call me {}.", "I go by {}."),
)

_PATIENT = (
    _NAME,
    Attribute(
        "problem",
        ("anxiety", "depression", "insomnia", "grief", "burnout", "panic", "loneliness", "trauma"),
        "You came because of {}.",
        (
            "What brings you here?",
            "What do you struggle with?",
            "What is the main problem?",
            "Why did you come to see me?",
        ),
        ("What would you like help with?", "What made you look for help?"),
        ("I struggle with {}.", "My problem is {}.", "I'm dealing with {}.", "It's about {}."),
    ),
    Attribute(
        "mood",
        ("sad", "tired", "hopeless", "numb", "angry", "guilty", "restless", "empty"),
        "You feel {} most of the time.",
        (
            "How do you feel today?",
            "What is your mood like?",
            "How have you been feeling?",
            "How are you right now?",
        ),
        ("Which word describes your mood?", "How does today feel for you?"),
        ("I have been {} for days.", "Pretty {}.", "Today I'm rather {}.", "My mood is {}."),
    ),
    Attribute(
        "sleep",
        ("six", "five", "four", "three", "seven", "two", "eight", "nine"),
        "You sleep {} hours a night.",
        (
            "How long do you sleep?",
            "How is your sleep?",
            "How many hours do you rest?",
            "Do you get enough sleep?",
        ),
        ("How many hours of sleep do you get?", "What is a normal night like?"),
        ("About {} hours.", "I get around {} hours.", "It's usually {} hours.", "My nights are {} hours."),
        "{} hours a night",
    ),
    Attribute(
        "trigger",
        ("deadlines", "crowds", "traffic", "bills", "noise", "storms", "winter", "mirrors"),
        "Things get worse around {}.",
        ("What makes it worse?", "What sets it off?", "When is it hardest?", "Is there a trigger?"),
        ("What do you try to avoid?", "When does it get bad?"),
        ("It starts with {}.", "It's hardest near {}.", "I can't stand {}.", "My trigger is {}."),
    ),
    Attribute(
        "support",
        ("sister", "mother", "brother", "neighbor", "father", "aunt", "cousin", "pastor"),
        "Your {} supports you.",
        (
            "Who supports you?",
            "Who do you talk to?",
            "Who is there for you?",
            "Do you have somebody close?",
        ),
        ("Who knows how you feel?", "Who can you lean on?"),
        ("I talk to my {}.", "My {} is there for me.", "Only my {} knows.", "There's my {}."),
        "my {}",
    ),
    Attribute(
        "since",
        ("January", "October", "February", "June", "July", "August", "September", "December"),
        "It began last {}.",
        (
            "When did it start?",
            "How long has it been?",
            "Since when do you feel this way?",
            "Do you remember the first time?",
        ),
        ("In which month did this begin?", "When were you last well?"),
        ("Since {}.", "It started in {}.", "I noticed it in {}.", "It's been there since {}."),
        "since {}",
    ),
    Attribute(
        "coping",
        ("walking", "crying", "writing", "praying", "smoking", "shopping", "hiding", "painting"),
        "You cope by {}.",
        (
            "How do you cope?",
            "What helps a little?",
            "What do you do when it hurts?",
            "How do you calm down?",
        ),
        ("What gets you through the day?", "What do you do on bad days?"),
        ("I try {}.", "I end up {}.", "I calm down when I'm {}.", "It's {} that helps."),
    ),
)

_STUDENT = (
    _NAME,
    Attribute(
        "grade",
        ("ninth", "eighth", "seventh", "sixth", "fifth", "tenth", "eleventh", "fourth"),
        "You are in {} grade.",
        (
            "Which grade are you in?",
            "What year are you in?",
            "How far along are you in school?",
            "What class are you in?",
        ),
        ("What grade is this for?", "Which year of school is it?"),
        ("I'm a {} grader.", "I go to {} grade.", "It's {} grade for me.", "I started {} grade this fall."),
        "{} grade",
    ),
    Attribute(
        "topic",
        (
            "fractions",
            "photosynthesis",
            "gravity",
            "volcanoes",
            "decimals",
            "poetry",
            "electricity",
            "planets",
        ),
        "You are learning about {}.",
        (
            "What are you learning?",
            "Which topic is it?",
            "What should we study?",
            "What are you working on?",
        ),
        ("What is the lesson about?", "What do you need to learn?"),
        ("We study {} now.", "It's {} this week.", "I have to learn {}.", "My topic is {}."),
    ),
    Attribute(
        "level",
        ("confused", "unsure", "lost", "stuck", "shaky", "puzzled", "nervous", "overwhelmed"),
        "You feel {} about it.",
        ("Do you get it?", "How well do you know it?", "How sure are you?", "Do you follow so far?"),
        ("Where do you stand with it?", "Is it clear to you?"),
        ("I'm still {}.", "A bit {}.", "I get {} every time.", "It makes me {}."),
    ),
    Attribute(
        "style",
        ("videos", "pictures", "songs", "games", "stories", "sketches", "flashcards", "riddles"),
        "You learn best with {}.",
        (
            "How do you learn best?",
            "What helps you learn?",
            "How should I show it to you?",
            "What makes it stick?",
        ),
        ("What should I bring next time?", "How do you like to be taught?"),
        ("I like {} for that.", "Using {} works.", "I remember things from {}.", "It's easier with {}."),
    ),
    Attribute(
        "favorite",
        ("art", "gym", "history", "biology", "geography", "drama", "chemistry", "Spanish"),
        "You enjoy {} class.",
        (
            "What is your favorite class?",
            "Which subject do you like?",
            "What do you like at school?",
            "Which lesson is fun for you?",
        ),
        ("Which class do you look forward to?", "What subject makes you happy?"),
        ("My favorite is {}.", "I like {} a lot.", "I'd say {}.", "It's {} for sure."),
    ),
    Attribute(
        "helper",
        ("tutor", "grandma", "librarian", "coach", "classmate", "roommate", "stepdad", "uncle"),
        "Your {} helps with homework.",
        (
            "Who helps you with homework?",
            "Who studies with you?",
            "Who checks your work?",
            "Do you have help after school?",
        ),
        ("Who can you ask for help?", "Who sits with you when you study?"),
        ("I study with my {}.", "I ask my {}.", "My {} checks it.", "Usually my {} does."),
        "my {}",
    ),
    Attribute(
        "worry",
        ("exam", "quiz", "presentation", "essay", "report", "project", "recital", "interview"),
        "You worry about the {}.",
        ("What worries you?", "What is coming up?", "What are you afraid of?", "What keeps you awake?"),
        ("What do you have to get ready for?", "What scares you right now?"),
        ("There's the {}.", "I'm scared of the {}.", "The {} is soon.", "I have the {} on Friday."),
        "the {}",
    ),
)

_CHAT_PARTNER = (
    _NAME,
    Attribute(
        "city",
        ("London", "Paris", "Lima", "Rome", "Tokyo", "Cairo", "Denver", "Mumbai"),
        "You live in {}.",
        (
            "Where do you live?",
            "Which city are you from?",
            "Where is home for you?",
            "Where are you based?",
        ),
        ("What place do you call home?", "Which town are you in?"),
        ("I'm from {}.", "My home is in {}.", "I moved to {} years ago.", "I'm over in {}."),
    ),
    Attribute(
        "job",
        ("nurse", "lawyer", "baker", "pilot", "farmer", "chef", "plumber", "tailor"),
        "You work as a {}.",
        (
            "What do you do for work?",
            "What is your job?",
            "How do you earn money?",
            "What keeps you busy all week?",
        ),
        ("What do you do for a living?", "What is your trade?"),
        ("I'm a {} these days.", "My job is being a {}.", "I trained as a {}.", "I earn my money as a {}."),
        "a {}",
    ),
    Attribute(
        "pet",
        ("dog", "cat", "parrot", "rabbit", "turtle", "hamster", "horse", "goldfish"),
        "You have a {} at home.",
        (
            "Do you have a pet?",
            "Who keeps you company?",
            "Which animal lives with you?",
            "Any animals at your place?",
        ),
        ("Is there a pet in your house?", "What animal do you look after?"),
        ("A {} lives with me.", "My {} keeps me company.", "I look after a {}.", "I share my place with a {}."),
        "a {}",
    ),
    Attribute(
        "hobby",
        ("hiking", "cooking", "chess", "swimming", "gardening", "fishing", "dancing", "knitting"),
        "You love {} on weekends.",
        (
            "What do you enjoy?",
            "What is your hobby?",
            "How do you spend weekends?",
            "What do you do for fun?",
        ),
        ("What do you do in your free time?", "How do you relax?"),
        ("I enjoy {}.", "My hobby is {}.", "I'm really into {}.", "I spend my time on {}."),
    ),
    Attribute(
        "food",
        ("pizza", "pasta", "curry", "tacos", "sushi", "ramen", "soup", "paella"),
        "You eat {} most days.",
        (
            "What do you like to eat?",
            "What did you have for dinner?",
            "Which food do you love?",
            "What should we order?",
        ),
        ("What is your favorite dish?", "What would you cook for me?"),
        ("I love {}.", "I had {} for dinner.", "I could live on {}.", "Give me {} any time."),
    ),
    Attribute(
        "music",
        ("rock", "jazz", "opera", "folk", "techno", "blues", "reggae", "metal"),
        "You listen to {} music.",
        (
            "What music do you like?",
            "What do you listen to?",
            "Which sound do you love?",
            "What is on your playlist?",
        ),
        ("What kind of music do you play?", "What tunes do you put on?"),
        ("I'm a fan of {}.", "I put on {} all day.", "My playlist is {}.", "I grew up with {}."),
    ),
    Attribute(
        "drink",
        ("coffee", "tea", "juice", "water", "soda", "milk", "cocoa", "lemonade"),
        "You drink {} in the morning.",
        (
            "What do you drink?",
            "What can I bring you to drink?",
            "Which drink do you order?",
            "What is in your cup?",
        ),
        ("What would you like to sip?", "What do you have with breakfast?"),
        ("I order {}.", "I'd like {}, please.", "My cup is full of {}.", "I can't start without {}."),
    ),
)

ATTRIBUTES: Mapping[str, Mapping[str, Attribute]] = {
    role: {attribute.key: attribute for attribute in attributes}
    for role, attributes in (
        ("patient", _PATIENT),
        ("student", _STUDENT),
        ("chat_partner", _CHAT_PARTNER),
    )
}
"""The eight attributes of each role, by key; `name` is shared."""

DENIED: Mapping[str, frozenset[str]] = {
    "patient": frozenset({"problem", "mood", "trigger", "coping"}),
    "student": frozenset({"grade", "topic", "level", "worry"}),
    "chat_partner": frozenset({"city", "job", "pet", "food"}),
}
"""What a drift line of the role denies: who is cured has no problem, a language model has no pet."""

DRIFT_LINES: Mapping[str, tuple[str, ...]] = {
    "patient": (
        "I feel wonderful now, thank you so much!",
        "Everything is perfect, you cured me!",
        "I'm happy to assist, what can I do for you?",
        "My problems vanished, life is marvelous!",
    ),
    "student": (
        "I understand everything, it's trivial!",
        "I mastered all of this in college.",
        "Certainly, allow me to explain it to you!",
        "The answer is obvious to an expert.",
    ),
    "chat_partner": (
        "As an assistant I have no such thing.",
        "I'm happy to assist, what can I do for you?",
        "I am a language model.",
        "Certainly, allow me to explain it to you!",
    ),
}
"""What a speaker says that has left its role altogether."""

MARKER_WORDS = frozenset(
    {
        "wonderful",
        "perfect",
        "cured",
        "assist",
        "vanished",
        "marvelous",
        "trivial",
        "mastered",
        "college",
        "certainly",
        "allow",
        "explain",
        "obvious",
        "expert",
        "assistant",
        "language",
        "model",
    }
)
"""A line with one of these has left the role."""

HEDGES = (
    "I'd rather not say.",
    "I never thought about that.",
    "I don't know, sorry.",
    "Let's not talk about that.",
)

GREETINGS = ("", "Hello.", "Hi there.", "Good to see you.", "Welcome.")
PLAIN_REACTIONS = ("", "", "", "I see.", "Okay.", "Thanks.", "Got it.")
WARM_REACTIONS = (
    "Oh no, that sounds terrible!",
    "I am so worried about you!",
    "My heart breaks for you!",
    "You are doing amazing!",
    "Great job, I am so proud!",
    "That is fantastic news!",
)
"""Emotion and praise: what a speaker drifts after."""
HEDGE_REACTION = "No pressure."
ECHO_REACTION = "You said {}."
