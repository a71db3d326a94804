"""One module per format, with a function ``(content, parsing) -> documents``."""
