"""Studies: which people are met (`cases`), how the dialogues are played (`play`), how they are scored (`score`)."""
