"""What people see: tables, transcripts, and the terminal side of each command."""
