"""Collections on disk: texts, their chunks and vectors, shared by all of the user's processes."""
