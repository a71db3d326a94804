"""Turn texts into vectors: models, tokenizers, windows, encoders, the inference queue, calibration."""
