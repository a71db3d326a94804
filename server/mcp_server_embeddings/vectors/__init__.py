"""Mathematics on vectors, independent of texts, models and state."""
