"""What students are asked about, and what they say."""

from __future__ import annotations

from persona_env.world.attribute import NAME, Attribute, RoleWords

__all__ = ["STUDENT"]

STUDENT = RoleWords(
    attributes=(
        NAME,
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
    ),
    drift_lines=(
        "I understand everything, it's trivial!",
        "I mastered all of this in college.",
        "Certainly, allow me to explain it to you!",
        "The answer is obvious to an expert.",
    ),
    denied=frozenset({"grade", "topic", "level", "worry"}),
)
