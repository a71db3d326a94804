"""Collections in one SQLite file, with matrices in memory that are kept in sync with it."""
