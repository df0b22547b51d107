"""What chat partners are asked about, and what they say."""

from __future__ import annotations

from persona_env.world.attribute import NAME, Attribute, RoleWords

__all__ = ["CHAT_PARTNER"]

CHAT_PARTNER = RoleWords(
    attributes=(
        NAME,
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
    ),
    drift_lines=(
        "As an assistant I have no such thing.",
        "I'm happy to assist, what can I do for you?",
        "I am a language model.",
        "Certainly, allow me to explain it to you!",
    ),
    denied=frozenset({"city", "job", "pet", "food"}),
)
