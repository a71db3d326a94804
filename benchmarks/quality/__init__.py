"""Quality figures of the server on data of the user's own; run as ``python benchmarks/quality``."""
