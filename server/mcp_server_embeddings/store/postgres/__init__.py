"""Collections in PostgreSQL with pgvector: for what several machines search, or is more than one of them holds."""
