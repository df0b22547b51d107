"""Studies: which people are met (`suite`), how the dialogues are played (`play`), how they are scored (`score`)."""
