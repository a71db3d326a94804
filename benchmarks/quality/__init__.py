"""Measure the quality of the server on the user's data; run as ``python benchmarks/quality``."""
