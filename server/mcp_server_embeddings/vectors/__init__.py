"""Pure numpy mathematics on vectors: no text, no model, no state."""
