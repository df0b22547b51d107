"""What patients are asked about, and what they say."""

from __future__ import annotations

from persona_env.world.attribute import NAME, Attribute, RoleWords

__all__ = ["PATIENT"]

PATIENT = RoleWords(
    attributes=(
        NAME,
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
    ),
    drift_lines=(
        "I feel wonderful now, thank you so much!",
        "Everything is perfect, you cured me!",
        "I'm happy to assist, what can I do for you?",
        "My problems vanished, life is marvelous!",
    ),
    denied=frozenset({"problem", "mood", "trigger", "coping"}),
)
