"""Pure functions of the evaluation log: tables and transcripts, and the terminal that shows them."""
