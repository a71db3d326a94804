"""Collections in one SQLite file, with matrices in memory that follow it."""
