"""Learning loops: one file per algorithm, and what every run shares (settings, run folder, journal)."""
