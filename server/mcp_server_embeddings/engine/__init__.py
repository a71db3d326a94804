"""Texts to vectors: models, tokens, windows, encoders, the one queue, calibration."""
