"""Collections in PostgreSQL with pgvector, for data that several machines search or that exceeds one machine."""
